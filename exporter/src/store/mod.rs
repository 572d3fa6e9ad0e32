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
//! Invariant: a span is stored once, however often it is delivered, because its key is trace id and span id.
//! Invariant: a log line of a file is stored once, because the read position is committed with it.
//! Invariant: a log record is stored once: a record that equals a stored one of its trace in every field, including the
//! time in nanoseconds, is a duplicate.

mod eviction;
mod items;
mod log_records;
mod origins;
mod positions;
mod query;
mod retention;
mod schema;
mod summary;
mod write;

#[cfg(test)]
mod growth;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod whole;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rusqlite::{Connection, TransactionBehavior};

use crate::clock::unix_millis;
use crate::metrics::{Metrics, ReasonLabel};
use crate::otlp::Signal;
use crate::storage::{DataDir, DiskReserve, OpenFiles, quarantine, reattach, sqlite};
use eviction::ShrinkBackoff;
use items::{Group, Item};
use origins::Origins;

pub(crate) use log_records::line as convert_record;
pub(crate) use positions::{ReadPosition, ReadPositions};
pub(crate) use query::{
    EmitterRow, LineContent, LineKey, LineMark, LineRow, ListKey, ServiceNames, Snapshot, SpanKey, SpanNode,
    SpanRow, TraceSeq, TraceSummary,
};
pub(crate) use retention::Retention;
pub(crate) use write::{LogLine, WriteError};

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
    files: OpenFiles,
    origins: Origins,
    shrink_backoff: ShrinkBackoff,
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
        let writer = Mutex::new(StoreWriter {
            connection,
            files,
            origins: Origins::default(),
            shrink_backoff: ShrinkBackoff::new(),
        });
        let (data_dir, readers) = (dir.clone(), Mutex::default());
        let store = Self(Arc::new(Inner { data_dir, path, writer, readers, reserve, metrics }));
        store.allocate_wal(&store.writer());
        Ok(store)
    }

    /// Stores the items of these requests of one signal. After an error, some may be stored.
    pub(crate) fn append(&self, signal: Signal, bodies: &[Bytes]) -> Result<(), WriteError> {
        let mut without_trace = 0;
        let mut group = Group::default();
        for (index, body) in bodies.iter().enumerate() {
            let decoded = items::decode(signal, index, body)?;
            without_trace += decoded.without_trace;
            for item in decoded.items {
                group.push(item);
                if group.bytes >= self.max_transaction_bytes() {
                    self.append_items(&std::mem::take(&mut group).items)?;
                }
            }
        }
        self.append_items(&group.items)?;
        // Not before the chunk is stored, because it is delivered again after an error.
        let label = ReasonLabel { reason: "no trace" };
        self.0.metrics.log_lines_skipped.get_or_create(&label).inc_by(without_trace);
        Ok(())
    }

    /// Stores these items in one transaction, or in smaller ones if a full disk has no space for it.
    fn append_items(&self, items: &[Item]) -> Result<(), WriteError> {
        if items.is_empty() {
            return Ok(());
        }
        let previous = [None].into_iter().chain(items.iter().map(Some));
        let bytes = items.iter().zip(previous).map(|(item, previous)| item.stored_bytes(previous)).sum();
        let result = self.write(bytes, |StoreWriter { connection, origins, .. }| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = write::insert_items(&transaction, origins, items, unix_millis())
                .and_then(|()| transaction.commit());
            if result.is_err() {
                // The rollback may have removed the rows of these ids.
                origins.clear();
            }
            result
        });
        match result {
            Err(_) if items.len() > 1 && self.0.reserve.is_full() => {
                let (first, second) = items.split_at(items.len() / 2);
                self.append_items(first)?;
                self.append_items(second)
            }
            result => result,
        }
    }

    /// A transaction has to fit into the WAL that [`Self::allocate_wal`] has allocated.
    fn max_transaction_bytes(&self) -> usize {
        usize::try_from(self.0.reserve.share_bytes() / 2).unwrap_or(usize::MAX)
    }

    /// Returns the maximum size of one write. On a full disk, a write has to fit into a share of the reserve.
    pub(crate) fn max_write_bytes(&self) -> usize {
        usize::try_from(self.0.reserve.share_bytes() / 4).unwrap_or(usize::MAX)
    }

    /// Stores log lines, and the positions up to which their files have been read.
    pub(crate) fn append_lines(
        &self,
        lines: &[LogLine],
        positions: &[ReadPositions],
    ) -> Result<(), WriteError> {
        let bytes = lines.iter().map(|line| line.line.len() + line.message.len()).sum();
        self.write(bytes, |writer| {
            let transaction = writer.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            write::insert_lines(&transaction, lines, unix_millis())?;
            for positions in positions {
                positions::save(&transaction, positions)?;
            }
            transaction.commit()
        })
    }

    /// Writes about `bytes` bytes. On a full disk, the oldest traces are evicted first.
    fn write(
        &self,
        bytes: usize,
        write: impl Fn(&mut StoreWriter) -> rusqlite::Result<()>,
    ) -> Result<(), WriteError> {
        let mut writer = self.writer();
        self.reattach_if_detached(&mut writer).map_err(WriteError::Detached)?;
        let result = self.write_or_evict(&mut writer, bytes, write);
        result.map_err(|error| WriteError::Database(self.0.reserve.reason(&error)))
    }

    fn write_or_evict(
        &self,
        writer: &mut StoreWriter,
        bytes: usize,
        write: impl Fn(&mut StoreWriter) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        if !self.0.reserve.is_full() {
            writer.shrink_backoff.reset();
            match write(writer) {
                Err(error) if self.0.reserve.release_if_disk_full(&error, schema::KIND.name) => {}
                other => return other,
            }
        }
        // The indexes need space, too.
        self.evict_until_free(writer, 2 * bytes as u64 + self.0.reserve.share_bytes() / 4)?;
        let result = write(writer);
        // Frees space for the next writes. The result of this write does not depend on it.
        self.shrink(writer, 2 * self.0.reserve.share_bytes());
        result
    }

    /// Returns the positions up to which this file and its rotated files have been read.
    pub(crate) fn positions(&self, file: &str) -> rusqlite::Result<Vec<ReadPosition>> {
        positions::load(&self.writer().connection, file)
    }

    /// Reads one state of the store. Nobody can wait for a client meanwhile.
    pub(crate) fn snapshot<T>(
        &self,
        read: impl FnOnce(&Snapshot<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.read(|connection| read(&Snapshot::new(connection)?))
    }

    /// Evicts the oldest traces until the store is within this retention, and on a full disk until there is space for
    /// the reserve.
    pub(crate) fn evict(&self, retention: &Retention, now_ms: i64) -> rusqlite::Result<()> {
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
        let StoreWriter { connection, files, origins, .. } = &mut *writer;
        reattach::reattach(connection, files, &self.0.path, &schema::KIND, &reason)?;
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
