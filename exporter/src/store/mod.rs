//! The embedded store: spans and log lines in one SQLite file, for the viewer.
//!
//! ```text
//!  deliver ──► Store::append ──► items ─┬─► write ──► store.db ──► query ──► view
//!                                       │   origins      ▲         log_records: lines
//!  tail ──► Store::append_lines ────────┘                │
//!                                      retention ────────┘ evicts the oldest traces, by age and by size
//!                                      eviction            and when the disk is full
//! ```
//!
//! The rows of a trace are stored together. A trace gets an ascending number when it is first seen, and spans and
//! lines are clustered by it. Inserts therefore go to the end of the tables, and evictions delete from their beginning.
//!
//! Invariant: a row is at most a constant larger than the item that it stores. What many items share is stored once.
//! Invariant: a span is stored once, however often it is delivered, because its key is trace id and span id. Another
//! span with the same ids is not lost (`same_id`).
//! Invariant: a log line of a file is stored once, because the read position is committed with it.
//! Invariant: a log record is stored once: a record that equals a stored one of its trace in every field, including the
//! time in nanoseconds, is a duplicate.

mod allocation;
mod append;
mod eviction;
mod feed;
mod index;
mod items;
mod log_records;
mod origins;
mod positions;
mod query;
mod retention;
mod same_id;
mod schema;
mod service_name;
mod short_name;
mod span_summary;
mod summary;
mod write;

#[cfg(test)]
mod growth;
#[cfg(test)]
mod same_id_tests;
#[cfg(test)]
mod search_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod whole;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use rusqlite::Connection;

use crate::log::{self, Value};
use crate::metrics::Metrics;
use crate::storage::{DataDir, DiskReserve, OpenFiles, quarantine, reattach, sqlite};
use eviction::ShrinkBackoff;
use feed::{Feed, Written};
use origins::Origins;

pub(crate) use append::ID_IS_TAKEN;
pub(crate) use feed::{Change, Subscription};
pub(crate) use index::contains_text;
pub(crate) use log_records::line as convert_record;
pub(crate) use positions::{ReadPosition, ReadPositions};
pub(crate) use query::{
    EmitterRow, FoundLines, FoundTraces, LineContent, LineCursor, LineFilter, LineKey, LineOrigin, LineRow,
    LinesCursor, ListKey, Operation, ReadResult, Route, ServiceNames, Snapshot, Sort, SpanKey, Statistics,
    StatusFilter, Totals, TraceCursor, TraceDot, TraceFilter, TraceSeq, TraceSummary,
};
pub(crate) use retention::Retention;
pub(crate) use service_name::{is_service, service_name};
pub(crate) use write::{LogLine, WriteError, service_of_line};

/// The store. Clones share it, and its methods block.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: DataDir,
    path: PathBuf,
    writer: Mutex<StoreWriter>,
    readers: Mutex<Readers>,
    reserve: DiskReserve,
    metrics: Arc<Metrics>,
    feed: Feed,
}

/// The connections that only read.
#[derive(Debug, Default)]
struct Readers {
    idle: Vec<Connection>,
    /// The number of times that the file was replaced. Connections to an earlier file are closed.
    replacements: u64,
}

#[derive(Debug)]
struct StoreWriter {
    connection: Connection,
    /// The file of the connection, to allocate space.
    file: File,
    files: OpenFiles,
    origins: Origins,
    shrink_backoff: ShrinkBackoff,
    /// What the last transaction has stored, until it is published. `None` if nobody has subscribed.
    written: Option<Written>,
    /// The spans that the last transaction has dropped.
    dropped: u64,
}

/// Further idle connections are closed.
const MAX_IDLE_READERS: usize = 4;

impl Store {
    /// Opens `store.db` in this directory.
    pub(crate) fn open(dir: &DataDir, reserve: DiskReserve, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let path = dir.path().join("store.db");
        let connection = quarantine::open_or_replace(&path, &schema::KIND)?.skip_recovery()?;
        limit_wal(&connection, &reserve)?;
        let files = OpenFiles::of(&path, schema::KIND.access)?;
        let file = allocation::open(&path).with_context(|| path.display().to_string())?;
        let writer = Mutex::new(StoreWriter {
            connection,
            file,
            files,
            origins: Origins::default(),
            shrink_backoff: ShrinkBackoff::new(),
            written: None,
            dropped: 0,
        });
        let (data_dir, readers) = (dir.clone(), Mutex::default());
        let store =
            Self(Arc::new(Inner { data_dir, path, writer, readers, reserve, metrics, feed: Feed::new() }));
        store.allocate_wal(&store.writer());
        Ok(store)
    }

