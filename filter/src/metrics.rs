//! The filter's statistics, which Envoy shows with its own.
//!
//! Counted in the VM and handed to Envoy on each tick, for a call into the host costs more than the counting.
//! Envoy adds the counters of all workers together.

use core::cell::Cell;

use crate::host::{self, MetricKind};
use logtracer_core::propagation::Format;

/// One statistic; [`Metric::name`] says what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    Requests,
    Extracted(Format),
    ExtractedNone,
    Invalid(Format),
    Conflicts,
    Sampled,
    Denied,
    DecidedByParent,
    DecidedByDebug,
    DecidedByRate,
    DecidedByRule,
    DecidedByLimit,
    Lines,
    SpansBuffered,
    SpansSent,
    SpansRetried,
    DroppedBufferFull,
    DroppedRefused,
    DroppedRejected,
    DroppedRetriesExhausted,
    DroppedShutdown,
    CalloutsInFlight,
}

impl Metric {
    const COUNT: usize = 30;

    /// The name in Envoy's statistics.
    const fn name(self) -> &'static str {
        match self {
            Self::Requests => "logtracer_requests",
            Self::Extracted(Format::B3) => "logtracer_extracted_b3",
            Self::Extracted(Format::B3Multi) => "logtracer_extracted_b3multi",
            Self::Extracted(Format::TraceContext) => "logtracer_extracted_tracecontext",
            Self::Extracted(Format::CloudTrace) => "logtracer_extracted_cloud_trace",
            Self::Extracted(Format::GrpcTraceBin) => "logtracer_extracted_grpc_trace_bin",
            Self::ExtractedNone => "logtracer_extracted_none",
            Self::Invalid(Format::B3) => "logtracer_invalid_b3",
            Self::Invalid(Format::B3Multi) => "logtracer_invalid_b3multi",
            Self::Invalid(Format::TraceContext) => "logtracer_invalid_tracecontext",
            Self::Invalid(Format::CloudTrace) => "logtracer_invalid_cloud_trace",
            Self::Invalid(Format::GrpcTraceBin) => "logtracer_invalid_grpc_trace_bin",
            Self::Conflicts => "logtracer_conflicts",
            Self::Sampled => "logtracer_sampled",
            Self::Denied => "logtracer_denied",
            Self::DecidedByParent => "logtracer_decided_by_parent",
            Self::DecidedByDebug => "logtracer_decided_by_debug",
            Self::DecidedByRate => "logtracer_decided_by_rate",
            Self::DecidedByRule => "logtracer_decided_by_rule",
            Self::DecidedByLimit => "logtracer_decided_by_limit",
            Self::Lines => "logtracer_lines",
            Self::SpansBuffered => "logtracer_spans_buffered",
            Self::SpansSent => "logtracer_spans_sent",
            Self::SpansRetried => "logtracer_spans_retried",
            Self::DroppedBufferFull => "logtracer_spans_dropped_buffer_full",
            Self::DroppedRefused => "logtracer_spans_dropped_refused",
            Self::DroppedRejected => "logtracer_spans_dropped_rejected",
            Self::DroppedRetriesExhausted => "logtracer_spans_dropped_retries_exhausted",
            Self::DroppedShutdown => "logtracer_spans_dropped_shutdown",
            Self::CalloutsInFlight => "logtracer_callouts_in_flight",
        }
    }

    const fn kind(self) -> MetricKind {
        match self {
            Self::CalloutsInFlight => MetricKind::Gauge,
            _ => MetricKind::Counter,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Requests => 0,
            Self::ExtractedNone => 1,
            Self::Conflicts => 2,
            Self::Sampled => 3,
            Self::Denied => 4,
            Self::Lines => 5,
            Self::SpansBuffered => 6,
            Self::SpansSent => 7,
            Self::SpansRetried => 8,
            Self::DroppedBufferFull => 9,
            Self::DroppedRefused => 10,
            Self::DroppedRetriesExhausted => 11,
            Self::DroppedShutdown => 12,
            Self::CalloutsInFlight => 13,
            Self::DecidedByParent => 14,
            Self::DecidedByDebug => 15,
            Self::DecidedByRate => 16,
            Self::DecidedByRule => 17,
            Self::DecidedByLimit => 18,
            Self::DroppedRejected => 19,
            Self::Extracted(format) => 20 + format as usize,
            Self::Invalid(format) => 25 + format as usize,
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        [
            Self::Requests,
            Self::ExtractedNone,
            Self::Conflicts,
            Self::Sampled,
            Self::Denied,
            Self::DecidedByParent,
            Self::DecidedByDebug,
            Self::DecidedByRate,
            Self::DecidedByRule,
            Self::DecidedByLimit,
            Self::Lines,
            Self::SpansBuffered,
            Self::SpansSent,
            Self::SpansRetried,
            Self::DroppedBufferFull,
            Self::DroppedRefused,
            Self::DroppedRejected,
            Self::DroppedRetriesExhausted,
            Self::DroppedShutdown,
            Self::CalloutsInFlight,
        ]
        .into_iter()
        .chain(Format::ALL.map(Self::Extracted))
        .chain(Format::ALL.map(Self::Invalid))
    }
}

/// What has been counted since the last [`flush`], and Envoy's handle.
struct Slot {
    id: Cell<Option<u32>>,
    pending: Cell<i64>,
}

thread_local! {
    static SLOTS: [Slot; Metric::COUNT] =
        const { [const { Slot { id: Cell::new(None), pending: Cell::new(0) } }; Metric::COUNT] };
}

/// Counts one.
pub(crate) fn count(metric: Metric) {
    add(metric, 1);
}

/// Adds to a statistic; a gauge may also go down.
pub(crate) fn add(metric: Metric, amount: i64) {
    SLOTS.with(|slots| {
        if let Some(slot) = slots.get(metric.index()) {
            slot.pending.set(slot.pending.get().saturating_add(amount));
        }
    });
}

/// Makes every statistic known to Envoy, so that each is there from the start, at zero.
pub(crate) fn define() {
    SLOTS.with(|slots| {
        for metric in Metric::all() {
            if let Some(slot) = slots.get(metric.index()).filter(|slot| slot.id.get().is_none()) {
                slot.id.set(host::define_metric(metric.kind(), metric.name()));
            }
        }
    });
}

/// Hands on what has been counted.
pub(crate) fn flush() {
    SLOTS.with(|slots| {
        for slot in slots {
            if let (Some(id), pending @ (1.. | ..=-1)) = (slot.id.get(), slot.pending.take()) {
                host::increment_metric(id, pending);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_place_and_a_name_of_its_own() {
        let mut indices: Vec<_> = Metric::all().map(Metric::index).collect();
        indices.sort_unstable();
        assert_eq!(indices, (0..Metric::COUNT).collect::<Vec<_>>());
        let mut names: Vec<_> = Metric::all().map(Metric::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::COUNT);
    }

    #[test]
    fn every_metric_is_documented_and_no_other() {
        let documented: Vec<_> = include_str!("../../docs/metrics.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        let mut names: Vec<_> = Metric::all().map(Metric::name).collect();
        names.sort_unstable();
        let mut sorted = documented.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, names);
    }
}
