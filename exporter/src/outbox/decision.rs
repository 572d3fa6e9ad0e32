//! The decisions of tail sampling ([`crate::keep`]): stored before a sink gets the batches, read again after a restart.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tokio::sync::{oneshot, watch};

use super::Outbox;
use super::batch::{Batch, Subscription};
use super::command::{Command, Decisions};
use super::reader::read_batches;
use crate::storage::sqlite;

/// Stores the verdicts. Those of an earlier process stay.
pub(super) fn store(
    transaction: &Transaction<'_>,
    subscriptions: &[Subscription],
    decisions: &Decisions,
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO verdict VALUES (?, ?, ?)")?;
    for (batch, sink, verdicts) in &decisions.verdicts {
        if let Some(subscription) = subscriptions.get(*sink) {
            insert.execute(params![batch, subscription.sink, verdicts.as_bytes()])?;
        }
    }
    if !decisions.traces.is_empty() {
        transaction.prepare_cached("INSERT OR IGNORE INTO decided VALUES (?, ?, ?, ?)")?.execute(params![
            decisions.until,
            decisions.now_ms,
            decisions.policy.cast_signed(),
            decisions.traces
        ])?;
    }
    // The oldest rows come first, and a step of the clock back only delays the deletion.
    let oldest_kept: Option<i64> = transaction
        .prepare_cached("SELECT batch FROM decided WHERE at_ms >= ? ORDER BY batch LIMIT 1")?
        .query_row([decisions.forget_before_ms], |row| row.get(0))
        .optional()?;
    let until = oldest_kept.map_or(decisions.until, |batch| batch - 1);
    transaction.prepare_cached("DELETE FROM decided WHERE batch <= ?")?.execute([until])?;
    Ok(())
}

/// Reads the batches for the decisions, and stores these.
pub(crate) struct DecisionLog {
    outbox: Outbox,
    connection: Arc<Mutex<Connection>>,
    /// Changes when the file is replaced.
    replacements: watch::Receiver<u64>,
}

/// The traces that were decided together, as they were stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecidedTraces {
    pub(crate) at_ms: i64,
    pub(crate) traces: Vec<u8>,
}

impl DecisionLog {
    pub(super) fn open(outbox: Outbox) -> anyhow::Result<Self> {
        let connection = Arc::new(Mutex::new(sqlite::open_reader(&outbox.state.path)?));
        let replacements = outbox.state.replacements.subscribe();
        Ok(Self { outbox, connection, replacements })
    }

    /// Returns the id of the last batch that is decided.
    pub(crate) fn decided(&self) -> i64 {
        *self.outbox.state.decided.borrow()
    }

    /// Returns the id of the last batch in the outbox.
    pub(crate) fn committed(&self) -> i64 {
        *self.outbox.state.committed.borrow()
    }

    /// Waits until the outbox has a batch after this one.
    pub(crate) async fn wait_after(&self, id: i64) {
        // Cannot fail: `self.outbox` holds the sender.
        let _ = self.outbox.state.committed.subscribe().wait_for(|last| *last > id).await;
    }

    /// Reads the next batches after this one; none if there is none. Blocks.
    pub(crate) fn read(&mut self, after: i64) -> anyhow::Result<Vec<Batch>> {
        self.reopen_if_replaced()?;
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(read_batches(&connection, after, i64::MAX, &ALL)?)
    }

    /// Returns when the first batch after this one was received, in milliseconds since 1970. Blocks.
    pub(crate) fn received_after(&mut self, id: i64) -> anyhow::Result<Option<i64>> {
        self.reopen_if_replaced()?;
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let received = connection
            .prepare_cached("SELECT received_ms FROM batch WHERE id > ? ORDER BY id LIMIT 1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        Ok(received)
    }

    /// Reads the traces that were decided with these rules, the oldest first. Blocks.
    pub(crate) fn decided_traces(&mut self, policy: u64) -> anyhow::Result<VecDeque<DecidedTraces>> {
        self.reopen_if_replaced()?;
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement =
            connection.prepare_cached("SELECT at_ms, traces FROM decided WHERE policy = ? ORDER BY batch")?;
        let rows = statement.query_map([policy.cast_signed()], |row| {
            Ok(DecidedTraces { at_ms: row.get(0)?, traces: row.get(1)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Stores decisions. The sinks with rules get the batches after that.
    pub(crate) async fn store(&self, decisions: Arc<Decisions>) -> Result<(), String> {
        let closed = || "the outbox is closed".to_owned();
        let (reply, done) = oneshot::channel();
        let command = Command::Decide { decisions, reply };
        self.outbox.commands.send(command).await.map_err(|_| closed())?;
        done.await.map_err(|_| closed())?
    }

    fn reopen_if_replaced(&mut self) -> anyhow::Result<()> {
        if self.replacements.has_changed().unwrap_or(false) {
            // Marked before the file is opened, so that a replacement during the open counts as a new change.
            self.replacements.mark_unchanged();
            self.connection = Arc::new(Mutex::new(sqlite::open_reader(&self.outbox.state.path)?));
        }
        Ok(())
    }
}

/// Only spans are decided.
const ALL: Subscription = Subscription { sink: String::new(), takes_logs: false, has_rules: false };
