//! The retention of the store: the traces that were seen first are evicted first.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{index, origins};
use crate::clock::millis;
use crate::log::{self, Severity, Value};
use crate::metrics::{Metrics, ReasonLabel};
use crate::otlp::in_place::SpanRef;
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
    /// `None` if there is nothing to delete.
    pub(super) evicted: Option<Evicted>,
    /// The size after the step.
    pub(super) used_bytes: u64,
}

/// What one transaction evicted: nothing, if it deleted only what no trace uses.
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
    fn nothing(reason: &'static str) -> Self {
        Self { traces: 0, partial: PartOfTrace::default(), reason }
    }

    /// Counts and logs the eviction.
    pub(super) fn report(&self, metrics: &Metrics) {
        let Self { traces, partial, reason } = self;
        // An eviction by age or size is normal operation.
        let severity = if *reason == DISK_FULL { Severity::Warning } else { Severity::Info };
        if *traces > 0 {
            let label = ReasonLabel { reason };
            metrics.store_traces_evicted.get_or_create(&label).inc_by(*traces as u64);
            log::rate_limited(
                severity,
                "evicted traces",
                &[("reason", Value::Str(reason)), ("traces", Value::U64(*traces as u64))],
            );
        }
        if partial.spans + partial.lines > 0 {
            metrics.store_spans_evicted.inc_by(partial.spans as u64);
            metrics.store_log_lines_evicted.inc_by(partial.lines as u64);
            log::rate_limited(
                severity,
                "evicted part of a trace: it is large",
                &[
                    ("reason", Value::Str(reason)),
                    ("spans", Value::U64(partial.spans as u64)),
                    ("lines", Value::U64(partial.lines as u64)),
                ],
            );
        }
    }
}

/// Deletes what no trace uses, or evicts some traces if the store exceeds a limit: about `max_bytes`, because a deletion
/// needs as much space in the WAL.
pub(super) fn step(
    connection: &mut Connection,
    retention: &Retention,
    now_ms: i64,
    max_bytes: u64,
) -> rusqlite::Result<Step> {
    let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let used = sqlite::used_bytes(&tx)?;
    let cutoff_ms = now_ms.saturating_sub(millis(retention.max_age));
    let evicted = if origins::delete_unused(&tx, max_bytes)? {
        Some(Evicted::nothing(""))
    } else if let Some(until) = last_expired(&tx, cutoff_ms)? {
        evict(&tx, "age", until, i64::MAX, max_bytes)?
    } else if let Some(excess) = used.checked_sub(retention.max_bytes).filter(|excess| *excess > 0) {
        evict(&tx, "bytes", i64::MAX, i64::try_from(excess).unwrap_or(i64::MAX), max_bytes)?
    } else {
        None
    };
    let used_bytes = sqlite::used_bytes(&tx)?;
    tx.commit()?;
    Ok(Step { evicted, used_bytes })
}

/// Returns the last of the oldest traces that were seen before this time.
fn last_expired(tx: &Transaction<'_>, cutoff_ms: i64) -> rusqlite::Result<Option<i64>> {
    let mut oldest = tx.prepare_cached("SELECT seq, seen_ms FROM trace ORDER BY seq LIMIT ?")?;
    let mut rows = oldest.query([MAX_TRACES_PER_STEP])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(1)? >= cutoff_ms {
            break;
        }
        last = Some(row.get(0)?);
    }
    Ok(last)
}

/// Deletes what no trace uses, or else evicts the oldest traces until `wanted_bytes` are free, regardless of the limits.
/// Stops after about `max_bytes`. Returns `None` if there is nothing to delete.
pub(super) fn evict_oldest(
    connection: &mut Connection,
    wanted_bytes: u64,
    max_bytes: u64,
) -> rusqlite::Result<Option<Evicted>> {
    let bytes = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let evicted = if origins::delete_unused(&tx, bytes(max_bytes))? {
        Some(Evicted::nothing(DISK_FULL))
    } else {
        evict(&tx, DISK_FULL, i64::MAX, bytes(wanted_bytes), bytes(max_bytes))?
    };
    tx.commit()?;
    Ok(evicted)
}

