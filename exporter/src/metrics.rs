//! The metrics of the exporter, for `GET /metrics`.
//!
//! Every name starts with `logtracer_exporter_`, and the name of a counter ends with `_total`.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::otlp::{Items, Signal};

/// The label of metrics by reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabel {
    pub(crate) reason: &'static str,
}

/// The label of metrics by sink.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct SinkLabel {
    sink: String,
}

impl SinkLabel {
    pub(crate) fn new(sink: &str) -> Self {
        Self { sink: sink.to_owned() }
    }
}

/// The labels of metrics by sink and reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkReasonLabels {
    sink: String,
    reason: &'static str,
}

/// The labels of metrics by sink and rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkRuleLabels {
    sink: String,
    rule: String,
}

/// Two counters of the same outcome, for spans and for log records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) spans: Counter,
    pub(crate) log_records: Counter,
}

impl Tally {
    pub(crate) fn add(&self, items: Items) {
        self.spans.inc_by(items.spans);
        self.log_records.inc_by(items.log_records);
    }
}

/// All metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) ready: Gauge,
    pub(crate) received: Tally,
    pub(crate) spans_rejected: Family<ReasonLabel, Counter>,
    pub(crate) log_records_rejected: Family<ReasonLabel, Counter>,
    pub(crate) attributes_rejected: Family<ReasonLabel, Counter>,
    pub(crate) requests_rejected: Family<ReasonLabel, Counter>,
    pub(crate) connections: Gauge,
    pub(crate) connections_closed: Family<ReasonLabel, Counter>,
    pub(crate) views_cut_off: Family<ReasonLabel, Counter>,
    pub(crate) committed: Tally,
    pub(crate) commits: Counter,
    pub(crate) batches_per_commit: Histogram,
    pub(crate) outbox_bytes: Gauge,
    pub(crate) outbox_max_bytes: Gauge,
    pub(crate) outbox_damaged: Counter,
    pub(crate) outbox_batches_dropped: Counter,
    pub(crate) outbox_oldest_age: Gauge<f64, AtomicU64>,
    spans_delivered: Family<SinkLabel, Counter>,
    log_records_delivered: Family<SinkLabel, Counter>,
    spans_dropped: Family<SinkReasonLabels, Counter>,
    log_records_dropped: Family<SinkReasonLabels, Counter>,
    spans_not_kept: Family<SinkLabel, Counter>,
    log_records_not_kept: Family<SinkLabel, Counter>,
    traces_kept: Family<SinkRuleLabels, Counter>,
    traces_not_kept: Family<SinkReasonLabels, Counter>,
    pub(crate) spans_not_considered: Family<ReasonLabel, Counter>,
    pub(crate) open_traces: Gauge,
    pub(crate) decision_delay: Gauge<f64, AtomicU64>,
    spans_truncated: Family<SinkLabel, Counter>,
    log_records_truncated: Family<SinkLabel, Counter>,
    delivery_retries: Family<SinkLabel, Counter>,
    dead_letters: Family<SinkLabel, Gauge>,
    dead_letters_evicted: Family<SinkLabel, Counter>,
    pub(crate) sink_lag: Family<SinkLabel, Gauge>,
    sink_last_delivery: Family<SinkLabel, Gauge<f64, AtomicU64>>,
    pub(crate) log_lines_tailed: Counter,
    pub(crate) log_lines_skipped: Family<ReasonLabel, Counter>,
    pub(crate) log_file_gaps: Family<ReasonLabel, Counter>,
    pub(crate) store_bytes: Gauge,
    pub(crate) store_max_bytes: Gauge,
    pub(crate) store_traces_evicted: Family<ReasonLabel, Counter>,
    pub(crate) store_spans_evicted: Counter,
    pub(crate) store_log_lines_evicted: Counter,
    pub(crate) disk_full: Gauge,
    pub(crate) disk_free_bytes: Gauge,
    resident_memory_bytes: Gauge,
    registry: Registry,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("logtracer_exporter");
        let r = &mut registry;
        Self {
            ready: add(r, "ready", "1 if /readyz answers 200, otherwise 0"),
            received: Tally {
                spans: add(r, "spans_received", "Spans in well-formed requests"),
                log_records: add(
                    r,
                    "log_records_received",
                    "Log records in well-formed requests, and lines of --tail that were passed to the sinks",
                ),
            },
            spans_rejected: add(r, "spans_rejected", "Invalid spans rejected from their request"),
            log_records_rejected: add(
                r,
                "log_records_rejected",
                "Invalid log records rejected from their request",
            ),
            attributes_rejected: add(
                r,
                "attributes_rejected",
                "Invalid attributes, events, links and fields of resources and scopes left out of their request",
            ),
            requests_rejected: add(r, "requests_rejected", "Requests answered with an error"),
            connections: add(r, "connections", "Open connections of all addresses"),
            connections_closed: add(r, "connections_closed", "Connections closed in favor of others"),
            views_cut_off: add(r, "views_cut_off", "Views that were not answered completely"),
            committed: Tally {
                spans: add(r, "spans_committed", "Spans committed to the outbox"),
                log_records: add(r, "log_records_committed", "Log records committed to the outbox"),
            },
            commits: add(r, "commits", "Commits of the outbox"),
            batches_per_commit: {
                let batches = Histogram::new([1., 2., 4., 8., 16., 32., 64., 128., 256., 512.]);
                r.register(
                    "batches_per_commit",
                    "Requests that shared one commit of the outbox",
                    batches.clone(),
                );
                batches
            },
            outbox_bytes: add_with_unit(r, "outbox", "Size of the waiting batches", Unit::Bytes),
            outbox_max_bytes: add_with_unit(
                r,
                "outbox_max",
                "Maximum size of the waiting batches",
                Unit::Bytes,
            ),
            outbox_damaged: add(r, "outbox_damaged", "Times that a corrupt outbox was quarantined"),
            outbox_batches_dropped: add(
                r,
                "outbox_batches_dropped",
                "Batches that could not be recovered from a corrupt outbox",
            ),
            outbox_oldest_age: add_with_unit(
                r,
                "outbox_oldest_age",
                "Age of the oldest waiting batch",
                Unit::Seconds,
            ),
            spans_delivered: add(r, "spans_delivered", "Spans that a sink accepted"),
            log_records_delivered: add(r, "log_records_delivered", "Log records that a sink accepted"),
            spans_dropped: add(r, "spans_dropped", "Spans dropped for a sink"),
            log_records_dropped: add(r, "log_records_dropped", "Log records dropped for a sink"),
            spans_not_kept: add(r, "spans_not_kept", "Spans that the rules of a sink do not keep"),
            log_records_not_kept: add(
                r,
                "log_records_not_kept",
                "Log records that the rules of a sink do not keep",
            ),
            traces_kept: add(r, "traces_kept", "Traces that a rule of a sink keeps"),
            traces_not_kept: add(r, "traces_not_kept", "Traces that no rule of a sink keeps"),
            spans_not_considered: add(
                r,
                "spans_not_considered",
                "Spans that the decision on their trace could not consider",
            ),
            open_traces: add(r, "open_traces", "Traces that are not decided yet"),
            decision_delay: add_with_unit(
                r,
                "decision_delay",
                "How long the oldest undecided batch waits beyond the decision wait",
                Unit::Seconds,
            ),
            spans_truncated: add(r, "spans_truncated", "Spans truncated to fit in a request to a sink"),
            log_records_truncated: add(
                r,
                "log_records_truncated",
                "Log records truncated to fit in a request to a sink",
            ),
            delivery_retries: add(r, "delivery_retries", "Failed requests to a sink that are retried"),
            dead_letters: add(r, "dead_letters", "Dead letters of a sink"),
            dead_letters_evicted: add(
                r,
                "dead_letters_evicted",
                "Spans and log records in evicted dead letters of a sink",
            ),
            sink_lag: add(r, "sink_lag_batches", "Backlog of a sink in batches"),
            sink_last_delivery: add_with_unit(
                r,
                "sink_last_delivery_timestamp",
                "When a sink was started, last accepted a request, or had nothing to accept in what came",
                Unit::Seconds,
            ),
            log_lines_tailed: add(r, "log_lines_tailed", "Log lines read from files"),
            log_lines_skipped: add(r, "log_lines_skipped", "Log lines and log records that were not stored"),
            log_file_gaps: add(r, "log_file_gaps", "Times that the rest of a log file was not found"),
            store_bytes: add_with_unit(r, "store", "Used size of the store", Unit::Bytes),
            store_max_bytes: add_with_unit(r, "store_max", "Maximum size of the store", Unit::Bytes),
            store_traces_evicted: add(r, "store_traces_evicted", "Traces evicted from the store"),
            store_spans_evicted: add(
                r,
                "store_spans_evicted",
                "Spans evicted from the store without the rest of their trace",
            ),
            store_log_lines_evicted: add(
                r,
                "store_log_lines_evicted",
                "Log lines evicted from the store without the rest of their trace",
            ),
            disk_full: add(r, "disk_full", "1 while the disk of the data directory is full, otherwise 0"),
            disk_free_bytes: add_with_unit(
                r,
                "disk_free",
                "Free bytes of the disk of the data directory",
                Unit::Bytes,
            ),
            resident_memory_bytes: add_with_unit(
                r,
                "resident_memory",
                "Resident memory of the process",
                Unit::Bytes,
            ),
            registry,
        }
    }

    /// Returns the counters of the items that this sink accepted.
    pub(crate) fn delivered(&self, sink: &str) -> Tally {
        let label = SinkLabel::new(sink);
        Tally {
            spans: Counter::clone(&self.spans_delivered.get_or_create(&label)),
            log_records: Counter::clone(&self.log_records_delivered.get_or_create(&label)),
        }
    }

    /// Returns the counters of the items that were dropped for this sink.
    pub(crate) fn dropped(&self, sink: &str, reason: &'static str) -> Tally {
        let label = SinkReasonLabels { sink: sink.to_owned(), reason };
        Tally {
            spans: Counter::clone(&self.spans_dropped.get_or_create(&label)),
            log_records: Counter::clone(&self.log_records_dropped.get_or_create(&label)),
        }
    }

    /// Returns the counters of the items that the rules of this sink do not keep.
    pub(crate) fn not_kept(&self, sink: &str) -> Tally {
        let label = SinkLabel::new(sink);
        Tally {
            spans: Counter::clone(&self.spans_not_kept.get_or_create(&label)),
            log_records: Counter::clone(&self.log_records_not_kept.get_or_create(&label)),
        }
    }

    /// Returns the counter of the traces that a rule of this sink keeps.
    pub(crate) fn traces_kept(&self, sink: &str, rule: &str) -> Counter {
        let labels = SinkRuleLabels { sink: sink.to_owned(), rule: rule.to_owned() };
        Counter::clone(&self.traces_kept.get_or_create(&labels))
    }

    /// Returns the counter of the traces that this sink does not get.
    pub(crate) fn traces_not_kept(&self, sink: &str, reason: &'static str) -> Counter {
        let labels = SinkReasonLabels { sink: sink.to_owned(), reason };
        Counter::clone(&self.traces_not_kept.get_or_create(&labels))
    }

    /// Counts items that were truncated for this sink.
    pub(crate) fn count_truncated(&self, sink: &str, signal: Signal, items: u32) {
        let truncated = match signal {
            Signal::Traces => &self.spans_truncated,
            Signal::Logs => &self.log_records_truncated,
        };
        if items > 0 {
            truncated.get_or_create(&SinkLabel::new(sink)).inc_by(items.into());
        }
    }

    /// Counts a failed call to this sink that is retried.
    pub(crate) fn count_retry(&self, sink: &str) {
        self.delivery_retries.get_or_create(&SinkLabel::new(sink)).inc();
    }

    /// Sets the time of the last delivery to this sink, in milliseconds since 1970.
    pub(crate) fn set_last_delivery(&self, sink: &str, at_ms: i64) {
        self.sink_last_delivery.get_or_create(&SinkLabel::new(sink)).set(at_ms as f64 / 1000.);
    }

    /// Sets the number of dead letters of this sink.
    pub(crate) fn set_dead_letters(&self, sink: &str, count: i64) {
        self.dead_letters.get_or_create(&SinkLabel::new(sink)).set(count);
    }

    /// Counts the spans or log records of evicted dead letters.
    pub(crate) fn count_evicted(&self, sink: &str, items: u64) {
        self.dead_letters_evicted.get_or_create(&SinkLabel::new(sink)).inc_by(items);
    }

    /// Renders the text of `GET /metrics`.
    pub(crate) fn render(&self) -> String {
        self.resident_memory_bytes.set(resident_bytes().unwrap_or_default());
        let mut text = String::new();
        // A write to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Returns the resident memory of this process, or `None` on a system other than Linux.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kib.trim().strip_suffix(" kB")?.parse::<i64>().ok().map(|kib| kib << 10)
}

