//! Reading the outbox for one sink, in order, from where the sink's cursor stands.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use rusqlite::{Connection, params};
use tokio::sync::{oneshot, watch};

use super::Outbox;
use super::batch::{Batch, Subscription};
use super::command::{Command, Settled};
use super::compression::unpack;
use crate::otlp::Signal;
use crate::storage::sqlite;

/// The batches that one sink has not passed yet.
pub(crate) struct Reader {
    outbox: Outbox,
    sink: usize,
    subscription: Subscription,
    reader: Arc<Mutex<Connection>>,
    committed: watch::Receiver<i64>,
    /// Which file the reader reads.
    file: watch::Receiver<u64>,
    /// The id of the last batch that has been read.
    position: i64,
}

/// A read ends with the batch that reaches one of these.
const READ_BYTES: usize = 1 << 20;
const READ_BATCHES: usize = 256;

/// The writer shows a cursor at once after its commit.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

impl Reader {
    pub(super) fn open(outbox: Outbox, sink: usize) -> anyhow::Result<Self> {
        let reader = Arc::new(Mutex::new(sqlite::open_reader(&outbox.state.path)?));
        let committed = outbox.state.committed.subscribe();
        let file = outbox.state.file.subscribe();
        let subscription = outbox.state.subscriptions.get(sink).cloned().context("no such sink")?;
        Ok(Self { outbox, sink, subscription, reader, committed, file, position: 0 })
    }

    /// The sink's cursor.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor::new(self.outbox.clone(), self.sink, self.subscription.clone())
    }

    /// The batches after those that were read before, at least one; waits until there are some.
    pub(crate) async fn next(&mut self) -> Result<Vec<Batch>, String> {
        loop {
            let after = self.cursor().position().max(self.position);
            // Fails only when the outbox is gone, and this holds it.
            let _ = self.committed.wait_for(|last| *last > after).await;
            if self.file.has_changed().unwrap_or(false) {
                // A file that is put in the place of this one while it is opened counts as a change still.
                let mut file = self.file.clone();
                file.mark_unchanged();
                let reader =
                    sqlite::open_reader(&self.outbox.state.path).map_err(|error| error.to_string())?;
                self.reader = Arc::new(Mutex::new(reader));
                self.file = file;
            }
            let (reader, subscription) = (self.reader.clone(), self.subscription.clone());
            let read = tokio::task::spawn_blocking(move || {
                read(&reader.lock().unwrap_or_else(PoisonError::into_inner), after, &subscription)
            });
            let batches = match read.await.map_err(|error| error.to_string())? {
                Ok(batches) => batches,
                Err(error) => {
                    if sqlite::is_corrupt(&error) {
                        // The writer looks for itself; a closed outbox has nobody to tell.
                        let _ = self.outbox.commands.send(Command::Examine).await;
                    }
                    return Err(error.to_string());
                }
            };
            if let Some(last) = batches.last() {
                self.position = last.id;
                return Ok(batches);
            }
            // What was there has been given up between the look at the cursor and the read; the writer commits that
            // before it shows the cursor.
            let mut cursors = self.outbox.state.cursors.subscribe();
            let sink = self.sink;
            let moved = cursors.wait_for(|cursors| cursors.get(sink).is_none_or(|now| *now > after));
            if tokio::time::timeout(SHOWN_WITHIN, moved).await.is_err() {
                return Err(format!("batches after {after} are missing"));
            }
        }
    }
}

fn read(connection: &Connection, after: i64, subscription: &Subscription) -> rusqlite::Result<Vec<Batch>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, signal, items, unpacked_len, body FROM batch WHERE id > ? ORDER BY id LIMIT ?",
    )?;
    let mut rows = statement.query(params![after, READ_BATCHES as i64])?;
    let mut batches = Vec::new();
    let mut bytes = 0;
    while bytes < READ_BYTES
        && let Some(row) = rows.next()?
    {
        let signal = row.get(1)?;
        let body = if subscription.takes(signal) { unpack(row.get(4)?, row.get(3)?) } else { Bytes::new() };
        bytes += body.len();
        batches.push(Batch { id: row.get(0)?, signal, items: row.get(2)?, body });
    }
    Ok(batches)
}

/// The cursor of one sink, to be moved on as the sink gets ahead.
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

    /// Whether the sink takes batches of this signal; others it passes over.
    pub(crate) fn takes(&self, signal: Signal) -> bool {
        self.subscription.takes(signal)
    }

    /// The id of the last batch that the sink has passed.
    pub(crate) fn position(&self) -> i64 {
        self.outbox.state.cursors.borrow().get(self.sink).copied().unwrap_or(0)
    }

    /// Notes that the sink has passed the batches up to this id, and counts what has become of them.
    ///
    /// What the outbox has given up in the meantime is counted as that, and not here.
    pub(crate) async fn advance(&self, to: i64, passed: Vec<Settled>) -> Result<(), String> {
        let closed = |_| "the outbox is closed".to_owned();
        let (reply, done) = oneshot::channel();
        let command = Command::Advance { sink: self.sink, to, passed, reply };
        self.outbox.commands.send(command).await.map_err(|_| closed(()))?;
        done.await.map_err(|_| closed(()))?
    }
}
