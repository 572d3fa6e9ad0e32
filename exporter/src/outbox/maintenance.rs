//! The maintenance of `outbox.db`: the writer deletes acknowledged batches, checkpoints the WAL and shrinks the file, in
//! small steps between its commits.

use std::collections::VecDeque;

use super::schema::{self, PAGE_BYTES};
use super::writer::Writer;
use crate::log::{self, Value};
use crate::storage::sqlite;

/// The file keeps free pages for later batches: up to this many bytes, or as many as are in use.
const MIN_FREE_BYTES: u64 = 16 << 20;

/// The maximum number of bytes that one step removes from the file. SQLite may have to move a page for each page removed.
const SHRINK_STEP_BYTES: u64 = 1 << 20;

/// If the WAL is longer than this many shares, a checkpoint truncates it. That has to wait for the readers.
const MAX_WAL_SHARES: u64 = 4;

impl Writer {
    /// Starts to shrink the file if most of it is free, or if the disk is full.
    fn check_free_pages(&mut self) {
        self.must_check_free_pages = false;
        let free_and_used = sqlite::free_bytes(&self.connection)
            .and_then(|free| Ok((free, sqlite::used_bytes(&self.connection)?)));
        match free_and_used {
            Ok((free, used)) => {
                self.is_shrinking |=
                    if self.reserve.is_full() { free > 0 } else { free > MIN_FREE_BYTES && free > used };
            }
            Err(error) => self.log_error("failed to shrink the outbox", &self.reserve.reason(&error)),
        }
    }

    /// Returns whether there is maintenance to do while no command waits.
    pub(super) fn has_maintenance(&self) -> bool {
        let is_able = self.corruption.is_none() && !self.has_failed;
        is_able
            && (self.watermarks.has_deletable_batches() || self.must_check_free_pages || self.is_shrinking)
    }

    /// Runs one step of maintenance.
    pub(super) fn maintain(&mut self) {
        if self.corruption.is_some() || self.has_failed {
            return;
        }
        if self.watermarks.has_deletable_batches() {
            self.commit(&mut VecDeque::new());
        } else if self.must_check_free_pages {
            self.check_free_pages();
        } else if self.is_shrinking {
            self.shrink();
        }
        if self.wal_bytes >= self.reserve.share_bytes() || (self.reserve.is_full() && self.wal_bytes > 0) {
            self.checkpoint();
        }
    }

    /// Removes some free pages from the file.
    fn shrink(&mut self) {
        let step = SHRINK_STEP_BYTES.min(self.reserve.share_bytes() / 4);
        match sqlite::vacuum(&self.connection, step / PAGE_BYTES) {
            Ok(has_more) => {
                self.wal_bytes += 4 * step;
                if !has_more {
                    self.is_shrinking = false;
                    // Only a checkpoint makes the file shorter.
                    self.checkpoint();
                }
            }
            Err(error) => {
                self.has_failed = true;
                self.reserve.release_if_disk_full(&error, schema::KIND.name);
                self.log_error("failed to shrink the outbox", &self.reserve.reason(&error));
            }
        }
    }

    /// Moves the WAL into the file, so that SQLite writes it from the beginning again.
    pub(super) fn checkpoint(&mut self) {
        // A checkpoint would hide that another program has truncated a file.
        if self.files.change().is_some() {
            return;
        }
        let mut result = self.try_checkpoint();
        if let Err(error) = &result
            && self.reserve.release_if_disk_full(error, schema::KIND.name)
        {
            result = self.try_checkpoint();
        }
        match result {
            Ok(left) => self.wal_bytes = left,
            Err(error) => self.log_error("failed to checkpoint the outbox", &self.reserve.reason(&error)),
        }
        self.files.record_lengths();
    }

    fn try_checkpoint(&self) -> rusqlite::Result<u64> {
        let is_long = sqlite::wal_length(&self.state.path) > MAX_WAL_SHARES * self.reserve.share_bytes();
        let truncates = is_long || self.reserve.is_full() || self.is_idle();
        sqlite::checkpoint(&self.connection, truncates).map(|pages| pages * PAGE_BYTES)
    }

    /// Returns whether no batch waits. Truncating the WAL then delays nobody.
    fn is_idle(&self) -> bool {
        self.watermarks.bytes == 0 && !self.has_maintenance()
    }

    pub(super) fn log_error(&self, message: &'static str, error: &str) {
        let path = self.state.path.display();
        log::error(message, &[("path", Value::Fmt(format_args!("{path}"))), ("error", Value::Str(error))]);
    }
}
