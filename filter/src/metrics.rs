//! The filter's metrics, which the proxy shows with its own.
//!
//! Each thread counts for itself, because streams of several threads would wait for each other's counters, and the ticks
//! of a root pass the sums on to the proxy, because a host call is expensive. The proxy adds up the metrics of all
//! workers.

use core::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use crate::host::RootHost;
use crate::shared::lock;
use logtracer_core::propagation::Format;

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// It only grows.
    Counter,
    /// It grows and shrinks.
    Gauge,
}

/// Declares each metric: its variant, its type and its name in Envoy.
macro_rules! metrics {
    ($($metric:ident $type:ident $name:literal)*) => {
        /// A metric; `docs/metrics.md` describes it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "docs/metrics.md has them")]
        pub enum Metric {
            $($metric),*
        }

        impl Metric {
            /// Every metric with its type and its name, in the order of the variants.
            pub const ALL: &'static [(Self, MetricType, &str)] = &[$((Self::$metric, MetricType::$type, $name)),*];
        }
    };
}

metrics! {
    Requests Counter "logtracer_requests"
    Duplicates Counter "logtracer_duplicates"
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
    LinesDropped Counter "logtracer_lines_dropped"
    LinesSkipped Counter "logtracer_lines_skipped"
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
    Panics Counter "logtracer_panics"
}

impl Metric {
    /// The number of metrics.
    pub const COUNT: usize = Self::ALL.len();

    /// Adds to the metric. The amount may be negative for a gauge.
    pub fn add(self, amount: i64) {
        add(self, amount);
    }

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

/// What one thread has counted. Only this thread adds to it.
struct Sums([AtomicI64; Metric::COUNT]);

/// The sums of all threads, and what was passed on to the proxy.
struct Totals {
    threads: Vec<Arc<Sums>>,
    published: [i64; Metric::COUNT],
}

static TOTALS: Mutex<Totals> = Mutex::new(Totals { threads: Vec::new(), published: [0; Metric::COUNT] });

thread_local! {
    static SUMS: Arc<Sums> = Sums::new();
}

impl Sums {
    fn new() -> Arc<Self> {
        let sums = Arc::new(Self([const { AtomicI64::new(0) }; Metric::COUNT]));
        lock(&TOTALS).threads.push(sums.clone());
        sums
    }
}

/// Increments a counter.
pub(crate) fn count(metric: Metric) {
    add(metric, 1);
}

/// Adds to a metric. The amount may be negative for a gauge.
pub(crate) fn add(metric: Metric, amount: i64) {
    SUMS.with(|sums| {
        if let Some(sum) = sums.0.get(metric as usize) {
            // Cheaper than an atomic addition, which is not needed: no other thread writes.
            sum.store(sum.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        }
    });
}

/// Passes what was counted since the last call on to the proxy.
pub(crate) fn flush(host: &impl RootHost) {
    lock(&TOTALS).publish(host);
}

impl Totals {
    fn publish(&mut self, host: &impl RootHost) {
        let Self { threads, published } = self;
        for ((index, published), (metric, ..)) in published.iter_mut().enumerate().zip(Metric::ALL) {
            let of_thread = |sums: &Arc<Sums>| sums.0.get(index).map_or(0, |sum| sum.load(Ordering::Relaxed));
            let sum = threads.iter().map(of_thread).fold(0, i64::wrapping_add);
            let amount = sum.wrapping_sub(*published);
            if amount != 0 {
                *published = sum;
                host.add_to_metric(*metric, amount);
            }
        }
    }
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
    use crate::fake_host::FakeHost;

    /// Returns what this thread has counted.
    fn counted(metric: Metric) -> i64 {
        SUMS.with(|sums| sums.0[metric as usize].load(Ordering::Relaxed))
    }

    /// In a thread of its own, in which nothing else counts.
    #[test]
    fn a_thread_counts_for_itself() {
        let sums = std::thread::spawn(|| {
            count(Metric::Requests);
            count(Metric::Requests);
            Metric::Lines.add(5);
            Metric::Lines.add(-2);
            let mut gauges = [Metric::SpansHeld, Metric::SpansHeld].map(SharedGauge::new);
            for (gauge, part) in [(0, 7), (1, 5), (0, 4), (0, 4), (1, 0)] {
                gauges[gauge].set(part);
            }
            [Metric::Requests, Metric::Lines, Metric::SpansHeld, Metric::Denied].map(counted)
        });
        assert_eq!(sums.join().unwrap(), [2, 3, 4, 0]);
    }

    /// Each sum is passed on once, and only what changed.
    #[test]
    fn the_proxy_gets_what_was_counted() {
        let sums = [(); 2].map(|()| Arc::new(Sums([const { AtomicI64::new(0) }; Metric::COUNT])));
        let add = |thread: usize, metric: Metric, amount| {
            sums[thread].0[metric as usize].fetch_add(amount, Ordering::Relaxed);
        };
        let mut totals = Totals { threads: sums.to_vec(), published: [0; Metric::COUNT] };
        let mut publish = || {
            let host = FakeHost::default();
            totals.publish(&host);
            host.metrics.into_inner()
        };
        assert_eq!(publish(), []);
        for (thread, metric, amount) in [
            (0, Metric::Lines, 3),
            (1, Metric::Lines, 4),
            (1, Metric::SpansHeld, 5),
            (0, Metric::SpansHeld, -5),
        ] {
            add(thread, metric, amount);
        }
        assert_eq!(publish(), [(Metric::Lines, 7)]);
        assert_eq!(publish(), []);
        add(0, Metric::SpansHeld, -5);
        add(1, Metric::Lines, 1);
        assert_eq!(publish(), [(Metric::Lines, 1), (Metric::SpansHeld, -5)]);
    }

    /// Only this test counts panics.
    #[test]
    fn a_flush_passes_everything_on() {
        Metric::Panics.add(2);
        flush(&FakeHost::default());
        assert_eq!(lock(&TOTALS).published[Metric::Panics as usize], 2);
    }

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
