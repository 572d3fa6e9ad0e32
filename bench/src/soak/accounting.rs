//! The accounts at the end: every request has one line, every sampled span is delivered or counted as dropped, and
//! every line is in the store.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use logtracer_harness::store::Store;
use logtracer_harness::{Error, Result, lines};
use serde_json::Value;

use super::traffic::Sent;

/// What the log files contain.
#[derive(Debug, Default)]
pub(super) struct Logged {
    /// The numbers of the requests in the lines, by trace.
    pub(super) traces: HashMap<String, Vec<u64>>,
    /// The span ids of the sampled lines.
    pub(super) span_ids: HashSet<[u8; 8]>,
    pub(super) lines: u64,
    /// Lines that do not match the request of their number.
    pub(super) mismatches: Vec<String>,
}

impl Logged {
    /// Reads the log file `proxy.log` in `dir` and its rotated files.
    pub(super) fn read(dir: &Path, sent: &Sent) -> Result<Logged> {
        let mut logged = Logged::default();
        let mut numbers = HashSet::new();
        for entry in fs::read_dir(dir).map_err(Error::when(dir.display()))? {
            let path = entry.map_err(Error::when(dir.display()))?.path();
            for line in lines::read(&path)? {
                logged.lines += 1;
                let Some(number) = number(&line) else {
                    logged.mismatches.push(format!("no number: {line}"));
                    continue;
                };
                if !numbers.insert(number) {
                    logged.mismatches.push(format!("request {number} has two lines"));
                }
                let is_sampled = line["logging.googleapis.com/trace_sampled"] == true;
                if sent.requests.get(&number) != Some(&is_sampled) {
                    logged.mismatches.push(format!("request {number}: trace_sampled is {is_sampled}"));
                }
                let trace = lines::trace_id(&line).unwrap_or_default().to_owned();
                logged.traces.entry(trace).or_default().push(number);
                if is_sampled {
                    let id = line["logging.googleapis.com/spanId"].as_str().unwrap_or_default();
                    logged.span_ids.insert(u64::from_str_radix(id, 16).unwrap_or(0).to_be_bytes());
                }
            }
        }
        let is_missing = |number: &&u64| !numbers.contains(number) && !sent.unanswered.contains(number);
        let missing = sent.requests.keys().filter(is_missing);
        logged.mismatches.extend(missing.map(|number| format!("request {number} has no line")));
        Ok(logged)
    }
}

/// What the store lacks or has twice.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) lines: u64,
    pub(super) repeated: u64,
    pub(super) missing: u64,
    /// Traces that lack at least one line.
    pub(super) incomplete_traces: u64,
}

impl Stored {
    /// Compares the lines of each trace with the store.
    pub(super) fn compare(store: &Store, logged: &Logged) -> Result<Stored> {
        let mut stored = Stored::default();
        for (trace_id, expected) in &logged.traces {
            let trace = store.trace(trace_id)?;
            let logs = trace.map_or_else(Vec::new, |trace| trace.logs);
            let numbers: Vec<u64> = logs.iter().filter_map(|log| number(&log.line)).collect();
            let unique: HashSet<u64> = numbers.iter().copied().collect();
            let missing = expected.iter().filter(|number| !unique.contains(number)).count() as u64;
            stored.lines += unique.len() as u64;
            stored.repeated += (numbers.len() - unique.len()) as u64;
            stored.missing += missing;
            stored.incomplete_traces += u64::from(missing > 0);
        }
        Ok(stored)
    }
}

/// Returns the number of the request of a line: the query of its URL.
fn number(line: &Value) -> Option<u64> {
    let url = line["httpRequest"]["requestUrl"].as_str()?;
    let (_, query) = url.split_once("?n=")?;
    query.split('.').next()?.parse().ok()
}
