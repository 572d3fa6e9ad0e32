//! Traces as rows of a list.

use logtracer_core::TraceId;
use rusqlite::{OptionalExtension, Row};
use serde_json::Value;

use super::{Snapshot, TraceSeq, sql_limit};
use crate::store::summary::parse_services;

/// A trace as one row of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceSummary {
    pub(crate) trace_id: TraceId,
    /// Empty if the trace has only log lines.
    pub(crate) root_name: String,
    pub(crate) service_names: Vec<String>,
    /// The service of the span that names the trace. Empty if it is unknown.
    pub(crate) root_service: String,
    /// The status of the span that names the trace: an HTTP status code, or the name of a gRPC status code. Empty if it
    /// has none.
    pub(crate) root_status: String,
    pub(crate) span_count: u64,
    pub(crate) log_count: u64,
    pub(crate) error_count: u64,
    pub(crate) start_unix_nano: u64,
    pub(crate) duration_nano: u64,
    /// The place in the list: the start, or the arrival of a trace whose start is implausible.
    pub(crate) order_unix_nano: u64,
    /// A clock was set between the start and the end, so the duration is unknown and 0.
    pub(crate) has_wrong_times: bool,
    pub(crate) key: ListKey,
}

/// The place of a trace in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListKey {
    pub(super) seq: i64,
    pub(super) order_ns: i64,
    pub(crate) duration_nano: u64,
}

/// A trace as a dot of the overview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceDot {
    pub(crate) trace_id: TraceId,
    pub(crate) root_name: String,
    pub(crate) order_unix_nano: u64,
    pub(crate) duration_nano: u64,
    pub(crate) has_failed: bool,
}

const SUMMARY: &str =
    "seq, trace_id, start_ns, end_ns, span_count, error_count, log_count, root_name, services,
     root_status, (SELECT body FROM content WHERE id = root_service), order_ns, duration_ns FROM trace";

impl Snapshot<'_> {
    /// Returns the names of the services of the newest traces, in their order.
    pub(crate) fn services(&self) -> rusqlite::Result<Vec<String>> {
        const TRACES: usize = 200;
        let mut newest = self.0.prepare_cached(
            "SELECT services FROM trace WHERE untraced = 0 ORDER BY order_ns DESC, duration_ns DESC LIMIT ?",
        )?;
        let mut rows = newest.query([sql_limit(TRACES)])?;
        let mut lists = std::collections::BTreeSet::new();
        while let Some(row) = rows.next()? {
            lists.insert(row.get::<_, String>(0)?);
        }
        let mut names = std::collections::BTreeSet::new();
        for list in lists {
            names.extend(self.service_names(&list)?);
        }
        Ok(names.into_iter().collect())
    }

    /// Returns a trace of the list, or `None` if it was evicted.
    pub(crate) fn listed(&self, key: ListKey) -> rusqlite::Result<Option<TraceSummary>> {
        let mut statement = self.0.prepare_cached(&format!("SELECT {SUMMARY} WHERE seq = ?"))?;
        let found = statement.query_row([key.seq], |row| self.summary(row)).optional()?;
        Ok(found.map(|(_, summary)| summary))
    }

    /// Returns a trace, or `None` if nothing of it is stored.
    pub(crate) fn trace(&self, trace_id: TraceId) -> rusqlite::Result<Option<(TraceSeq, TraceSummary)>> {
        self.0
            .prepare_cached(&format!("SELECT {SUMMARY} WHERE trace_id = ?"))?
            .query_row([trace_id.to_bytes()], |row| self.summary(row))
            .optional()
    }

    /// Returns a trace of the list as a dot, or `None` if it was evicted or has no spans.
    pub(crate) fn dot(&self, key: ListKey) -> rusqlite::Result<Option<TraceDot>> {
        let dot = self
            .0
            .prepare_cached(
                "SELECT trace_id, root_name, order_ns, error_count > 0 FROM trace WHERE seq = ? AND span_count > 0",
            )?
            .query_row([key.seq], |row| {
                let id = TraceId::from_bytes(row.get(0)?);
                Ok(TraceDot {
                    trace_id: id.ok_or_else(|| rusqlite::Error::IntegralValueOutOfRange(0, 0))?,
                    root_name: row.get(1)?,
                    order_unix_nano: unsigned(row, 2)?,
                    duration_nano: key.duration_nano,
                    has_failed: row.get(3)?,
                })
            })
            .optional()?;
        Ok(dot)
    }

    /// Returns the number of a trace in [`Change::Trace`](crate::store::Change), or `None` if nothing of it is stored.
    pub(crate) fn trace_number(&self, trace_id: TraceId) -> rusqlite::Result<Option<i64>> {
        self.0
            .prepare_cached("SELECT seq FROM trace WHERE trace_id = ?")?
            .query_row([trace_id.to_bytes()], |row| row.get(0))
            .optional()
    }

    fn summary(&self, row: &Row<'_>) -> rusqlite::Result<(TraceSeq, TraceSummary)> {
        let trace_id =
            TraceId::from_bytes(row.get(1)?).ok_or_else(|| rusqlite::Error::IntegralValueOutOfRange(1, 0))?;
        let (start, end) = (unsigned(row, 2)?, unsigned(row, 3)?);
        let duration = unsigned(row, 12)?;
        let seq = row.get(0)?;
        let summary = TraceSummary {
            trace_id,
            start_unix_nano: start,
            duration_nano: duration,
            has_wrong_times: duration != end.saturating_sub(start),
            key: ListKey { seq, order_ns: row.get(11)?, duration_nano: duration },
            span_count: unsigned(row, 4)?,
            error_count: unsigned(row, 5)?,
            log_count: unsigned(row, 6)?,
            root_name: row.get(7)?,
            service_names: self.service_names(&row.get::<_, String>(8)?)?,
            root_status: row.get(9)?,
            root_service: row
                .get_ref(10)?
                .as_blob_or_null()?
                .map_or_else(String::new, |name| String::from_utf8_lossy(name).into_owned()),
            order_unix_nano: unsigned(row, 11)?,
        };
        Ok((TraceSeq(seq), summary))
    }

    /// Returns the names in the column `services`, each once.
    fn service_names(&self, services: &str) -> rusqlite::Result<Vec<String>> {
        let mut names = Vec::new();
        for service in parse_services(services) {
            let name = match service {
                Value::String(name) => name,
                service => match service.as_i64() {
                    Some(id) => self
                        .0
                        .prepare_cached("SELECT body FROM content WHERE id = ?")?
                        .query_row([id], |row| {
                            Ok(String::from_utf8_lossy(row.get_ref(0)?.as_blob()?).into_owned())
                        })?,
                    None => continue,
                },
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

fn unsigned(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(index).map(|number| number.max(0).cast_unsigned())
}