    /// Returns the positions up to which this file and its rotated files have been read.
    pub(crate) fn positions(&self, file: &str) -> rusqlite::Result<Vec<ReadPosition>> {
        positions::load(&self.writer().connection, file)
    }

    /// Subscribes to what is stored from now on.
    pub(crate) fn subscribe(&self) -> Subscription {
        self.0.feed.subscribe()
    }

    /// Reads one state of the store. Nobody can wait for a client meanwhile.
    pub(crate) fn snapshot<T>(&self, read: impl FnOnce(&Snapshot<'_>) -> ReadResult<T>) -> ReadResult<T> {
        self.read(|connection| read(&Snapshot::new(connection)?))
    }

    /// Evicts the oldest traces until the store is within this retention, and on a full disk until there is space for
    /// the reserve.
    pub(crate) fn evict(&self, retention: &Retention, now_ms: i64) -> rusqlite::Result<()> {
        self.checkpoint(&self.writer());
        if self.0.reserve.is_full() {
            self.shrink(&mut self.writer(), self.0.reserve.required_bytes());
        } else {
            let mut writer = self.writer();
            writer.shrink_backoff.reset();
            self.allocate_wal(&writer);
        }
        let max_bytes = self.0.reserve.share_bytes() / 2;
        loop {
            // Each step takes the lock again, so that writes do not wait for all steps.
            let mut writer = self.writer();
            let step = retention::step(&mut writer.connection, retention, now_ms, max_bytes).inspect_err(
                |error| {
                    self.0.reserve.release_if_disk_full(error, schema::KIND.name);
                },
            )?;
            self.0.metrics.store_bytes.set(i64::try_from(step.used_bytes).unwrap_or(i64::MAX));
            match step.evicted {
                None => break,
                Some(evicted) => {
                    writer.origins.clear();
                    evicted.report(&self.0.metrics);
                }
            }
        }
        self.return_free_pages()
    }

    /// Moves the WAL into the file. SQLite ignores the errors of its own checkpoints, so this one reports them.
    fn checkpoint(&self, writer: &StoreWriter) {
        if let Err(error) = sqlite::checkpoint(&writer.connection, false) {
            self.0.reserve.release_if_disk_full(&error, schema::KIND.name);
            let error = self.0.reserve.reason(&error);
            log::warn("failed to checkpoint the store", &[("error", Value::Str(&error))]);
        }
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let (reader, replacements) = {
            let mut readers = self.readers();
            (readers.idle.pop(), readers.replacements)
        };
        let reader = match reader {
            Some(reader) => reader,
            None => sqlite::open_reader(&self.0.path)?,
        };
        let result = query(&reader);
        let mut readers = self.readers();
        if readers.idle.len() < MAX_IDLE_READERS && readers.replacements == replacements {
            readers.idle.push(reader);
        }
        result
    }

    /// Replaces the file if it was removed or replaced by another program. Returns an error if that fails.
    pub(crate) fn check_path(&self) -> anyhow::Result<()> {
        self.reattach_if_detached(&mut self.writer())
    }

    fn reattach_if_detached(&self, writer: &mut StoreWriter) -> anyhow::Result<()> {
        let Some(reason) = writer.files.detached() else { return Ok(()) };
        self.0.data_dir.ensure_locked()?;
        let StoreWriter { connection, file, files, origins, .. } = &mut *writer;
        reattach::reattach(connection, files, &self.0.path, &schema::KIND, &reason)?;
        *file = allocation::open(&self.0.path).with_context(|| self.0.path.display().to_string())?;
        limit_wal(connection, &self.0.reserve)?;
        origins.clear();
        self.allocate_wal(writer);
        let mut readers = self.readers();
        readers.idle.clear();
        readers.replacements += 1;
        Ok(())
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.0.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, StoreWriter> {
        // A panic during a write drops its transaction, which rolls it back.
        self.0.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Limits the WAL to about half a share of the reserve. After a long transaction, it gets shorter again.
fn limit_wal(connection: &Connection, reserve: &DiskReserve) -> rusqlite::Result<()> {
    let pages = reserve.share_bytes() / 2 / u64::from(schema::KIND.page_size);
    connection.pragma_update(None, "wal_autocheckpoint", i64::try_from(pages).unwrap_or(i64::MAX))?;
    let limit = i64::try_from(reserve.share_bytes()).unwrap_or(i64::MAX);
    connection.pragma_update(None, "journal_size_limit", limit)
}
