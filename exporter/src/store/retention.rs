//! The retention of the store: the traces that were seen first are evicted first.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::summary::is_error;
use crate::clock::millis;
use crate::log::{self, Severity, Value};
use crate::metrics::{Metrics, ReasonLabel};
use crate::storage::{DISK_FULL, sqlite};

/// The limits of the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) max_age: Duration,
    pub(crate) max_bytes: u64,
}

/// The result of [`step`].
#[derive(Debug)]
pub(super) struct Step {
    /// `None` if the store is within its limits.
    pub(super) evicted: Option<Evicted>,
    /// The size after the step.
    pub(super) used_bytes: u64,
}

/// What one transaction evicted.
#[derive(Debug)]
pub(super) struct Evicted {
    /// The number of whole traces.
    traces: usize,
    /// The evicted part of a trace that stays in the store.
    partial: PartOfTrace,
    reason: &'static str,
}

#[derive(Debug, Default, Clone, Copy)]
struct PartOfTrace {
    spans: usize,
    lines: usize,
}

/// The maximum number of traces that one transaction evicts by age.
const MAX_TRACES_PER_STEP: i64 = 512;

impl Evicted {
    /// Counts and logs the eviction.
    pub(super) fn report(&self, metrics: &Metrics) {
        let Self { traces, partial, reason } = self;
        if *traces > 0 {
            let label = ReasonLabel { reason };
            metrics.store_traces_evicted.get_or_create(&label).inc_by(*traces as u64);
            // An eviction by age or size is normal operation.
            let severity = if *reason == DISK_FULL { Severity::Warning } else { Severity::Info };
            log::rate_limited(
                severity,
                "evicted traces",
                &[("reason", Value::Str(reason)), ("traces", Value::U64(*traces as u64))],
            );
        }
        if partial.spans + partial.lines > 0 {
            metrics.store_spans_evicted.inc_by(partial.spans as u64);
            metrics.store_log_lines_evicted.inc_by(partial.lines as u64);
            log::warn(
                "evicted part of a trace: larger than the store's free space",
                &[
                    ("reason", Value::Str(reason)),
                    ("spans", Value::U64(partial.spans as u64)),
                    ("lines", Value::U64(partial.lines as u64)),
                ],
            );
        }
    }
}

/// Evicts some traces if the store exceeds a limit.
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
        return Ok(Step { evicted: None, used_bytes: used });
    };

    let cutoff_ms = now_ms.saturating_sub(millis(retention.max_age));
    let (reason, last) = if seen_ms < cutoff_ms {
        let kept: Option<i64> = tx
            .query_row(
                "SELECT seq FROM trace WHERE seq < ? AND seen_ms >= ? ORDER BY seq LIMIT 1",
                [first + MAX_TRACES_PER_STEP, cutoff_ms],
                |row| row.get(0),
            )
            .optional()?;
        ("age", kept.unwrap_or(first + MAX_TRACES_PER_STEP) - 1)
    } else if used > retention.max_bytes {
        // A sixteenth of the traces, so that a few large traces are not all evicted at once.
        let counted = "SELECT count(*) FROM (SELECT 1 FROM trace LIMIT ?)";
        let count: i64 = tx.query_row(counted, [MAX_TRACES_PER_STEP * 16], |row| row.get(0))?;
        ("bytes", first + (count / 16).max(1) - 1)
    } else {
        return Ok(Step { evicted: None, used_bytes: used });
    };

    let traces = delete(&tx, last)?;
    let used_bytes = sqlite::used_bytes(&tx)?;
    tx.commit()?;
    Ok(Step { evicted: Some(Evicted { traces, partial: PartOfTrace::default(), reason }), used_bytes })
}

/// Evicts the oldest traces, at most about `max_bytes`, regardless of the limits. Returns `None` if the store is empty.
///
/// If the oldest trace is larger, a part of it is evicted, because a deletion needs as much space in the WAL.
pub(super) fn evict_oldest(connection: &mut Connection, max_bytes: u64) -> rusqlite::Result<Option<Evicted>> {
    /// The pages of the indexes that the deletion of a trace changes.
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
    let is_single = bytes > max_bytes
        && tx.query_row("SELECT count(*) FROM trace WHERE seq <= ?", [last], |row| row.get::<_, i64>(0))?
            == 1;
    let partial = if is_single { delete_part(&tx, last, max_bytes)? } else { None };
    let traces = if partial.is_some() { 0 } else { delete(&tx, last)? };
    tx.commit()?;
    Ok(Some(Evicted { traces, partial: partial.unwrap_or_default(), reason: DISK_FULL }))
}

/// Deletes about `max_bytes` of one trace. If the trace is smaller, deletes all its spans and lines and returns `None`.
fn delete_part(tx: &Transaction<'_>, trace: i64, max_bytes: i64) -> rusqlite::Result<Option<PartOfTrace>> {
    let mut left = max_bytes;
    let mut errors = 0_i64;
    let mut deleted = [0; 2];
    let tables = [("span", "span_id", "body"), ("line", "time_ns", "CAST(line AS BLOB)")];
    for (count, (table, id, body)) in deleted.iter_mut().zip(tables) {
        let sql = format!("SELECT {id}, {body} FROM {table} WHERE trace = ? ORDER BY {id}");
        let mut statement = tx.prepare(&sql)?;
        let mut rows = statement.query([trace])?;
        let mut last_id = i64::MAX;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_blob()?;
            let is_failed_span = table == "span" && Span::decode(body).is_ok_and(|span| is_error(&span));
            errors += i64::from(is_failed_span);
            left -= body.len() as i64;
            if left < 0 {
                last_id = row.get(0)?;
                break;
            }
        }
        drop(rows);
        *count =
            tx.execute(&format!("DELETE FROM {table} WHERE trace = ? AND {id} <= ?"), [trace, last_id])?;
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
    Ok(Some(PartOfTrace { spans, lines }))
}

/// Deletes the traces up to this one, and returns their number.
fn delete(tx: &Transaction<'_>, last: i64) -> rusqlite::Result<usize> {
    let traces = tx.execute("DELETE FROM trace WHERE seq <= ?", [last])?;
    tx.execute("DELETE FROM span WHERE trace <= ?", [last])?;
    tx.execute("DELETE FROM line WHERE trace <= ?", [last])?;
    tx.execute("DELETE FROM origin WHERE newest_trace <= ?", [last])?;
    Ok(traces)
}
