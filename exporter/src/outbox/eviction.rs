//! The limits of the outbox by bytes and by age: which batches are dropped to keep them.

use rusqlite::{Transaction, params};

use super::batch::{BatchContent, Subscription};
use super::command::{Dropped, Outcome};
use super::watermarks::{Watermarks, items_between};
use crate::log::{self, Value};
use crate::metrics::Metrics;
use crate::otlp::Items;

/// Frees space for a new batch. Returns whether the batch fits.
///
/// If the outbox is full, it drops the oldest batches for the sinks that are behind another sink. So a sink that is down
/// neither delays the others nor fills the disk. A batch that no sink has acknowledged is never dropped for a new one:
/// the new request is rejected instead, and its sender can retry.
pub(super) fn free_space(
    transaction: &Transaction<'_>,
    watermarks: &mut Watermarks,
    outcome: &mut Outcome,
    needed: u64,
    max_bytes: u64,
) -> rusqlite::Result<bool> {
    let excess = (watermarks.bytes + needed).saturating_sub(max_bytes);
    if excess == 0 {
        return Ok(true);
    }
    let target = excess.max(eviction_step(max_bytes));
    let farthest = watermarks.cursors.iter().copied().max().unwrap_or(0);
    let mut freed = 0;
    let mut until = None;
    {
        let mut oldest = transaction
            .prepare_cached("SELECT id, length(body) FROM batch WHERE id > ? AND id <= ? ORDER BY id")?;
        let mut rows = oldest.query([watermarks.acknowledged(), farthest])?;
        while freed < target
            && let Some(row) = rows.next()?
        {
            until = Some(row.get::<_, i64>(0)?);
            freed += row.get::<_, i64>(1)? as u64;
        }
    }
    if freed < excess {
        return Ok(false);
    }
    if let Some(until) = until {
        drop_until(transaction, watermarks, outcome, until, "outbox full")?;
    }
    Ok(true)
}

/// Returns whether a batch of `--tail` may be appended.
///
/// At most half of the outbox is for batches of `--tail` that wait for a sink of tailed lines. Nothing that waits for such a
/// sink is dropped for another line: requests cannot wait as the lines of a file can.
pub(super) fn may_append_tailed(
    transaction: &Transaction<'_>,
    watermarks: &Watermarks,
    subscriptions: &[Subscription],
    needed: u64,
    max_bytes: u64,
) -> rusqlite::Result<bool> {
    if watermarks.bytes + needed <= max_bytes / 2 {
        return Ok(true);
    }
    let sinks = subscriptions.iter().zip(&watermarks.cursors);
    let cursors =
        sinks.filter(|(sink, _)| sink.signals.take(BatchContent::TailedLogs)).map(|(_, cursor)| *cursor);
    let (waiting, tailed) = transaction
        .prepare_cached(
            "SELECT coalesce(sum(length(body)), 0), coalesce(sum(length(body)) FILTER (WHERE signal = ?2), 0)
             FROM batch WHERE id > ?1",
        )?
        .query_row(params![cursors.min().unwrap_or(watermarks.last_id), BatchContent::TailedLogs], |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
        })?;
    let has_space =
        watermarks.bytes + needed <= max_bytes || waiting + needed + eviction_step(max_bytes) <= max_bytes;
    Ok(has_space && tailed + needed <= max_bytes / 2)
}

/// Returns how much is dropped together, so that the next batch does not have to free space again.
const fn eviction_step(max_bytes: u64) -> u64 {
    max_bytes / 64
}

/// Drops the batches received before the cut-off.
pub(super) fn drop_expired(
    transaction: &Transaction<'_>,
    watermarks: &mut Watermarks,
    outcome: &mut Outcome,
    cutoff_ms: i64,
) -> rusqlite::Result<()> {
    if watermarks.oldest_ms.is_none_or(|oldest| oldest >= cutoff_ms) {
        return Ok(());
    }
    let first_kept: Option<i64> = transaction
        .prepare_cached("SELECT id FROM batch WHERE id > ? AND received_ms >= ? ORDER BY id LIMIT 1")?
        .query_map([watermarks.acknowledged(), cutoff_ms], |row| row.get(0))?
        .next()
        .transpose()?;
    let until = first_kept.map_or(watermarks.last_id, |id| id - 1);
    drop_until(transaction, watermarks, outcome, until, "age")
}

/// Drops the batches up to this id: moves every cursor beyond them and records the items that each sink did not get.
fn drop_until(
    transaction: &Transaction<'_>,
    watermarks: &mut Watermarks,
    outcome: &mut Outcome,
    until: i64,
    reason: &'static str,
) -> rusqlite::Result<()> {
    for (sink, cursor) in watermarks.cursors.iter().enumerate() {
        if *cursor < until {
            let items = items_between(transaction, *cursor, until)?;
            outcome.dropped.push(Dropped { sink, reason, items });
        }
    }
    for cursor in &mut watermarks.cursors {
        *cursor = until.max(*cursor);
    }
    transaction.prepare_cached("UPDATE cursor SET position = max(position, ?)")?.execute([until])?;
    watermarks.update(transaction)
}

/// Counts and logs items dropped for a sink.
pub(super) fn count_dropped(metrics: &Metrics, sink: &str, reason: &'static str, items: Items) {
    if items.is_empty() {
        return;
    }
    let tally = metrics.dropped(sink, reason);
    tally.add(items);
    log::error(
        "spans dropped",
        &[
            ("sink", Value::Str(sink)),
            ("reason", Value::Str(reason)),
            ("spans", Value::U64(items.spans)),
            ("log_records", Value::U64(items.log_records)),
            ("spans_total", Value::U64(tally.spans.get())),
            ("log_records_total", Value::U64(tally.log_records.get())),
        ],
    );
}
