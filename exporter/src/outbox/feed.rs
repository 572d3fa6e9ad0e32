//! Reading the outbox for one sink, in order, from where the sink's cursor stands.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use rusqlite::{Connection, params};
use tokio::sync::{oneshot, watch};

use super::Outbox;
use super::batch::{Batch, Signal, Subscription};
use super::writer::Command;
use crate::metrics::Tally;
use crate::sqlite;

/// The batches that one sink has not passed yet.
pub(crate) struct Feed {
    outbox: Outbox,
    sink: usize,
    subscription: Subscription,
    reader: Arc<Mutex<Connection>>,
    committed: watch::Receiver<i64>,
}

/// A read ends with the batch that reaches one of these.
const READ_BYTES: usize = 4 << 20;
const READ_BATCHES: usize = 256;

/// The writer shows a cursor at once after its commit.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

impl Feed {
    pub(super) fn open(outbox: Outbox, sink: usize) -> anyhow::Result<Self> {
        let reader = Arc::new(Mutex::new(sqlite::open_reader(&outbox.state.path)?));
        let committed = outbox.state.committed.subscribe();
        let subscription = outbox.state.subscriptions.get(sink).cloned().context("no such sink")?;
        Ok(Self { outbox, sink, subscription, reader, committed })
    }

    /// Whether the sink takes batches of this signal; others it passes over.
    pub(crate) fn takes(&self, signal: Signal) -> bool {
        self.subscription.takes(signal)
    }

    /// The next batches, at least one; waits until there are some.
    pub(crate) async fn next(&mut self) -> Result<Vec<Batch>, String> {
        loop {
            let cursor = self.cursor();
            // Fails only when the outbox is gone, and this holds it.
            let _ = self.committed.wait_for(|last| *last > cursor).await;
            let (reader, subscription) = (self.reader.clone(), self.subscription.clone());
            let read = tokio::task::spawn_blocking(move || {
                read(&reader.lock().unwrap_or_else(PoisonError::into_inner), cursor, &subscription)
            });
            let batches =
                read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            if !batches.is_empty() {
                return Ok(batches);
            }
            // What was there has been given up between the look at the cursor and the read; the writer commits that
            // before it shows the cursor.
            let mut cursors = self.outbox.state.cursors.subscribe();
            let sink = self.sink;
            let moved = cursors.wait_for(|cursors| cursors.get(sink).is_none_or(|now| *now != cursor));
            if tokio::time::timeout(SHOWN_WITHIN, moved).await.is_err() {
                return Err(format!("batches after {cursor} are missing"));
            }
        }
    }

    /// Notes that the sink has passed these batches, and counts what is in them and the sink takes.
    ///
    /// What has been given up in the meantime is counted as that, and not here.
    pub(crate) async fn pass(&self, batches: &[Batch], tally: &Tally) -> Result<(), String> {
        let Some(last) = batches.last() else { return Ok(()) };
        let taken = batches.iter().filter(|batch| self.takes(batch.signal));
        let items = taken.map(|batch| (batch.id, batch.signal, u64::from(batch.items))).collect();
        self.send(last.id, items, tally).await
    }

    /// Notes that the sink has passed the batches up to this id.
    #[cfg(test)]
    pub(crate) async fn advance(&self, to: i64) -> Result<(), String> {
        self.send(to, Vec::new(), &Tally::default()).await
    }

    async fn send(&self, to: i64, items: Vec<(i64, Signal, u64)>, tally: &Tally) -> Result<(), String> {
        let closed = |_| "the outbox is closed".to_owned();
        let (reply, done) = oneshot::channel();
        let command = Command::Advance { sink: self.sink, to, items, tally: tally.clone(), reply };
        self.outbox.commands.send(command).await.map_err(|_| closed(()))?;
        done.await.map_err(|_| closed(()))?
    }

    fn cursor(&self) -> i64 {
        self.outbox.state.cursors.borrow().get(self.sink).copied().unwrap_or(0)
    }
}

fn read(connection: &Connection, after: i64, subscription: &Subscription) -> rusqlite::Result<Vec<Batch>> {
    let mut statement = connection
        .prepare_cached("SELECT id, signal, items, body FROM batch WHERE id > ? ORDER BY id LIMIT ?")?;
    let mut rows = statement.query(params![after, READ_BATCHES as i64])?;
    let mut batches = Vec::new();
    let mut bytes = 0;
    while bytes < READ_BYTES
        && let Some(row) = rows.next()?
    {
        let signal = row.get(1)?;
        let body = if subscription.takes(signal) { row.get(3)? } else { Vec::new() };
        bytes += body.len();
        batches.push(Batch { id: row.get(0)?, signal, items: row.get(2)?, body: Bytes::from(body) });
    }
    Ok(batches)
}
