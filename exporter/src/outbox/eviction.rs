//! The bounds of the outbox by bytes and by age, and what is given up to keep them.

use rusqlite::Transaction;

use super::command::{Dropped, Outcome};
use super::watermarks::{Watermarks, items_between};
use crate::log::{self, Severity, Value};
use crate::metrics::Metrics;
use crate::otlp::Items;

/// Makes the batch fit, if need be by giving up the oldest batches for the sinks that lag behind another sink.
///
/// So a sink that is down neither holds up the others nor fills the disk; but what no sink has yet is never given
/// up for new spans: those are refused, and their sender knows.
pub(super) fn make_room(
    transaction: &Transaction<'_>,
    book: &mut Watermarks,
    outcome: &mut Outcome,
    needed: u64,
    max_bytes: u64,
) -> rusqlite::Result<bool> {
    let excess = (book.bytes + needed).saturating_sub(max_bytes);
    if excess == 0 {
        return Ok(true);
    }
    // Some more than needed, so that this is not done again for the next batch.
    let wanted = excess.max(max_bytes / 64);
    let farthest = book.cursors.iter().copied().max().unwrap_or(0);
    let mut freed = 0;
    let mut until = None;
    {
        let mut oldest = transaction
            .prepare_cached("SELECT id, length(body) FROM batch WHERE id > ? AND id <= ? ORDER BY id")?;
        let mut rows = oldest.query([book.passed(), farthest])?;
        while freed < wanted
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
        give_up(transaction, book, outcome, until, "outbox full")?;
    }
    Ok(true)
}

/// Gives up the batches that were received before the cut-off.
pub(super) fn expire(
    transaction: &Transaction<'_>,
    book: &mut Watermarks,
    outcome: &mut Outcome,
    cutoff_ms: i64,
) -> rusqlite::Result<()> {
    if book.oldest_ms.is_none_or(|oldest| oldest >= cutoff_ms) {
        return Ok(());
    }
    let first_kept: Option<i64> = transaction
        .prepare_cached("SELECT id FROM batch WHERE id > ? AND received_ms >= ? ORDER BY id LIMIT 1")?
        .query_map([book.passed(), cutoff_ms], |row| row.get(0))?
        .next()
        .transpose()?;
    let until = first_kept.map_or(book.last_id, |id| id - 1);
    give_up(transaction, book, outcome, until, "age")
}

/// Lets every sink pass the batches up to this id, and counts them for each that has not had them.
fn give_up(
    transaction: &Transaction<'_>,
    book: &mut Watermarks,
    outcome: &mut Outcome,
    until: i64,
    reason: &'static str,
) -> rusqlite::Result<()> {
    for (sink, cursor) in book.cursors.iter().enumerate() {
        if *cursor < until {
            let items = items_between(transaction, *cursor, until)?;
            outcome.dropped.push(Dropped { sink, reason, items });
        }
    }
    for cursor in &mut book.cursors {
        *cursor = until.max(*cursor);
    }
    transaction.prepare_cached("UPDATE cursor SET position = max(position, ?)")?.execute([until])?;
    book.follow(transaction)
}

pub(super) fn count_dropped(metrics: &Metrics, sink: &str, reason: &'static str, items: Items) {
    if items.is_empty() {
        return;
    }
    let tally = metrics.dropped(sink, reason);
    tally.add(items);
    log::repeated(
        Severity::Error,
        "spans given up",
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
