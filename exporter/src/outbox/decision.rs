//! The decisions of tail sampling ([`crate::keep`]): stored before a sink gets the batches, read again after a restart.

use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tokio::sync::oneshot;

use super::Outbox;
use super::batch::{Batch, Signals, Subscription};
use super::command::{Command, Decisions};
use super::file::File;
use super::observation::{Observe, ObservedBatch};
use super::reader::read_batches;
use crate::otlp::Signal;
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
        // The same batches are decided again if their verdicts were lost with a damaged file.
        transaction
            .prepare_cached(
                "INSERT INTO decided(batch, policy, at_ms, traces) VALUES (?, ?, ?, ?)
                 ON CONFLICT DO UPDATE SET traces = CAST(traces || excluded.traces AS BLOB)",
            )?
            .execute(params![
                decisions.until,
                decisions.policy.cast_signed(),
                decisions.now_ms,
                decisions.traces
            ])?;
    }
    transaction.prepare_cached("DELETE FROM decided WHERE batch <= ?")?.execute([decisions.forget_until])?;
    Ok(())
}

/// Reads the batches for the decisions, and stores these.
pub(crate) struct DecisionLog {
    outbox: Outbox,
    observer: Arc<dyn Observe>,
    file: File,
}

/// The traces that were decided together, as they were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecidedTraces<'a> {
    /// The last batch that was decided with them.
    pub(crate) batch: i64,
    pub(crate) at_ms: i64,
    pub(crate) traces: &'a [u8],
}

impl DecisionLog {
    pub(super) fn open(outbox: Outbox, observer: Arc<dyn Observe>) -> anyhow::Result<Self> {
        let file = File::open(&outbox.state)?;
        Ok(Self { outbox, observer, file })
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

    /// Reads the next batches in this range of ids, and the bodies of these signals. Blocks.
    pub(crate) fn read(&mut self, after: i64, until: i64, signals: Signals) -> anyhow::Result<Vec<Batch>> {
        // A new file is incomplete while the writer recovers batches: nothing of it is committed before.
        let until = until.min(self.committed());
        let subscription = Subscription { sink: String::new(), signals, has_rules: false };
        self.with_file(|connection| read_batches(connection, after, until, &subscription))
    }

    /// Returns what was observed of the next batches after this one. Those of an earlier process, and those whose
    /// observations found no room, are read. Blocks.
    pub(crate) fn observed_after(&mut self, id: i64) -> anyhow::Result<Vec<ObservedBatch>> {
        let first = self.outbox.state.observations.discard_until(id);
        let until = first.map_or_else(|| self.committed(), |first| first - 1);
        if id < until {
            let batches = self.read(id, until, Signals::TRACES)?;
            // Observations are added before their batches are published.
            if !batches.is_empty() || self.committed() < until {
                return Ok(batches.iter().map(|batch| self.observe(batch)).collect());
            }
        }
        Ok(self.outbox.state.observations.take(self.committed()))
    }

    fn observe(&self, batch: &Batch) -> ObservedBatch {
        let runs = match batch.signal() {
            Signal::Traces => self.observer.observe(&batch.body),
            Signal::Logs => Vec::new(),
        };
        ObservedBatch { id: batch.id, received_ms: batch.received_ms, runs }
    }

    /// Returns the last of the next batches after this one that were received until then, or in the future. Blocks.
    pub(crate) fn last_received_until(
        &mut self,
        after: i64,
        received_ms: i64,
        future_ms: i64,
    ) -> anyhow::Result<Option<i64>> {
        let until = self.committed();
        self.with_file(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, received_ms FROM batch WHERE id > ? AND id <= ? ORDER BY id LIMIT 256",
            )?;
            let mut rows = statement.query([after, until])?;
            let mut last = None;
            while let Some(row) = rows.next()? {
                let of_batch: i64 = row.get(1)?;
                if of_batch > received_ms && of_batch < future_ms {
                    break;
                }
                last = Some(row.get(0)?);
            }
            Ok(last)
        })
    }

    /// Returns the first batch after this one: its id, and when it was received, in milliseconds since 1970. Blocks.
    pub(crate) fn first_after(&mut self, id: i64) -> anyhow::Result<Option<(i64, i64)>> {
        let until = self.committed();
        self.with_file(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, received_ms FROM batch WHERE id > ? AND id <= ? ORDER BY id LIMIT 1",
                )?
                .query_row([id, until], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
    }

    /// Calls `each` with the traces that were decided with these rules, the oldest first. Blocks.
    pub(crate) fn decided_traces(
        &mut self,
        policy: u64,
        mut each: impl FnMut(DecidedTraces<'_>),
    ) -> anyhow::Result<()> {
        self.with_file(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT batch, at_ms, traces FROM decided WHERE policy = ? ORDER BY batch")?;
            let mut rows = statement.query([policy.cast_signed()])?;
            while let Some(row) = rows.next()? {
                let traces = row.get_ref(2)?.as_blob()?;
                each(DecidedTraces { batch: row.get(0)?, at_ms: row.get(1)?, traces });
            }
            Ok(())
        })
    }

    /// Stores decisions. The sinks with rules get the batches after that.
    pub(crate) async fn store(&self, decisions: Arc<Decisions>) -> Result<(), String> {
        let closed = || "the outbox is closed".to_owned();
        let (reply, done) = oneshot::channel();
        let command = Command::Decide { decisions, reply };
        self.outbox.commands.send(command).await.map_err(|_| closed())?;
        done.await.map_err(|_| closed())?
    }

    /// Reads from the file at the path. If it is corrupt, the writer checks it.
    fn with_file<T>(&mut self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> anyhow::Result<T> {
        let result = read(&self.file.connection()?.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = &result
            && sqlite::is_corrupt(error)
        {
            // With a full queue, the next error asks again. A closed outbox has no writer.
            let _ = self.outbox.commands.try_send(Command::CheckFile);
        }
        Ok(result?)
    }
}
