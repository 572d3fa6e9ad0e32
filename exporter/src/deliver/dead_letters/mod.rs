//! The items that a sink has rejected permanently, stored until an operator retries or discards them.
//!
//! ```text
//!  call_result ──► DeadLetters::store ──► dead-letters.db ──► command (list, retry, discard)
//!                                              │ ▲                     │
//!  queue ◄── retry ◄── to_retry ◄──────────────┘ └──── is_asked ◄──────┘
//! ```
//!
//! The command works on the file, with or without a running exporter.
//!
//! Invariant: a dead letter is on disk before the cursor advances over its items. It is removed only when the sink has
//! accepted it, when an operator discards it, or when the bound by bytes evicts it, which is counted.

pub(crate) mod command;
mod retry;
mod schema;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::{Chunk, Slice};
use crate::clock::unix_millis;
use crate::log::{self, Value};
use crate::metrics::Metrics;
use crate::otlp::Signal;
use crate::storage::{DataDir, DiskReserve, OpenFiles, quarantine, reattach, sqlite};
use crate::truncate::truncate;

/// The dead letters of all sinks. Clones share one connection.
#[derive(Debug, Clone)]
pub(crate) struct DeadLetters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: DataDir,
    path: PathBuf,
    file: Mutex<File>,
    max_bytes: u64,
    reserve: DiskReserve,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct File {
    connection: Connection,
    files: OpenFiles,
    /// The size of all bodies, or more: it is read again only when it exceeds the bound.
    bytes: u64,
}

/// A slice that a sink has rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) id: i64,
    pub(crate) sink: String,
    /// The time of the rejection, in milliseconds since 1970.
    pub(crate) stored_ms: i64,
    pub(crate) signal: Signal,
    pub(crate) items: u32,
    pub(crate) reason: String,
    /// True if an operator has requested a retry.
    pub(crate) retry: bool,
    pub(crate) body: Bytes,
}

/// The size of the dead letters that are retried at one time, in bytes.
const RETRY_BYTES: usize = 1 << 20;

/// Longer reasons are truncated.
const MAX_REASON_BYTES: usize = 2048;

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("dead-letters.db")
}

impl DeadLetters {
    /// Opens `dead-letters.db` in this directory.
    pub(crate) fn open(
        dir: &DataDir,
        max_bytes: u64,
        reserve: DiskReserve,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let path = path(dir.path());
        let connection = quarantine::open_or_replace(&path, &schema::KIND)?.skip_recovery()?;
        let files = OpenFiles::of(&path, schema::KIND.access)?;
        let bytes = bytes(&connection).context("failed to read the dead letters")?;
        let file = Mutex::new(File { connection, files, bytes });
        let data_dir = dir.clone();
        Ok(Self(Arc::new(Inner { data_dir, path, file, max_bytes, reserve, metrics })))
    }

    /// Stores a chunk that this sink has rejected, on disk when this returns. A slice that is stored already is not
    /// stored twice.
    pub(crate) async fn store(&self, sink: &str, chunk: &Chunk, reason: &str) -> Result<(), String> {
        let (sink, chunk, reason) =
            (sink.to_owned(), chunk.clone(), truncate(reason, MAX_REASON_BYTES).to_owned());
        self.with(move |inner, file| {
            let now_ms = unix_millis();
            let is_full = inner.reserve.is_full();
            // On a full disk the file shrinks: twice the size of the chunk is evicted, but half a share is kept.
            let smaller = file.bytes.saturating_sub(chunk.bytes() as u64);
            let bound = if is_full { smaller.max(inner.reserve.share_bytes() / 2) } else { u64::MAX };
            let max_bytes = inner.max_bytes.min(bound);
            let tx = file.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for slice in chunk.slices() {
                insert(&tx, &sink, chunk.signal(), slice, &reason, now_ms)?;
            }
            let mut total = file.bytes + chunk.bytes() as u64;
            let mut evicted = Vec::new();
            if total > max_bytes {
                (total, evicted) = evict(&tx, max_bytes)?;
            }
            tx.commit()?;
            file.bytes = total;
            if is_full {
                sqlite::vacuum(&file.connection, u64::from(i32::MAX.unsigned_abs()))?;
            }
            for (sink, items) in evicted {
                inner.metrics.count_evicted(&sink, items);
                log::error(
                    "evicted dead letters: --dead-letters-max-bytes or a full disk",
                    &[("sink", Value::Str(&sink)), ("items", Value::U64(items))],
                );
            }
            Ok(())
        })
        .await
    }

    /// Returns some of the dead letters of this sink for which a retry was requested.
    pub(crate) async fn to_retry(&self, sink: &str) -> Vec<Letter> {
        let sink = sink.to_owned();
        let read = self.with(move |_, File { connection, .. }| {
            let mut bytes = 0;
            let mut letters = Vec::new();
            let sql = format!("{SELECT} WHERE sink = ? AND is_asked = 1 ORDER BY id");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([sink])?;
            while bytes < RETRY_BYTES
                && let Some(row) = rows.next()?
            {
                let letter = letter(row)?;
                bytes += letter.body.len();
                letters.push(letter);
            }
            Ok(letters)
        });
        read.await.unwrap_or_else(|error| {
            log::warn("failed to read the dead letters", &[("error", Value::Str(&error))]);
            Vec::new()
        })
    }

