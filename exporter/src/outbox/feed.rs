//! Reading the outbox for one sink, in order, from where the sink's cursor stands.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rusqlite::{Connection, params};
use tokio::sync::{oneshot, watch};

use super::Outbox;
use super::writer::Command;
use crate::sqlite;

/// One request's spans, as committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) id: i64,
    pub(crate) spans: u32,
    /// `ExportTraceServiceRequest` as protobuf.
    pub(crate) body: Bytes,
}

/// The batches that one sink has not passed yet.
pub(crate) struct Feed {
    outbox: Outbox,
    sink: usize,
    reader: Arc<Mutex<Connection>>,
    committed: watch::Receiver<i64>,
}

/// A read ends with the batch that reaches one of these.
const READ_BYTES: usize = 4 << 20;
const READ_BATCHES: usize = 256;

impl Feed {
    pub(super) fn open(outbox: Outbox, sink: usize) -> anyhow::Result<Self> {
        let reader = Arc::new(Mutex::new(sqlite::open_reader(&outbox.state.path)?));
        let committed = outbox.state.committed.subscribe();
        Ok(Self { outbox, sink, reader, committed })
    }

    /// The next batches, at least one; waits until there are some.
    pub(crate) async fn next(&mut self) -> Result<Vec<Batch>, String> {
        loop {
            let cursor = self.cursor();
            // Fails only when the outbox is gone, and this holds it.
            let _ = self.committed.wait_for(|last| *last > cursor).await;
            let reader = self.reader.clone();
            let read = tokio::task::spawn_blocking(move || {
                read(&reader.lock().unwrap_or_else(PoisonError::into_inner), cursor)
            });
            let batches =
                read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            if !batches.is_empty() {
                return Ok(batches);
            }
            // What was there has been given up between the look at the cursor and the read.
            if self.cursor() == cursor {
                return Err(format!("batches after {cursor} are missing"));
            }
        }
    }

    /// Notes that the sink has passed the batches up to this id.
    pub(crate) async fn advance(&self, to: i64) -> Result<(), String> {
        let closed = |_| "the outbox is closed".to_owned();
        let (reply, done) = oneshot::channel();
        let command = Command::Advance { sink: self.sink, to, reply };
        self.outbox.commands.send(command).await.map_err(|_| closed(()))?;
        done.await.map_err(|_| closed(()))?
    }

    fn cursor(&self) -> i64 {
        self.outbox.state.cursors.borrow().get(self.sink).copied().unwrap_or(0)
    }
}

fn read(connection: &Connection, after: i64) -> rusqlite::Result<Vec<Batch>> {
    let mut statement =
        connection.prepare_cached("SELECT id, spans, body FROM batch WHERE id > ? ORDER BY id LIMIT ?")?;
    let mut rows = statement.query(params![after, READ_BATCHES as i64])?;
    let mut batches = Vec::new();
    let mut bytes = 0;
    while bytes < READ_BYTES
        && let Some(row) = rows.next()?
    {
        let body = Bytes::from(row.get::<_, Vec<u8>>(2)?);
        bytes += body.len();
        batches.push(Batch { id: row.get(0)?, spans: row.get(1)?, body });
    }
    Ok(batches)
}
