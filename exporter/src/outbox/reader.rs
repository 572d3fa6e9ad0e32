//! Reading the outbox for one sink, in order, beginning after the sink's cursor.

use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use rusqlite::{Connection, params};
use tokio::sync::{oneshot, watch};

use super::Outbox;
use super::batch::{Batch, BatchContent, Subscription};
use super::command::{Command, Settled};
use super::compression::decompress;
use super::file::File;
use super::verdict::Verdicts;
use crate::storage::sqlite;

/// A reader of the batches that one sink has not acknowledged yet.
pub(crate) struct Reader {
    outbox: Outbox,
    sink: usize,
    subscription: Subscription,
    file: File,
    /// The id of the last batch that the sink can get: that is committed, and decided if the sink has rules.
    available: watch::Receiver<i64>,
    /// The id of the last batch that was read.
    position: i64,
}

/// A read ends with the batch that reaches one of these limits.
const READ_BYTES: usize = 1 << 20;
const READ_BATCHES: usize = 256;

/// The timeout for a cursor: the writer publishes the cursors right after each commit.
const CURSOR_TIMEOUT: Duration = Duration::from_secs(1);

impl Reader {
    pub(super) fn open(outbox: Outbox, sink: usize) -> anyhow::Result<Self> {
        let file = File::open(&outbox.state)?;
        let subscription = outbox.state.subscriptions.get(sink).cloned().context("no such sink")?;
        let last = if subscription.has_rules { &outbox.state.decided } else { &outbox.state.committed };
        let available = last.subscribe();
        Ok(Self { outbox, sink, subscription, file, available, position: 0 })
    }

    /// Returns the sink's cursor.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor::new(self.outbox.clone(), self.sink, self.subscription.clone())
    }

    /// Returns the next batches, at least one. Waits if there is none.
    pub(crate) async fn next(&mut self) -> Result<Vec<Batch>, String> {
        loop {
            let after = self.cursor().position().max(self.position);
            // Cannot fail: `self.outbox` holds the sender.
            let available = self.available.wait_for(|last| *last > after).await;
            let until = available.map_or(i64::MAX, |last| *last);
            let connection = self.file.connection().map_err(|error| error.to_string())?.clone();
            let subscription = self.subscription.clone();
            let read = tokio::task::spawn_blocking(move || {
                let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                read_batches(&connection, after, until, &subscription)
            });
            let batches = match read.await.map_err(|error| error.to_string())? {
                Ok(batches) => batches,
                Err(error) => {
                    if sqlite::is_corrupt(&error) {
                        // The writer checks the file itself. A closed outbox has no writer.
                        let _ = self.outbox.commands.send(Command::CheckFile).await;
                    }
                    return Err(error.to_string());
                }
            };
            if let Some(last) = batches.last() {
                self.position = last.id;
                return Ok(batches);
            }
            // The writer has dropped the batches since the cursor was read above. It commits that before it publishes
            // the cursor.
            let mut cursors = self.outbox.state.cursors.subscribe();
            let sink = self.sink;
            let moved = cursors.wait_for(|cursors| cursors.get(sink).is_none_or(|now| *now > after));
            if tokio::time::timeout(CURSOR_TIMEOUT, moved).await.is_err() {
                return Err(format!("batches after {after} are missing"));
            }
        }
    }
}

/// Reads the next batches in this range of ids, with the verdicts for a sink with rules.
pub(super) fn read_batches(
    connection: &Connection,
    after: i64,
    until: i64,
    subscription: &Subscription,
) -> rusqlite::Result<Vec<Batch>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, received_ms, signal, items, unpacked_len, body,
             (SELECT verdicts FROM verdict WHERE batch = id AND sink = ?4)
         FROM batch WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
    )?;
    let mut rows = statement.query(params![after, until, READ_BATCHES as i64, subscription.sink])?;
    let mut batches = Vec::new();
    let mut bytes = 0;
    while bytes < READ_BYTES
        && let Some(row) = rows.next()?
    {
        let content = row.get(2)?;
        let is_taken = subscription.signals.take(content);
        let body = if is_taken { decompress(row.get(5)?, row.get(4)?) } else { Bytes::new() };
        bytes += body.len();
        // A sink that has no rules any more can have verdicts of earlier.
        let verdicts = row.get::<_, Option<Vec<u8>>>(6)?.filter(|_| subscription.has_rules);
        batches.push(Batch {
            id: row.get(0)?,
            received_ms: row.get(1)?,
            content,
            items: row.get(3)?,
            body,
            verdicts: verdicts.map(Verdicts::from_bytes),
        });
    }
    Ok(batches)
}

/// The cursor of one sink.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    outbox: Outbox,
    sink: usize,
    subscription: Subscription,
}

impl Cursor {
    pub(super) fn new(outbox: Outbox, sink: usize, subscription: Subscription) -> Self {
        Self { outbox, sink, subscription }
    }

    /// Returns whether the sink takes batches with this content. It acknowledges others without a delivery.
    pub(crate) fn takes(&self, content: BatchContent) -> bool {
        self.subscription.signals.take(content)
    }

    /// Returns the id of the last batch that the sink has acknowledged.
    pub(crate) fn position(&self) -> i64 {
        self.outbox.state.cursors.borrow().get(self.sink).copied().unwrap_or(0)
    }

    /// Acknowledges the batches up to this id, and counts their items.
    ///
    /// Items that the outbox has dropped during the delivery are counted as dropped, and not counted here.
    pub(crate) async fn advance(&self, to: i64, settled: Vec<Settled>) -> Result<(), String> {
        let closed = |_| "the outbox is closed".to_owned();
        let (reply, done) = oneshot::channel();
        let command = Command::Advance { sink: self.sink, to, settled, reply };
        self.outbox.commands.send(command).await.map_err(|_| closed(()))?;
        done.await.map_err(|_| closed(()))?
    }
}