    /// Removes dead letters that are delivered or stored again.
    pub(crate) async fn remove(&self, ids: &[i64]) -> Result<(), String> {
        if ids.is_empty() {
            return Ok(());
        }
        let ids = ids.to_vec();
        self.with(move |_, File { connection, .. }| {
            let tx = connection.transaction()?;
            for id in ids {
                tx.prepare_cached("DELETE FROM letter WHERE id = ?")?.execute([id])?;
            }
            tx.commit()
        })
        .await
    }

    /// Returns the number of dead letters of this sink, or `None` if it cannot be read.
    pub(crate) async fn count(&self, sink: &str) -> Option<i64> {
        let sink = sink.to_owned();
        let count = self.with(move |_, File { connection, .. }| {
            connection
                .prepare_cached("SELECT count(*) FROM letter WHERE sink = ?")?
                .query_row([sink], |row| row.get(0))
        });
        count.await.ok()
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &mut File) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let inner = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut file = inner.file.lock().unwrap_or_else(PoisonError::into_inner);
            inner.reattach_if_detached(&mut file).map_err(|error| format!("{error:#}"))?;
            work(&inner, &mut file).map_err(|error| {
                // The next call sees a full disk, and evicts older letters.
                inner.reserve.release_if_disk_full(&error, schema::KIND.name);
                inner.reserve.reason(&error)
            })
        });
        done.await.map_err(|error| error.to_string())?
    }

    /// Replaces the file if it was removed or replaced by another program. Returns an error if that fails.
    pub(crate) async fn check_path(&self) -> Result<(), String> {
        self.with(|_, _| Ok(())).await
    }
}

impl Inner {
    fn reattach_if_detached(&self, file: &mut File) -> anyhow::Result<()> {
        let Some(reason) = file.files.detached() else { return Ok(()) };
        self.data_dir.ensure_locked()?;
        let File { connection, files, .. } = &mut *file;
        reattach::reattach(connection, files, &self.path, &schema::KIND, &reason)?;
        file.bytes = bytes(&file.connection)?;
        Ok(())
    }
}

/// The columns in the order that [`letter`] reads.
const SELECT: &str = "SELECT id, sink, kept_ms, signal, items, reason, is_asked, body FROM letter";

fn letter(row: &rusqlite::Row<'_>) -> rusqlite::Result<Letter> {
    Ok(Letter {
        id: row.get(0)?,
        sink: row.get(1)?,
        stored_ms: row.get(2)?,
        signal: row.get(3)?,
        items: row.get(4)?,
        reason: row.get(5)?,
        retry: row.get(6)?,
        body: row.get::<_, Vec<u8>>(7)?.into(),
    })
}

fn insert(
    tx: &Transaction<'_>,
    sink: &str,
    signal: Signal,
    slice: &Slice,
    reason: &str,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let body = slice.body();
    let digest = digest(&body);
    // A letter that is being retried does not count: it is removed soon, and this slice may come from it.
    let known = tx
        .prepare_cached("SELECT 1 FROM letter WHERE digest = ? AND sink = ? AND body = ? AND is_asked = 0")?
        .query_row(params![digest, sink, &body[..]], |_| Ok(()))
        .optional()?;
    if known.is_none() {
        tx.prepare_cached("INSERT INTO letter VALUES (NULL, ?, ?, ?, ?, ?, 0, ?, ?)")?.execute(params![
            sink,
            now_ms,
            signal,
            slice.items,
            reason,
            digest,
            &body[..]
        ])?;
    }
    Ok(())
}

/// Evicts the oldest dead letters if they exceed the bound, and some more, so that the next letter does not evict again.
/// Returns the size that is left, and the number of evicted items by sink.
fn evict(tx: &Transaction<'_>, max_bytes: u64) -> rusqlite::Result<(u64, Vec<(String, u64)>)> {
    let mut left = bytes(tx)?;
    let mut evicted = Vec::new();
    if left > max_bytes {
        let wanted = max_bytes - max_bytes / 64;
        let mut oldest = tx.prepare_cached("SELECT id, sink, items, length(body) FROM letter ORDER BY id")?;
        let mut rows = oldest.query([])?;
        let mut until = 0;
        while left > wanted
            && let Some(row) = rows.next()?
        {
            until = row.get(0)?;
            left = left.saturating_sub(row.get::<_, u32>(3)?.into());
            evicted.push((row.get(1)?, row.get::<_, u32>(2)?.into()));
        }
        tx.prepare_cached("DELETE FROM letter WHERE id <= ?")?.execute([until])?;
    }
    Ok((left, evicted))
}

/// Returns the size of all bodies.
fn bytes(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT coalesce(sum(length(body)), 0) FROM letter")?
        .query_row([], |row| Ok(row.get::<_, i64>(0)?.max(0).cast_unsigned()))
}

/// Returns the first 8 bytes of the body's SHA-256, to look bodies up: an index of whole bodies would double the file.
fn digest(body: &[u8]) -> i64 {
    let hash = Sha256::digest(body);
    hash.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}
