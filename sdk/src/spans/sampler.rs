//! [`Sampler`]: which traces are recorded.

use logtracer_core::sampling::Ratio;
use logtracer_core::{Sampling, TraceContext};

/// Which traces are recorded; OpenTelemetry's samplers by their names in `OTEL_TRACES_SAMPLER`.
///
/// A parent-based sampler keeps the decision of the caller, and decides only for traces without one.
/// Each sampler keeps what this process has decided: what is not exported (`not_exported`, `exclude`) stays so.
/// A ratio is from 0 to 1. The trace id decides, so that all hops with the same ratio record the same traces.
///
/// <https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampling>
///
/// ```
/// use logtracer_sdk::current_trace;
/// use logtracer_sdk::spans::{Sampler, SpanExport, span};
///
/// let export = SpanExport::new("shop", "http://127.0.0.1:4318").sampler(Sampler::ParentBasedAlwaysOff);
/// let exporter = export.install()?;
/// let _span = span("nightly").enter(); // nobody has decided
/// assert_eq!(current_trace().map(|trace| trace.sampling.is_sampled()), Some(false));
/// assert_eq!(Sampler::default(), Sampler::ParentBasedAlwaysOn);
/// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Sampler {
    /// `always_on`: all traces, also those that the caller does not sample.
    AlwaysOn,
    /// `always_off`: no trace.
    AlwaysOff,
    /// `traceidratio`: this fraction of all traces, whatever the caller decided.
    TraceIdRatio(f64),
    /// `parentbased_always_on`, the default.
    #[default]
    ParentBasedAlwaysOn,
    /// `parentbased_always_off`: only traces that the caller samples.
    ParentBasedAlwaysOff,
    /// `parentbased_traceidratio`.
    ParentBasedTraceIdRatio(f64),
}

/// A sampler with a valid ratio.
#[derive(Debug, Clone, Copy)]
pub(super) enum SamplingRule {
    ParentBased(Ratio),
    Always(Ratio),
}

impl Sampler {
    /// Returns `None` if the ratio is not from 0 to 1.
    pub(super) fn to_rule(self) -> Option<SamplingRule> {
        Some(match self {
            Self::AlwaysOn => SamplingRule::Always(Ratio::ALL),
            Self::AlwaysOff => SamplingRule::Always(Ratio::new(0.)?),
            Self::TraceIdRatio(ratio) => SamplingRule::Always(Ratio::new(ratio)?),
            Self::ParentBasedAlwaysOn => SamplingRule::ParentBased(Ratio::ALL),
            Self::ParentBasedAlwaysOff => SamplingRule::ParentBased(Ratio::new(0.)?),
            Self::ParentBasedTraceIdRatio(ratio) => SamplingRule::ParentBased(Ratio::new(ratio)?),
        })
    }
}

impl SamplingRule {
    /// Returns the context with a decision.
    pub(super) fn decide(self, context: TraceContext) -> TraceContext {
        let ratio = match self {
            Self::ParentBased(_) if context.sampling.is_decided() => return context,
            Self::ParentBased(ratio) | Self::Always(ratio) => ratio,
        };
        match (ratio.keeps(context.trace_id), context.sampling) {
            (true, Sampling::Debug) => context,
            (keeps, _) => context.with_sampling(Sampling::from_sampled(keeps)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Sampling::{Accept, Debug, Defer, Deny};
    use logtracer_core::{SpanId, TraceId};

    /// The low 56 bits of the trace id are at 0.5, so that it is in 0.6 and not in 0.4.
    #[test]
    fn decisions() {
        let context = |sampling| {
            let trace_id = TraceId::new((1 << 64) + (1 << 55)).unwrap();
            TraceContext::root(trace_id, SpanId::new(1).unwrap(), sampling)
        };
        let before = [Defer, Accept, Deny, Debug];
        for (sampler, after) in [
            (Sampler::AlwaysOn, [Accept, Accept, Accept, Debug]),
            (Sampler::AlwaysOff, [Deny; 4]),
            (Sampler::TraceIdRatio(0.6), [Accept, Accept, Accept, Debug]),
            (Sampler::TraceIdRatio(0.4), [Deny; 4]),
            (Sampler::ParentBasedAlwaysOn, [Accept, Accept, Deny, Debug]),
            (Sampler::ParentBasedAlwaysOff, [Deny, Accept, Deny, Debug]),
            (Sampler::ParentBasedTraceIdRatio(0.6), [Accept, Accept, Deny, Debug]),
            (Sampler::ParentBasedTraceIdRatio(0.4), [Deny, Accept, Deny, Debug]),
        ] {
            let rule = sampler.to_rule().unwrap();
            assert_eq!(before.map(|it| rule.decide(context(it)).sampling), after, "{sampler:?}");
        }
        for wrong in [-0.1, 1.1, f64::NAN] {
            assert!(Sampler::TraceIdRatio(wrong).to_rule().is_none());
            assert!(Sampler::ParentBasedTraceIdRatio(wrong).to_rule().is_none());
        }
    }
}
