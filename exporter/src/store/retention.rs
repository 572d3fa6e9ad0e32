//! Bounding the store: the traces that were seen first leave first.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::summary::is_error;

use crate::clock::millis;
use crate::log::{self, Severity, Value};
use crate::metrics::{Metrics, Reason};
use crate::storage::sqlite;

/// The bounds of the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) max_age: Duration,
    pub(crate) max_bytes: u64,
}

/// What one step did.
#[derive(Debug)]
pub(super) struct Step {
    /// `None` when the store is within its bounds.
    pub(super) expired: Option<Expired>,
    /// After the step.
    pub(super) used_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Expired {
    traces: usize,
    /// Of a trace of which there is more.
    chunk: Cut,
    reason: &'static str,
}

/// What left the store of one trace.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Cut {
    spans: usize,
    lines: usize,
}

/// Traces that leave in one transaction.
const STEP: i64 = 512;

const DISK_FULL: &str = "disk full";

impl Expired {
    /// Counts and tells it.
    pub(super) fn count(&self, metrics: &Metrics) {
        let Self { traces, chunk, reason } = self;
        let label = Reason { reason };
        if *traces > 0 {
            metrics.store_traces_expired.get_or_create(&label).inc_by(*traces as u64);
            // By its bounds a store loses what it is meant to lose.
            let severity = if *reason == DISK_FULL { Severity::Warning } else { Severity::Info };
            log::repeated(
                severity,
                "traces left the store",
                &[("reason", Value::Str(reason)), ("traces", Value::U64(*traces as u64))],
            );
        }
        if chunk.spans + chunk.lines > 0 {
            metrics.store_spans_cut.inc_by(chunk.spans as u64);
            metrics.store_log_lines_cut.inc_by(chunk.lines as u64);
            log::repeated(
                Severity::Warning,
                "evicted part of a trace: larger than the store's free space",
                &[
                    ("reason", Value::Str(reason)),
                    ("spans", Value::U64(chunk.spans as u64)),
                    ("lines", Value::U64(chunk.lines as u64)),
                ],
            );
        }
    }
}

/// Deletes some traces if the store is beyond a bound.
pub(super) fn step(
    connection: &mut Connection,
    retention: &Retention,
    now_ms: i64,
) -> rusqlite::Result<Step> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let oldest: Option<(i64, i64)> = tx
        .query_row("SELECT seq, seen_ms FROM trace ORDER BY seq LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let used = sqlite::used_bytes(&tx)?;
    let Some((first, seen_ms)) = oldest else {
        return Ok(Step { expired: None, used_bytes: used });
    };

    let cutoff_ms = now_ms.saturating_sub(millis(retention.max_age));
    let (reason, last) = if seen_ms < cutoff_ms {
        let kept: Option<i64> = tx
            .query_row(
                "SELECT seq FROM trace WHERE seq < ? AND seen_ms >= ? ORDER BY seq LIMIT 1",
                [first + STEP, cutoff_ms],
                |row| row.get(0),
            )
            .optional()?;
        ("age", kept.unwrap_or(first + STEP) - 1)
    } else if used > retention.max_bytes {
        // A share of what there is, so that few traces that are large do not all go at once.
        let count: i64 =
            tx.query_row("SELECT count(*) FROM (SELECT 1 FROM trace LIMIT ?)", [STEP * 16], |row| {
                row.get(0)
            })?;
        ("bytes", first + (count / 16).max(1) - 1)
    } else {
        return Ok(Step { expired: None, used_bytes: used });
    };

    let traces = delete(&tx, last)?;
    let used_bytes = sqlite::used_bytes(&tx)?;
    tx.commit()?;
    Ok(Step { expired: Some(Expired { traces, chunk: Cut::default(), reason }), used_bytes })
}

/// Deletes the oldest traces, about so many bytes, whatever the bounds are; `None` where there are none.
///
/// Of a single trace that is larger it deletes a part: what is deleted takes as much in the log.
pub(super) fn give_way(connection: &mut Connection, max_bytes: u64) -> rusqlite::Result<Option<Expired>> {
    /// A trace changes pages of the indexes, too.
    const OVERHEAD: i64 = 8 << 10;
    let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (mut last, mut bytes) = (None, 0);
    {
        let mut oldest = tx.prepare_cached(
            "SELECT seq,
                 (SELECT coalesce(sum(length(body)), 0) FROM span WHERE trace = seq)
                 + (SELECT coalesce(sum(length(line) + length(message)), 0) FROM line WHERE trace = seq)
             FROM trace ORDER BY seq",
        )?;
        let mut rows = oldest.query([])?;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            bytes += row.get::<_, i64>(1)? + OVERHEAD;
            if bytes > max_bytes && last.is_some() {
                break;
            }
            last = Some(seq);
            if bytes > max_bytes {
                break;
            }
        }
    }
    let Some(last) = last else { return Ok(None) };
    let is_one = bytes > max_bytes
        && tx.query_row("SELECT count(*) FROM trace WHERE seq <= ?", [last], |row| row.get::<_, i64>(0))?
            == 1;
    let chunk = if is_one { delete_part(&tx, last, max_bytes)? } else { None };
    let traces = if chunk.is_some() { 0 } else { delete(&tx, last)? };
    tx.commit()?;
    Ok(Some(Expired { traces, chunk: chunk.unwrap_or_default(), reason: DISK_FULL }))
}

/// Deletes a part of one trace, unless that is all of it.
fn delete_part(tx: &Transaction<'_>, trace: i64, max_bytes: i64) -> rusqlite::Result<Option<Cut>> {
    let mut left = max_bytes;
    let mut errors = 0_i64;
    let mut deleted = [0; 2];
    let tables = [("span", "span_id", "body"), ("line", "time_ns", "CAST(line AS BLOB)")];
    for (count, (table, id, body)) in deleted.iter_mut().zip(tables) {
        let sql = format!("SELECT {id}, {body} FROM {table} WHERE trace = ? ORDER BY {id}");
        let mut statement = tx.prepare(&sql)?;
        let mut rows = statement.query([trace])?;
        let mut until = i64::MAX;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_blob()?;
            let is_failed_span = table == "span" && Span::decode(body).is_ok_and(|span| is_error(&span));
            errors += i64::from(is_failed_span);
            left -= body.len() as i64;
            if left < 0 {
                until = row.get(0)?;
                break;
            }
        }
        drop(rows);
        *count = tx.execute(&format!("DELETE FROM {table} WHERE trace = ? AND {id} <= ?"), [trace, until])?;
        if left < 0 {
            break;
        }
    }
    if left >= 0 {
        return Ok(None);
    }
    let [spans, lines] = deleted;
    tx.execute(
        "UPDATE trace SET span_count = span_count - ?, error_count = error_count - ?, log_count = log_count - ?
         WHERE seq = ?",
        params![spans as i64, errors, lines as i64, trace],
    )?;
    Ok(Some(Cut { spans, lines }))
}

/// Deletes the traces up to this one; how many there were.
fn delete(tx: &Transaction<'_>, last: i64) -> rusqlite::Result<usize> {
    let traces = tx.execute("DELETE FROM trace WHERE seq <= ?", [last])?;
    tx.execute("DELETE FROM span WHERE trace <= ?", [last])?;
    tx.execute("DELETE FROM line WHERE trace <= ?", [last])?;
    tx.execute("DELETE FROM origin WHERE newest_trace <= ?", [last])?;
    Ok(traces)
}
