//! The filter's statistics, which Envoy shows with its own.
//!
//! Counted in the VM and handed to Envoy on each tick, for a call into the host costs more than the counting.
//! Envoy adds the counters of all workers together.

use core::cell::Cell;

use crate::host::{self, MetricKind};
use logtracer_core::propagation::Format;

/// Declares the statistics: what each is called here, what it is, and its name in Envoy's statistics.
macro_rules! metrics {
    ($($metric:ident $kind:ident $name:literal)*) => {
        /// One statistic; `docs/metrics.md` says what it counts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Metric {
            $($metric),*
        }

        impl Metric {
            /// Every statistic in the order of its number.
            const ALL: &[(Self, MetricKind, &str)] = &[$((Self::$metric, MetricKind::$kind, $name)),*];
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

    /// Requests whose context came from this format.
    pub(crate) const fn extracted(format: Format) -> Self {
        match format {
            Format::B3 => Self::ExtractedB3,
            Format::B3Multi => Self::ExtractedB3Multi,
            Format::TraceContext => Self::ExtractedTraceContext,
            Format::CloudTrace => Self::ExtractedCloudTrace,
            Format::GrpcTraceBin => Self::ExtractedGrpcTraceBin,
        }
    }

    /// Requests in which this format was malformed.
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

/// A root's share of a gauge, which is the sum over all roots of all workers.
#[derive(Debug)]
pub(crate) struct Share {
    metric: Metric,
    told: i64,
}

impl Share {
    pub(crate) const fn of(metric: Metric) -> Self {
        Self { metric, told: 0 }
    }

    /// Sets the share to what it is now.
    pub(crate) fn set(&mut self, now: usize) {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        add(self.metric, now - self.told);
        self.told = now;
    }
}

/// Adds to a statistic; a gauge may also go down.
pub(crate) fn add(metric: Metric, amount: i64) {
    SLOTS.with(|slots| {
        if let Some(slot) = slots.get(metric as usize) {
            slot.pending.set(slot.pending.get().saturating_add(amount));
        }
    });
}

/// Makes every statistic known to Envoy, so that each is there from the start, at zero.
pub(crate) fn define() {
    SLOTS.with(|slots| {
        for (slot, (_, kind, name)) in slots.iter().zip(Metric::ALL) {
            if slot.id.get().is_none() {
                slot.id.set(host::define_metric(*kind, name));
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
        for (index, (metric, kind, name)) in Metric::ALL.iter().enumerate() {
            assert_eq!(*metric as usize, index, "{name}");
            let is_gauge = matches!(kind, MetricKind::Gauge);
            assert_eq!(is_gauge, name.ends_with("_held") || name.ends_with("_in_flight"), "{name}");
        }
        let mut names: Vec<_> = Metric::ALL.iter().map(|(_, _, name)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::COUNT);
    }

    #[test]
    fn metrics_of_formats_have_their_names() {
        let name = |metric: Metric| Metric::ALL[metric as usize].2;
        for format in Format::ALL {
            let of = format.as_str().replace('-', "_");
            assert_eq!(name(Metric::extracted(format)), format!("logtracer_extracted_{of}"));
            assert_eq!(name(Metric::invalid(format)), format!("logtracer_invalid_{of}"));
        }
    }

    #[test]
    fn every_metric_is_documented_and_no_other() {
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
