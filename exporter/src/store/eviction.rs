//! Evictions on a full disk: they free pages for new data, and return space to the disk for the reserve.

use std::time::{Duration, Instant};

use logtracer_core::Backoff;

use super::{Store, StoreWriter, retention, schema};
use crate::log::{self, Value};
use crate::storage::sqlite;

/// The smallest step of an eviction on a full disk.
const MIN_EVICTED_BYTES: u64 = 64 << 10;

/// The file keeps free pages for later traces: up to this many bytes, or as many as are in use.
const MIN_FREE_BYTES: u64 = 16 << 20;

/// The maximum number of free bytes that are returned to the disk at one time.
const MAX_RETURNED_BYTES: u64 = 256 << 20;

/// The back-off after shrinking the file without effect.
///
/// The disk can stay full because another program uses the freed space, or because the file system keeps it. Further
/// evictions would lose traces for nothing.
#[derive(Debug)]
pub(super) struct ShrinkBackoff {
    backoff: Backoff,
    retry_at: Option<Instant>,
}

impl ShrinkBackoff {
    pub(super) const fn new() -> Self {
        Self { backoff: Backoff::new(Duration::from_secs(60), Duration::from_secs(3600)), retry_at: None }
    }

    /// Ends the back-off: the disk has free space again.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }

    fn is_over(&self) -> bool {
        self.retry_at.is_none_or(|retry_at| retry_at <= Instant::now())
    }

    fn fail(&mut self) {
        // There is only one store on this disk, so the pause needs no jitter.
        self.retry_at = Some(Instant::now() + self.backoff.next(u64::MAX));
    }
}

impl Store {
    /// Evicts the oldest traces until the file has this number of free bytes.
    pub(super) fn evict_until_free(&self, writer: &mut StoreWriter, bytes: u64) -> rusqlite::Result<()> {
        // SQLite then writes the WAL from the beginning, which needs no space on the disk.
        checkpoint_if_possible(writer)?;
        let mut max_bytes = self.0.reserve.share_bytes() / 2;
        while let Some(wanted) = bytes.checked_sub(sqlite::free_bytes(&writer.connection)?)
            && wanted > 0
        {
            let evicted = match retention::evict_oldest(&mut writer.connection, wanted, max_bytes) {
                // A smaller transaction can fit into the WAL.
                Err(error) if sqlite::is_full(&error) && max_bytes > MIN_EVICTED_BYTES => {
                    max_bytes /= 4;
                    continue;
                }
                evicted => evicted?,
            };
            let Some(evicted) = evicted else { break };
            writer.origins.clear();
            evicted.report(&self.0.metrics);
            checkpoint_if_possible(writer)?;
        }
        Ok(())
    }

    /// Returns free pages to the disk if they are most of the file.
    pub(super) fn return_free_pages(&self) -> rusqlite::Result<()> {
        let step = self.0.reserve.share_bytes() / 8;
        for _ in 0..MAX_RETURNED_BYTES / step {
            let StoreWriter { connection, .. } = &*self.writer();
            let free = sqlite::free_bytes(connection)?;
            if free <= MIN_FREE_BYTES || free <= sqlite::used_bytes(connection)? {
                break;
            }
            sqlite::vacuum(connection, step / u64::from(schema::KIND.page_size))?;
            // Only a checkpoint makes the file shorter.
            sqlite::checkpoint(connection, false)?;
        }
        Ok(())
    }

    /// Shrinks the file by this number of bytes, for which it evicts the oldest traces. Stops when the disk has a
    /// reserve again, or if the disk does not get the space.
    pub(super) fn shrink(&self, writer: &mut StoreWriter, bytes: u64) {
        if !writer.shrink_backoff.is_over() {
            return;
        }
        if let Err(error) = self.try_shrink(writer, bytes) {
            self.0.reserve.release_if_disk_full(&error, schema::KIND.name);
            let error = self.0.reserve.reason(&error);
            log::warn("failed to shrink the store", &[("error", Value::Str(&error))]);
        }
    }

    fn try_shrink(&self, writer: &mut StoreWriter, bytes: u64) -> rusqlite::Result<()> {
        let reserve = &self.0.reserve;
        let step = reserve.share_bytes() / 8;
        let disk_free_before = reserve.free_bytes();
        let mut returned = 0;
        while returned < bytes {
            self.evict_until_free(writer, step)?;
            let free = sqlite::free_bytes(&writer.connection)?;
            sqlite::vacuum(&writer.connection, step / u64::from(schema::KIND.page_size))?;
            let vacuumed = free.saturating_sub(sqlite::free_bytes(&writer.connection)?);
            if vacuumed == 0 {
                break;
            }
            returned += vacuumed;
            let left = sqlite::checkpoint(&writer.connection, false)?;
            // Measured before the check, because a restored reserve uses space.
            let disk_free = reserve.free_bytes();
            if !reserve.is_full() {
                break;
            }
            // The effect on the disk is unknown while a reader keeps the file from being truncated, and on disks that
            // do not report their free space.
            let is_measurable = left == 0 && disk_free != u64::MAX;
            let gained = disk_free.saturating_sub(disk_free_before);
            if is_measurable && returned >= reserve.share_bytes() && gained < returned / 2 {
                writer.shrink_backoff.fail();
                log::error(
                    "disk full: evicting traces frees no space, another program uses it",
                    &[("given_bytes", Value::U64(returned)), ("free_bytes", Value::U64(disk_free))],
                );
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Moves the WAL into the file. On a file system that copies what it overwrites, a full disk can prevent that: then the
/// eviction goes on in the rest of the WAL.
fn checkpoint_if_possible(writer: &StoreWriter) -> rusqlite::Result<()> {
    match sqlite::checkpoint(&writer.connection, false) {
        Err(error) if !sqlite::is_full(&error) => Err(error),
        _ => Ok(()),
    }
}
