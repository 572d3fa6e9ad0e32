//! [`Decision`]: the span and the trace of a request, and whether they are recorded.

use std::sync::Mutex;

use logtracer_core::propagation::Extracted;
use logtracer_core::sampling::{HeaderCondition, RateLimiter, Ratio, RequestParts, Rule};
use logtracer_core::{RemoteContext, Sampling, SpanId, TraceContext, TraceId};

use crate::config::{Config, Edge};
use crate::host::Host;
use crate::ids;
use crate::metrics::Metric;
use crate::shared::lock;

/// The span and the trace of a request, and whether they are recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decision {
    pub(crate) context: TraceContext,
    /// What decided whether the trace is recorded.
    pub(crate) reason: Reason,
    /// The caller's span if the new trace only links to it.
    pub(crate) link: Option<RemoteContext>,
    /// The caller's trace if it is not continued.
    pub(crate) linked_trace: Option<TraceId>,
    /// The fraction of such requests that are logged if they succeed. A failed one is always logged.
    pub(crate) log_rate: Ratio,
}

/// What decided whether a trace is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The caller's sampling decision.
    Parent,
    /// The caller's B3 debug flag.
    Debug,
    /// `sampling.rate`.
    Rate,
    /// The rate of a rule in `sampling.rules`.
    Rule,
    /// `sampling.max_per_second`.
    Limit,
}

impl Reason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::Debug => "debug",
            Self::Rate => "rate",
            Self::Rule => "rule",
            Self::Limit => "limit",
        }
    }

    pub(crate) const fn metric(self) -> Metric {
        match self {
            Self::Parent => Metric::DecidedByParent,
            Self::Debug => Metric::DecidedByDebug,
            Self::Rate => Metric::DecidedByRate,
            Self::Rule => Metric::DecidedByRule,
            Self::Limit => Metric::DecidedByLimit,
        }
    }
}

impl Decision {
    /// Continues the caller's trace or creates a new one. Decides whether it is recorded if the caller has not.
    pub(crate) fn new(
        host: &impl Host,
        config: &Config,
        limiter: Option<&Mutex<RateLimiter>>,
        extracted: &Extracted<'_>,
        parts: RequestParts<'_>,
        header: impl Fn(&HeaderCondition) -> bool,
    ) -> Self {
        let rules = &config.sampling.rules;
        let rule = if rules.is_empty() { None } else { rules.first_match(parts, header) };
        let log_rate = rule.and_then(|rule| rule.log_rate).unwrap_or(config.sampling.log_rate);
        let edge = config.propagation.edge;
        let is_trusted = edge == Edge::Trust;
        let span_id = ids::span_id(host);
        let caller_sampling = if is_trusted { extracted.sampling } else { Sampling::Defer };
        let (context, linked) = match extracted.parent {
            Some(parent) if is_trusted => (parent.child(span_id), None),
            Some(parent) if edge == Edge::Resample => {
                (parent.child(span_id).with_sampling(Sampling::Defer), None)
            }
            linked => (new_trace(host, span_id, caller_sampling), linked),
        };
        // A link refers to a span, but a caller may send a trace id only.
        let link = linked.filter(|parent| edge == Edge::Link && parent.span_id.is_some());
        let linked_trace = linked.map(|parent| parent.trace_id);
        let is_deferred = config.sampling.defer_cloud_trace_zero && is_trusted && extracted.cloud_trace_zero;
        let reason = match context.sampling {
            Sampling::Debug => Reason::Debug,
            Sampling::Accept => Reason::Parent,
            Sampling::Deny if !is_deferred => Reason::Parent,
            Sampling::Deny | Sampling::Defer => {
                let (sampled, reason) = sample(host, config, limiter, rule, &context);
                let context = context.with_sampling(Sampling::from_sampled(sampled));
                return Self { context, reason, link, linked_trace, log_rate };
            }
        };
        Self { context, reason, link, linked_trace, log_rate }
    }
}

fn new_trace(host: &impl Host, span_id: SpanId, sampling: Sampling) -> TraceContext {
    TraceContext::root(ids::trace_id(host), span_id, sampling).with_random_trace_id()
}

fn sample(
    host: &impl Host,
    config: &Config,
    limiter: Option<&Mutex<RateLimiter>>,
    rule: Option<&Rule>,
    context: &TraceContext,
) -> (bool, Reason) {
    let (ratio, reason) = match rule.and_then(|rule| rule.rate) {
        Some(ratio) => (ratio, Reason::Rule),
        None => (config.sampling.rate, Reason::Rate),
    };
    if !ratio.keeps(context.trace_id) {
        return (false, reason);
    }
    let is_within_limit = limiter.is_none_or(|limiter| lock(limiter).try_acquire(host.monotonic_nanos()));
    if is_within_limit { (true, reason) } else { (false, Reason::Limit) }
}
