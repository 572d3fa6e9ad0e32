//! The filter's metrics, which Envoy shows with its own.
//!
//! They are counted in the VM and passed on to Envoy in each tick, because a host call is expensive.
//! Envoy adds up the metrics of all workers.

use core::cell::Cell;

use crate::hostcalls::{self, MetricType};
use logtracer_core::propagation::Format;

/// Declares each metric: its variant, its type and its name in Envoy.
macro_rules! metrics {
    ($($metric:ident $type:ident $name:literal)*) => {
        /// A metric; `docs/metrics.md` describes it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Metric {
            $($metric),*
        }

        impl Metric {
            /// Every metric, in the order of the variants.
            const ALL: &[(Self, MetricType, &str)] = &[$((Self::$metric, MetricType::$type, $name)),*];
        }
    };
}

metrics! {
    Requests Counter "logtracer_requests"
    ExtractedB3 Counter "logtracer_extracted_b3"
    ExtractedB3Multi Counter "logtracer_extracted_b3multi"
    ExtractedTraceContext Counter "logtracer_extracted_tracecontext"
    ExtractedCloudTrace Counter "logtracer_extracted_cloud_trace"
    ExtractedGrpcTraceBin Counter "logtracer_extracted_grpc_trace_bin"
    ExtractedNone Counter "logtracer_extracted_none"
    InvalidB3 Counter "logtracer_invalid_b3"
    InvalidB3Multi Counter "logtracer_invalid_b3multi"
    InvalidTraceContext Counter "logtracer_invalid_tracecontext"
    InvalidCloudTrace Counter "logtracer_invalid_cloud_trace"
    InvalidGrpcTraceBin Counter "logtracer_invalid_grpc_trace_bin"
    Conflicts Counter "logtracer_conflicts"
    Sampled Counter "logtracer_sampled"
    Denied Counter "logtracer_denied"
    DecidedByParent Counter "logtracer_decided_by_parent"
    DecidedByDebug Counter "logtracer_decided_by_debug"
    DecidedByRate Counter "logtracer_decided_by_rate"
    DecidedByRule Counter "logtracer_decided_by_rule"
    DecidedByLimit Counter "logtracer_decided_by_limit"
    Lines Counter "logtracer_lines"
    SpansBuffered Counter "logtracer_spans_buffered"
    SpansHeld Gauge "logtracer_spans_held"
    SpansSent Counter "logtracer_spans_sent"
    SpansRetried Counter "logtracer_spans_retried"
    DroppedBufferFull Counter "logtracer_spans_dropped_buffer_full"
    DroppedTooLarge Counter "logtracer_spans_dropped_too_large"
    DroppedRefused Counter "logtracer_spans_dropped_refused"
    DroppedRejected Counter "logtracer_spans_dropped_rejected"
    DroppedRetriesExhausted Counter "logtracer_spans_dropped_retries_exhausted"
    DroppedShutdown Counter "logtracer_spans_dropped_shutdown"
    Callouts Counter "logtracer_callouts"
    CalloutMilliseconds Counter "logtracer_callout_milliseconds"
    CalloutsInFlight Gauge "logtracer_callouts_in_flight"
}

impl Metric {
    const COUNT: usize = Self::ALL.len();

    /// Returns the counter of requests whose context was extracted from this format.
    pub(crate) const fn extracted(format: Format) -> Self {
        match format {
            Format::B3 => Self::ExtractedB3,
            Format::B3Multi => Self::ExtractedB3Multi,
            Format::TraceContext => Self::ExtractedTraceContext,
            Format::CloudTrace => Self::ExtractedCloudTrace,
            Format::GrpcTraceBin => Self::ExtractedGrpcTraceBin,
        }
    }

    /// Returns the counter of requests in which this format is malformed.
    pub(crate) const fn invalid(format: Format) -> Self {
        match format {
            Format::B3 => Self::InvalidB3,
            Format::B3Multi => Self::InvalidB3Multi,
            Format::TraceContext => Self::InvalidTraceContext,
            Format::CloudTrace => Self::InvalidCloudTrace,
            Format::GrpcTraceBin => Self::InvalidGrpcTraceBin,
        }
    }
}

/// The state of one metric.
struct Slot {
    /// Envoy's id of the metric.
    id: Cell<Option<u32>>,
    /// The sum since the last [`flush`].
    pending: Cell<i64>,
}

thread_local! {
    static SLOTS: [Slot; Metric::COUNT] =
        const { [const { Slot { id: Cell::new(None), pending: Cell::new(0) } }; Metric::COUNT] };
}

/// Increments a counter.
pub(crate) fn count(metric: Metric) {
    add(metric, 1);
}

/// Adds to a metric. The amount may be negative for a gauge.
pub(crate) fn add(metric: Metric, amount: i64) {
    SLOTS.with(|slots| {
        if let Some(slot) = slots.get(metric as usize) {
            slot.pending.set(slot.pending.get().saturating_add(amount));
        }
    });
}

/// Defines every metric in Envoy, which shows them from then on, at zero.
pub(crate) fn define() {
    SLOTS.with(|slots| {
        for (slot, (_, metric_type, name)) in slots.iter().zip(Metric::ALL) {
            if slot.id.get().is_none() {
                slot.id.set(hostcalls::define_metric(*metric_type, name));
            }
        }
    });
}

/// Passes the pending sums on to Envoy.
pub(crate) fn flush() {
    SLOTS.with(|slots| {
        for slot in slots {
            if let (Some(id), pending @ (1.. | ..=-1)) = (slot.id.get(), slot.pending.take()) {
                hostcalls::increment_metric(id, pending);
            }
        }
    });
}

/// One root's part of a gauge that is the sum over all roots of all workers.
#[derive(Debug)]
pub(crate) struct SharedGauge {
    metric: Metric,
    /// The part that is in the sum.
    part: i64,
}

impl SharedGauge {
    pub(crate) const fn new(metric: Metric) -> Self {
        Self { metric, part: 0 }
    }

    /// Replaces this root's part of the gauge.
    pub(crate) fn set(&mut self, part: usize) {
        let part = i64::try_from(part).unwrap_or(i64::MAX);
        add(self.metric, part - self.part);
        self.part = part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_an_index_and_a_unique_name() {
        for (index, (metric, metric_type, name)) in Metric::ALL.iter().enumerate() {
            assert_eq!(*metric as usize, index, "{name}");
            let is_gauge = matches!(metric_type, MetricType::Gauge);
            assert_eq!(is_gauge, name.ends_with("_held") || name.ends_with("_in_flight"), "{name}");
        }
        let mut names: Vec<_> = Metric::ALL.iter().map(|(_, _, name)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::COUNT);
    }

    #[test]
    fn metrics_of_formats_are_named_after_them() {
        let name = |metric: Metric| Metric::ALL[metric as usize].2;
        for format in Format::ALL {
            let of = format.as_str().replace('-', "_");
            assert_eq!(name(Metric::extracted(format)), format!("logtracer_extracted_{of}"));
            assert_eq!(name(Metric::invalid(format)), format!("logtracer_invalid_{of}"));
        }
    }

    #[test]
    fn exactly_the_defined_metrics_are_documented() {
        let mut documented: Vec<_> = include_str!("../../docs/metrics.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        let mut names: Vec<_> = Metric::ALL.iter().map(|(_, _, name)| *name).collect();
        names.sort_unstable();
        documented.sort_unstable();
        assert_eq!(documented, names);
    }
}