/// Evicts the oldest traces up to `until`, until their size is at least `wanted_bytes`. Stops after about `max_bytes`: of a
/// larger trace, a part is evicted. Returns `None` if there is no trace.
fn evict(
    tx: &Transaction<'_>,
    reason: &'static str,
    until: i64,
    wanted_bytes: i64,
    max_bytes: i64,
) -> rusqlite::Result<Option<Evicted>> {
    /// The pages of the indexes that the deletion of a trace changes.
    const OVERHEAD: i64 = 8 << 10;
    let mut oldest = tx.prepare_cached("SELECT seq FROM trace WHERE seq <= ? ORDER BY seq")?;
    let mut rows = oldest.query([until])?;
    let (mut last, mut freed, mut written) = (None, 0, 0);
    while freed < wanted_bytes
        && let Some(row) = rows.next()?
    {
        let seq: i64 = row.get(0)?;
        let bytes = trace_bytes(tx, seq, max_bytes)?;
        if last.is_some() && written + bytes + OVERHEAD > max_bytes {
            break;
        }
        last = Some(seq);
        freed += bytes;
        written += bytes + OVERHEAD;
    }
    drop(rows);
    let Some(last) = last else { return Ok(None) };
    if written > max_bytes
        && let Some(partial) = delete_part(tx, last, max_bytes.min(wanted_bytes))?
    {
        return Ok(Some(Evicted { partial, ..Evicted::nothing(reason) }));
    }
    Ok(Some(Evicted { traces: delete(tx, last)?, ..Evicted::nothing(reason) }))
}

/// The size of a row without its body.
const ROW_BYTES: i64 = 32;

/// Returns the size of a trace. If it exceeds `max_bytes`, the result is any number above that.
fn trace_bytes(tx: &Transaction<'_>, trace: i64, max_bytes: i64) -> rusqlite::Result<i64> {
    let mut bytes = 0;
    for sql in [
        "SELECT length(body) FROM span WHERE trace = ?",
        "SELECT octet_length(line) + octet_length(message) FROM line WHERE trace = ?",
    ] {
        let mut statement = tx.prepare_cached(sql)?;
        let mut rows = statement.query([trace])?;
        while bytes <= max_bytes
            && let Some(row) = rows.next()?
        {
            bytes += row.get::<_, i64>(0)? + ROW_BYTES;
        }
    }
    Ok(bytes)
}

/// Deletes about `max_bytes` of one trace. If the trace is smaller, deletes all its spans and lines and returns `None`.
fn delete_part(tx: &Transaction<'_>, trace: i64, max_bytes: i64) -> rusqlite::Result<Option<PartOfTrace>> {
    let mut left = max_bytes;
    let mut errors = 0_i64;
    let mut deleted = [0; 2];
    let tables = [("span", "span_id, span_id", "body"), ("line", "time_ns, n", "CAST(line AS BLOB)")];
    for (count, (table, key, body)) in deleted.iter_mut().zip(tables) {
        let sql = format!("SELECT {key}, {body} FROM {table} WHERE trace = ? ORDER BY {key}");
        let mut statement = tx.prepare_cached(&sql)?;
        let mut rows = statement.query([trace])?;
        let mut last = (i64::MAX, i64::MAX);
        while let Some(row) = rows.next()? {
            let body = row.get_ref(2)?.as_blob()?;
            let is_failed_span = table == "span" && SpanRef::new(body).status() == StatusCode::Error;
            errors += i64::from(is_failed_span);
            left -= body.len() as i64 + ROW_BYTES;
            if left < 0 {
                last = (row.get(0)?, row.get(1)?);
                break;
            }
        }
        drop(rows);
        let sql = format!("DELETE FROM {table} WHERE trace = ? AND ({key}) <= (?, ?)");
        *count = tx.prepare_cached(&sql)?.execute(params![trace, last.0, last.1])?;
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
    index::delete_before(tx, last + 1)?;
    Ok(traces)
}
