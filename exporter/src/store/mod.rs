//! The embedded store: spans and log lines in one SQLite file, for the viewer of this machine.
//!
//! ```text
//!  deliver ──► Store::deliver ─► write ─┐       (records: log records become lines)
//!                                       ├──► store.db ──► query ──► view
//!  tail ──► Store::append_lines ────────┘        ▲
//!                                  retention ────┘ the oldest traces leave, by age and by size
//! ```
//!
//! Rows of a trace lie together: a trace gets a small ascending number when it is first seen, and spans and lines are
//! clustered by it. So inserts go to the end of the tables, and retention deletes from their beginning.
//!
//! Invariant: a span is stored once, whatever number of times it is delivered (the key is trace id and span id);
//! a log line of a file is stored once, because the position in its file is committed with it; a log record is stored
//! once, because one that equals a stored line of its trace in all that it says, to the nanosecond, is taken for the same.

mod disk_full;
mod log_records;
mod query;
mod retention;
mod schema;
mod summary;
mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rusqlite::{Connection, TransactionBehavior};

use crate::clock::unix_millis;
use crate::metrics::Metrics;
use crate::otlp::Signal;
use crate::storage::DiskReserve;
use crate::storage::{quarantine, sqlite};
use disk_full::Patience;
use write::{Origins, Source};

#[cfg(test)]
pub(crate) use query::Origin;
pub(crate) use query::{Bounds, StoredLine, StoredSpan, Trace, TraceSummary};
pub(crate) use retention::Retention;
pub(crate) use write::{LogLine, Position, WriteError};

/// The store; clones share it. Its methods block, so they are called where that is allowed.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writer: Mutex<StoreWriter>,
    /// Connections that nobody uses at the moment.
    readers: Mutex<Vec<Connection>>,
    reserve: DiskReserve,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct StoreWriter {
    connection: Connection,
    origins: Origins,
    patience: Patience,
}

/// An error that can come from a full disk.
trait DiskFullError {
    /// Releases the reserve if the disk is full; returns whether it is.
    fn release_if_disk_full(&self, reserve: &DiskReserve) -> bool;
}

impl DiskFullError for rusqlite::Error {
    fn release_if_disk_full(&self, reserve: &DiskReserve) -> bool {
        reserve.release_if_disk_full(self, schema::KIND.name)
    }
}

impl DiskFullError for WriteError {
    fn release_if_disk_full(&self, reserve: &DiskReserve) -> bool {
        matches!(self, Self::Database(error) if error.release_if_disk_full(reserve))
    }
}

/// More idle connections than this are closed.
const IDLE_READERS: usize = 4;

impl Store {
    /// Opens `store.db` in this directory.
    pub(crate) fn open(dir: &Path, reserve: DiskReserve, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let path = dir.join("store.db");
        let connection = quarantine::open_or_replace(&path, &schema::KIND)?.without_recovery()?;
        let pages = reserve.share_bytes() / 2 / u64::from(schema::KIND.page_size);
        connection.pragma_update(None, "wal_autocheckpoint", i64::try_from(pages).unwrap_or(i64::MAX))?;
        let writer = Mutex::new(StoreWriter {
            connection,
            origins: Origins::default(),
            patience: Patience::default(),
        });
        Ok(Self(Arc::new(Inner { path, writer, readers: Mutex::default(), reserve, metrics })))
    }

