//! Files that go away: when `outbox.db` or its WAL is removed or replaced, the writer copies the waiting batches from the
//! open file to a new one.
//!
//! Until that succeeds, new batches are rejected. The sinks go on with the open file.

use std::time::Instant;

use anyhow::anyhow;

use super::commit_mark::MarkFile;
use super::corruption::{Corruption, Detached};
use super::recovery;
use super::schema;
use super::writer::Writer;
use crate::storage::{Change, OpenFiles, reattach, sqlite};

impl Writer {
    /// Looks for files that were removed, replaced or truncated, and replaces them. The writer calls this before each
    /// commit, and after it before the batches are acknowledged.
    pub(super) fn check_files(&mut self) {
        if self.corruption.is_some() {
            return;
        }
        match self.files.change() {
            None => {
                if self.detached.take().is_some() {
                    self.set_problem(self.reserve.problem());
                }
            }
            Some(Change::Truncated(reason)) => self.replace(Corruption::new(reason)),
            Some(Change::Detached(reason)) => self.reattach(reason),
        }
    }

    fn reattach(&mut self, reason: String) {
        let start = Instant::now();
        if self.detached.as_ref().is_some_and(|detached| !detached.is_due()) {
            return;
        }
        let result = self.try_reattach();
        self.detached = match result {
            Ok(missing) => {
                recovery::count_dropped_batches(&self.metrics, missing);
                reattach::report(&self.state.path, &schema::KIND, &reason, None);
                None
            }
            Err(error) => {
                let reason = format!("{reason}; {error:#}");
                self.log_error("failed to replace a removed outbox", &reason);
                self.reserve.release_if_needed(schema::KIND.name);
                Some(Detached::new(reason, start.elapsed()))
            }
        };
        self.set_problem(self.problem());
    }

    /// Copies the batches that some sink has not acknowledged to a new file. Returns how many cannot be read.
    fn try_reattach(&mut self) -> anyhow::Result<i64> {
        self.data_dir.ensure_locked()?;
        let state = self.state.clone();
        let missing = reattach::build(&state.path, &self.files, &schema::KIND, |new| {
            let mut into = sqlite::open(new, &schema::KIND)?;
            let after = self.watermarks.lowest_cursor();
            recovery::copy(&self.connection, &mut into, after, self.reserve.share_bytes())?;
            let missing = recovery::complete(&mut into, &state.subscriptions, &self.watermarks)?;
            sqlite::checkpoint(&into, true)?;
            into.close().map_err(|(_, error)| error)?;
            Ok(missing)
        })?;
        let new = sqlite::open(&state.path, &schema::KIND)?;
        self.files = OpenFiles::of(&state.path, schema::KIND.access)?;
        sqlite::leave_wal_on_close(&self.connection)?;
        self.connection = new;
        self.mark_file = MarkFile::open(self.data_dir.path()).0;
        // SQLite's error texts already contain their cause.
        self.load_watermarks().map_err(|error| anyhow!(error.to_string()))?;
        self.state.replacements.send_modify(|count| *count += 1);
        self.publish();
        Ok(missing)
    }
}