/// Registers a new metric, and returns it.
fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// Registers a new metric whose name ends with its unit, and returns it.
fn add_with_unit<M: Metric + Clone + Default>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    unit: Unit,
) -> M {
    let metric = M::default();
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_prefix_and_their_unit() {
        let metrics = Metrics::new();
        metrics.received.add(Items { spans: 3, log_records: 4 });
        metrics.dropped("store", "age").add(Items { spans: 2, log_records: 0 });
        metrics.outbox_bytes.set(7);
        let text = metrics.render();
        for line in [
            "logtracer_exporter_spans_received_total 3",
            "logtracer_exporter_log_records_received_total 4",
            "logtracer_exporter_spans_dropped_total{sink=\"store\",reason=\"age\"} 2",
            "logtracer_exporter_outbox_bytes 7",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
    }

    /// The table of docs/exporter.md contains every metric under its full name, and no other.
    #[test]
    fn exactly_the_metrics_are_documented() {
        let metrics = Metrics::new();
        // A metric with labels is rendered after it was counted.
        for family in [
            &metrics.spans_rejected,
            &metrics.log_records_rejected,
            &metrics.attributes_rejected,
            &metrics.requests_rejected,
            &metrics.connections_closed,
            &metrics.views_cut_off,
            &metrics.log_lines_skipped,
            &metrics.log_file_gaps,
            &metrics.store_traces_evicted,
            &metrics.spans_not_considered,
        ] {
            family.get_or_create(&ReasonLabel { reason: "a" }).inc();
        }
        metrics.delivered("a");
        metrics.dropped("a", "b");
        metrics.not_kept("a");
        metrics.traces_kept("a", "b");
        metrics.traces_not_kept("a", "b");
        metrics.count_truncated("a", Signal::Traces, 1);
        metrics.count_truncated("a", Signal::Logs, 1);
        metrics.count_retry("a");
        metrics.set_dead_letters("a", 1);
        metrics.count_evicted("a", 1);
        metrics.sink_lag.get_or_create(&SinkLabel::new("a")).set(1);
        metrics.set_last_delivery("a", 1);
        let text = metrics.render();
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.rsplit_once(' '));
        let mut names: Vec<String> = names
            .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
            .collect();
        let document = include_str!("../../docs/exporter.md");
        let rows = document.lines().filter_map(|line| line.strip_prefix("| `logtracer_exporter_"));
        let mut documented: Vec<String> =
            rows.filter_map(|row| Some(format!("logtracer_exporter_{}", row.split_once('`')?.0))).collect();
        names.sort();
        documented.sort();
        assert_eq!(documented, names);

        // An alert with a name that does not exist is never raised.
        let alerts = include_str!("../../charts/logtracer/files/alerts.yaml");
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let alerts: Vec<&str> =
            alerts.split(|c| !is_name(c)).filter(|name| name.starts_with("logtracer_exporter_")).collect();
        assert!(alerts.len() > 5, "{alerts:?}");
        for name in alerts {
            assert!(names.iter().any(|known| known == name), "an alert uses {name}");
        }
    }
}