    /// Stores the items of these requests of one signal, all or none.
    pub(crate) fn append(&self, signal: Signal, bodies: &[Bytes]) -> Result<(), WriteError> {
        let bytes = bodies.iter().map(Bytes::len).sum();
        self.write(bytes, |StoreWriter { connection, origins, .. }| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let now_ms = unix_millis();
            let result = match signal {
                Signal::Traces => write::spans(&transaction, origins, bodies, now_ms),
                Signal::Logs => log_records::lines(bodies, &self.0.metrics)
                    .and_then(|lines| Ok(write::lines(&transaction, &lines, Source::Records, now_ms)?)),
            }
            .and_then(|()| Ok(transaction.commit()?));
            if result.is_err() {
                // They may name rows that were rolled back.
                origins.clear();
            }
            result
        })
    }

    /// Returns the number of bytes that one write can hold: on a full disk it has to fit in the share of the reserve.
    pub(crate) fn max_write_bytes(&self) -> usize {
        usize::try_from(self.0.reserve.share_bytes() / 4).unwrap_or(usize::MAX)
    }

    /// Stores log lines, and the position up to which their file has been read.
    pub(crate) fn append_lines(
        &self,
        lines: &[LogLine],
        position: Option<&Position>,
    ) -> rusqlite::Result<()> {
        let bytes = lines.iter().map(|line| line.line.len() + line.message.len()).sum();
        self.write(bytes, |writer| {
            let transaction = writer.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            write::lines(&transaction, lines, Source::File, unix_millis())?;
            if let Some(position) = position {
                write::position(&transaction, position)?;
            }
            transaction.commit()
        })
    }

    /// Writes about so many bytes; on a full disk the oldest traces make room for them first.
    fn write<E: From<rusqlite::Error> + DiskFullError>(
        &self,
        bytes: usize,
        write: impl Fn(&mut StoreWriter) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut writer = self.writer();
        if !self.0.reserve.is_full() {
            writer.patience.end();
            match write(&mut writer) {
                Err(error) if error.release_if_disk_full(&self.0.reserve) => {}
                other => return other,
            }
        }
        // With its indexes, it takes more than it is long.
        self.give_way(&mut writer, 2 * bytes as u64 + self.0.reserve.share_bytes() / 4)?;
        let written = write(&mut writer);
        // So that there is room for some time; what is written is written, whatever becomes of that.
        self.give_back(&mut writer, 2 * self.0.reserve.share_bytes());
        written
    }

    /// The position up to which this file has been read.
    pub(crate) fn position(&self, file: &str) -> rusqlite::Result<Option<Position>> {
        write::read_position(&self.writer().connection, file)
    }

    /// The newest traces.
    pub(crate) fn newest(&self, limit: usize) -> rusqlite::Result<Vec<TraceSummary>> {
        self.read(|connection| query::newest(connection, limit))
    }

    /// One trace within these bounds, `None` if nothing is stored of it.
    pub(crate) fn trace_within(
        &self,
        trace_id: logtracer_core::TraceId,
        bounds: Bounds,
    ) -> rusqlite::Result<Option<Trace>> {
        self.read(|connection| query::trace(connection, trace_id, bounds))
    }

    /// Everything about one trace.
    #[cfg(test)]
    pub(crate) fn trace(&self, trace_id: logtracer_core::TraceId) -> rusqlite::Result<Option<Trace>> {
        self.trace_within(trace_id, Bounds { rows: usize::MAX, bytes: usize::MAX })
    }

    /// Deletes the traces that are too old or too many; see [`Retention`].
    pub(crate) fn enforce(&self, retention: &Retention, now_ms: i64) -> rusqlite::Result<()> {
        if self.0.reserve.is_full() {
            self.give_back(&mut self.writer(), self.0.reserve.required_bytes());
        } else {
            self.writer().patience.end();
        }
        loop {
            // The lock is taken for each step anew, so that spans and lines get in between.
            let mut writer = self.writer();
            let step = retention::step(&mut writer.connection, retention, now_ms).inspect_err(|error| {
                self.0.reserve.release_if_disk_full(error, schema::KIND.name);
            })?;
            self.0.metrics.store_bytes.set(i64::try_from(step.used_bytes).unwrap_or(i64::MAX));
            match step.expired {
                None => return Ok(()),
                Some(expired) => {
                    writer.origins.clear();
                    expired.count(&self.0.metrics);
                }
            }
        }
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = || self.0.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = idle().pop();
        let reader = match reader {
            Some(reader) => reader,
            None => sqlite::open_reader(&self.0.path)?,
        };
        let result = query(&reader);
        let mut idle = idle();
        if idle.len() < IDLE_READERS {
            idle.push(reader);
        }
        result
    }

    fn writer(&self) -> MutexGuard<'_, StoreWriter> {
        // A panic during a write drops its transaction, which rolls it back.
        self.0.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
