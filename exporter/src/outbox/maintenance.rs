//! What the writer does beside its commits, in small steps: deleting what every sink has passed, moving the log into the
//! file, giving room back to the disk.

use std::collections::VecDeque;

use super::command::Command;
use super::schema::PAGE_BYTES;
use super::writer::Writer;
use super::{AppendError, schema};
use crate::log::{self, Severity, Value};
use crate::storage::sqlite;

/// Free pages are kept for what comes next, up to this many bytes and as much as is in use.
const KEPT_BYTES: u64 = 16 << 20;

/// The most that is given back in one step; each page may be one that has to be moved.
const STEP_BYTES: u64 = 1 << 20;

/// When the file of the log is this many shares long, it is emptied, which has to wait for those who read.
const MOST_SHARES: u64 = 4;

impl Writer {
    /// Refuses what is new while the disk is full, so that the sinks can go on and what they have is deleted.
    pub(super) fn refuse_without_room(&mut self, group: &mut VecDeque<Command>) {
        if self.reserve.recover() {
            return;
        }
        let Some(reason) = self.reserve.problem() else { return };
        self.set_problem(Some(reason.clone()));
        for command in std::mem::take(group) {
            match command {
                Command::Append { reply, .. } => {
                    // A receiver that is gone no longer wants the answer.
                    let _ = reply.send(Err(AppendError::Unwritable(reason.clone())));
                }
                Command::Probe { reply } => drop(reply.send(Err(reason.clone()))),
                other => group.push_back(other),
            }
        }
    }

    /// Begins to give room back to the disk, if most of the file is free or the disk is full.
    fn consider_shrinking(&mut self) {
        self.is_to_consider_shrinking = false;
        let free_and_used = sqlite::free_bytes(&self.connection)
            .and_then(|free| Ok((free, sqlite::used_bytes(&self.connection)?)));
        match free_and_used {
            Ok((free, used)) => {
                self.is_shrinking |=
                    if self.reserve.is_full() { free > 0 } else { free > KEPT_BYTES && free > used };
            }
            Err(error) => self.tell("cannot shrink the outbox", &error.to_string()),
        }
    }

    /// Whether there is something to do while no command waits.
    pub(super) fn has_chores(&self) -> bool {
        let is_able = self.damage.is_none() && !self.has_failed;
        is_able && (self.book.has_passed_batches() || self.is_to_consider_shrinking || self.is_shrinking)
    }

    /// Does one step of what there is to do.
    pub(super) fn do_chores(&mut self) {
        if self.damage.is_some() || self.has_failed {
            return;
        }
        if self.book.has_passed_batches() {
            self.commit(&mut VecDeque::new());
        } else if self.is_to_consider_shrinking {
            self.consider_shrinking();
        } else if self.is_shrinking {
            self.shrink();
        }
        if self.log_bytes >= self.reserve.share() || (self.reserve.is_full() && self.log_bytes > 0) {
            self.checkpoint();
        }
    }

    /// Cuts some free pages off the file.
    fn shrink(&mut self) {
        let step = STEP_BYTES.min(self.reserve.share() / 4);
        match sqlite::vacuum(&self.connection, step / PAGE_BYTES) {
            Ok(has_more) => {
                self.log_bytes += 4 * step;
                if !has_more {
                    self.is_shrinking = false;
                    // The file gets shorter only by that.
                    self.checkpoint();
                }
            }
            Err(error) => {
                self.has_failed = true;
                self.reserve.release_if_disk_full(&error, schema::KIND.name);
                self.tell("cannot shrink the outbox", &error.to_string());
            }
        }
    }

    /// Moves the log into the file, so that it starts anew.
    pub(super) fn checkpoint(&mut self) {
        let mut result = self.try_checkpoint();
        if let Err(error) = &result
            && self.reserve.release_if_disk_full(error, schema::KIND.name)
        {
            result = self.try_checkpoint();
        }
        match result {
            Ok(left) => self.log_bytes = left,
            Err(error) => self.tell("cannot move the log of the outbox into its file", &error.to_string()),
        }
    }

    fn try_checkpoint(&self) -> rusqlite::Result<u64> {
        let is_long = sqlite::log_length(&self.state.path) > MOST_SHARES * self.reserve.share();
        let empties = is_long || self.reserve.is_full() || self.is_idle();
        sqlite::checkpoint(&self.connection, empties).map(|pages| pages * PAGE_BYTES)
    }

    /// Whether nothing waits: then the log can be emptied without anybody noticing.
    fn is_idle(&self) -> bool {
        self.book.bytes == 0 && !self.has_chores()
    }

    pub(super) fn tell(&self, what: &'static str, error: &str) {
        let path = self.state.path.display();
        log::repeated(
            Severity::Error,
            what,
            &[("path", Value::Fmt(format_args!("{path}"))), ("error", Value::Str(error))],
        );
    }
}
