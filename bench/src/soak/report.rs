//! The report of a soak: its figures, and the differences between what was sent and what arrived.

use std::collections::{BTreeMap, HashSet};

use super::accounting::{Logged, Stored};
use super::traffic::Sent;

/// The figures of a soak, and what is wrong with them.
#[derive(Debug)]
pub struct Report {
    /// Names and values, in the order in which they are to be read.
    pub figures: Vec<(String, String)>,
    /// The differences. A soak without differences is passed.
    pub differences: Vec<String>,
}

/// What the parts of the chain counted.
pub(super) struct Outcome {
    pub(super) delivered: HashSet<[u8; 8]>,
    pub(super) delivered_spans: u64,
    pub(super) dropped_by_exporter: u64,
    pub(super) dead_letters: u64,
    pub(super) evicted_traces: u64,
    pub(super) tailed_lines: u64,
    pub(super) lines_written: u64,
    pub(super) filter: BTreeMap<String, u64>,
    pub(super) envoy_kib: u64,
    pub(super) exporter_kib: u64,
}

/// The maximum amount of memory that the exporter may use.
const EXPORTER_MAX_KIB: u64 = 256 * 1024;
/// The number of differences of one kind that are listed.
const EXAMPLES: usize = 5;

impl Outcome {
    pub(super) fn report(&self, sent: &Sent, logged: &Logged, stored: &Stored) -> Report {
        let dropped: BTreeMap<&str, u64> = self
            .filter
            .iter()
            .filter(|(_, count)| **count > 0)
            .filter_map(|(name, count)| Some((name.strip_prefix("spans_dropped_")?, *count)))
            .collect();
        let dropped_total = dropped.values().sum::<u64>() + self.dropped_by_exporter;
        let missing = logged.span_ids.difference(&self.delivered).count() as u64;
        let unknown = self.delivered.difference(&logged.span_ids).count() as u64;
        // A span can arrive although its response is lost. The filter then counts it as dropped.
        let delivered_and_dropped = dropped_total.saturating_sub(missing);
        let quantile = |share: f64| {
            let index = (sent.latencies.len() as f64 * share) as usize;
            format!(
                "{:.1?}",
                sent.latencies.get(index).or(sent.latencies.last()).copied().unwrap_or_default()
            )
        };

        let figures = [
            ("requests", sent.requests.len().to_string()),
            ("without a response, because Envoy drained", sent.unanswered.len().to_string()),
            ("lines", logged.lines.to_string()),
            ("sampled spans", logged.span_ids.len().to_string()),
            ("delivered spans", self.delivered.len().to_string()),
            ("delivered twice", (self.delivered_spans - self.delivered.len() as u64).to_string()),
            ("dropped by the filter", format!("{dropped:?}")),
            ("dropped by the exporter", self.dropped_by_exporter.to_string()),
            ("counted as dropped, but delivered", delivered_and_dropped.to_string()),
            ("lines in the store", stored.lines.to_string()),
            ("traces evicted from the store (disk full)", self.evicted_traces.to_string()),
            ("latency, median and 99.9 %", format!("{} {}", quantile(0.5), quantile(0.999))),
            (
                "peak memory of Envoy and of the exporter, KiB",
                format!("{} {}", self.envoy_kib, self.exporter_kib),
            ),
        ];
        let mut differences = Vec::new();
        differences.extend(sent.failures.iter().take(EXAMPLES).cloned());
        differences.extend(logged.mismatches.iter().take(EXAMPLES).cloned());
        let mut check = |is_right: bool, difference: String| {
            if !is_right {
                differences.push(difference);
            }
        };
        check(
            sent.unanswered.len() * 100 <= sent.requests.len(),
            format!("{} requests have no response, more than 1 %", sent.unanswered.len()),
        );
        check(sent.failures.is_empty(), format!("{} requests failed", sent.failures.len()));
        check(
            logged.mismatches.is_empty(),
            format!("{} lines or requests do not match", logged.mismatches.len()),
        );
        check(
            self.lines_written == logged.lines,
            format!("{} lines were written, and {} are in the files", self.lines_written, logged.lines),
        );
        check(
            missing <= dropped_total,
            format!("{missing} spans are missing, and {dropped_total} are counted"),
        );
        check(unknown == 0, format!("{unknown} spans were delivered that are not in a line"));
        check(self.dead_letters == 0, format!("{} dead letters", self.dead_letters));
        check(stored.repeated == 0, format!("{} lines are in the store twice", stored.repeated));
        check(
            stored.incomplete_traces <= self.evicted_traces,
            format!(
                "{} lines of {} traces are not in the store, and {} traces were evicted",
                stored.missing, stored.incomplete_traces, self.evicted_traces
            ),
        );
        check(
            self.tailed_lines <= logged.lines,
            format!("log_lines_tailed_total is {} for {} lines", self.tailed_lines, logged.lines),
        );
        check(
            self.exporter_kib <= EXPORTER_MAX_KIB,
            format!("the exporter used {} KiB, more than {EXPORTER_MAX_KIB}", self.exporter_kib),
        );
        Report { figures: figures.map(|(name, value)| (name.to_owned(), value)).into(), differences }
    }
}
