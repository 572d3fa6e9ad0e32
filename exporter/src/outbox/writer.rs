//! The thread that writes the outbox: all waiting commands share one commit.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::batch::{BatchContent, Signals};
use super::command::{Command, Outcome};
use super::commit_mark::MarkFile;
use super::corruption::{Corruption, Detached};
use super::eviction::{count_dropped, drop_expired, free_space, may_append_tailed};
use super::observation::ObservedBatch;
use super::rejection::{answer_path_checks, reject, reject_new};
use super::schema::{self, PAGE_BYTES};
use super::watermarks::Watermarks;
use super::{AppendError, Limits, State, decision};
use crate::clock::{millis, unix_millis};
use crate::metrics::Metrics;
use crate::otlp::Items;
use crate::storage::sqlite;
use crate::storage::{DISK_FULL, DataDir, DiskReserve, OpenFiles};

/// The maximum number of commands in one commit, so that the first request of a burst does not wait for all others.
/// A commit is also limited to about [`DiskReserve::share_bytes`].
const MAX_GROUP_COMMANDS: usize = 512;

/// The bytes that a commit writes besides the bodies: pages of tables, cursors and free lists.
const OVERHEAD_BYTES: u64 = 8 * PAGE_BYTES;

pub(super) struct Writer {
    pub(super) connection: Connection,
    limits: Limits,
    pub(super) data_dir: DataDir,
    pub(super) mark_file: MarkFile,
    /// The files of `connection`.
    pub(super) files: OpenFiles,
    pub(super) reserve: DiskReserve,
    /// An upper estimate of the bytes in the WAL that are not in the file yet.
    pub(super) wal_bytes: u64,
    /// Maintenance removes free pages from the file.
    pub(super) is_shrinking: bool,
    /// The next step of maintenance checks how many pages are free.
    pub(super) must_check_free_pages: bool,
    /// The last commit or maintenance step failed. The writer does no maintenance until the next command.
    pub(super) has_failed: bool,
    /// Set while the file is corrupt and not replaced yet.
    pub(super) corruption: Option<Corruption>,
    /// Set while the file is removed or replaced by another program, and there is no new one yet.
    pub(super) detached: Option<Detached>,
    pub(super) watermarks: Watermarks,
    pub(super) state: Arc<State>,
    pub(super) metrics: Arc<Metrics>,
}

/// The data directory, and the files in it that belong to no database or to several.
pub(super) struct Directory {
    pub(super) data_dir: DataDir,
    pub(super) mark_file: MarkFile,
    pub(super) reserve: DiskReserve,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        corruption: Option<Corruption>,
        limits: Limits,
        directory: Directory,
        state: Arc<State>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let Directory { data_dir, mark_file, reserve } = directory;
        let watermarks = Watermarks::new(state.subscriptions.len());
        let files = OpenFiles::of(&state.path, schema::KIND.access)?;
        let mut writer = Self {
            connection,
            limits,
            data_dir,
            mark_file,
            files,
            reserve,
            wal_bytes: 0,
            is_shrinking: false,
            must_check_free_pages: false,
            has_failed: false,
            corruption,
            detached: None,
            watermarks,
            state,
            metrics,
        };
        match &writer.corruption {
            // The new file is incomplete, so the readers must not see its batches yet.
            Some(corruption) => writer.set_problem(Some(corruption.reason().to_owned())),
            None => {
                writer.load_watermarks()?;
                writer.publish();
            }
        }
        Ok(writer)
    }

    /// Reads the watermarks from the file. Removes the cursors of sinks that are no longer configured, and counts their
    /// items as dropped.
    pub(super) fn load_watermarks(&mut self) -> rusqlite::Result<()> {
        let (watermarks, orphaned) = Watermarks::open(&self.connection, &self.state.subscriptions)?;
        self.watermarks = watermarks;
        for gone in orphaned {
            // It is not known what the sink took.
            let items = gone.items.taken_by(Signals::ALL);
            count_dropped(&self.metrics, &gone.sink, "sink removed", items);
        }
        // The writer runs checkpoints itself: SQLite ignores errors of automatic ones.
        self.wal_bytes = sqlite::wal_length(&self.state.path);
        self.connection.pragma_update(None, "wal_autocheckpoint", 0)
    }

    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        // An earlier process may have left a WAL.
        self.checkpoint();
        let mut group = VecDeque::new();
        loop {
            let first = if self.has_maintenance() {
                match queue.try_recv() {
                    Ok(first) => Some(first),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => break,
                }
            } else {
                match queue.blocking_recv() {
                    Some(first) => Some(first),
                    None => break,
                }
            };
            let mut bytes = first.as_ref().map_or(0, Command::wal_bytes);
            group.extend(first);
            while !group.is_empty()
                && bytes < self.reserve.share_bytes()
                && group.len() < MAX_GROUP_COMMANDS
                && let Ok(next) = queue.try_recv()
            {
                bytes += next.wal_bytes();
                group.push_back(next);
            }
            if let Some(corruption) = self.corruption.take_if(|corruption| corruption.is_due()) {
                self.replace(corruption);
            }
            if let Some(corruption) = &self.corruption {
                reject(&mut group, corruption.reason());
                continue;
            }
            self.check_files();
            if self.detached.is_none()
                && group.iter().any(|command| matches!(command, Command::CheckPath { .. }))
            {
                self.mark_file.check(&self.watermarks);
            }
            answer_path_checks(&mut group, self.problem_of_file().as_deref());
            if !group.is_empty() {
                if let Some(detached) = &self.detached {
                    let reason = detached.reason().to_owned();
                    reject_new(&mut group, &reason);
                } else if self.reserve.is_full() {
                    self.reject_while_disk_full(&mut group);
                }
                self.has_failed = false;
                self.must_check_free_pages |=
                    group.iter().any(|command| matches!(command, Command::DropExpired { .. }));
                self.commit(&mut group);
            }
            self.maintain();
        }
    }

    /// Rejects new batches while the disk is full. The sinks go on, so that acknowledged batches are deleted.
    fn reject_while_disk_full(&mut self, group: &mut VecDeque<Command>) {
        if self.reserve.try_restore() {
            return;
        }
        let Some(reason) = self.reserve.problem() else { return };
        self.set_problem(Some(reason.clone()));
        reject_new(group, &reason);
    }

    /// Applies the group in one transaction. A failure rolls back the whole group.
    pub(super) fn commit(&mut self, group: &mut VecDeque<Command>) {
        let mut outcome = Outcome::default();
        let mut watermarks = self.watermarks.clone();
        let result = self.apply(group, &mut watermarks, &mut outcome);
        match result {
            Ok(()) => {
                self.watermarks = watermarks;
                self.wal_bytes += outcome.bytes + OVERHEAD_BYTES;
                self.set_problem(self.problem());
                self.metrics.commits.inc();
                self.metrics.committed.add(outcome.items);
                if !outcome.appended.is_empty() {
                    self.metrics.batches_per_commit.observe(outcome.appended.len() as f64);
                }
                for dropped in &outcome.dropped {
                    if let Some(subscription) = self.state.subscriptions.get(dropped.sink) {
                        let items = dropped.items.taken_by(subscription.signals);
                        count_dropped(&self.metrics, &subscription.sink, dropped.reason, items);
                    }
                }
                for settled in &outcome.settled {
                    let mut items = Items::default();
                    items.add(settled.signal, settled.items);
                    settled.tally.add(items);
                }
                self.state.observations.add(mem::take(&mut outcome.observed));
                self.publish();
                self.files.record_growth();
                self.check_files();
                let appended = match self.problem_of_file() {
                    None => Ok(()),
                    Some(reason) => Err(AppendError::Unwritable(reason)),
                };
                // The receivers of the replies may be gone.
                outcome.appended.into_iter().for_each(|reply| drop(reply.send(appended.clone())));
                outcome.replies.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
                if outcome.must_check_file
                    && let Some(reason) = sqlite::find_corruption(&self.connection)
                {
                    self.replace(Corruption::new(reason));
                }
            }
            Err(error) => {
                let is_full = self.reserve.release_if_disk_full(&error, schema::KIND.name);
                let reason = if is_full { DISK_FULL.to_owned() } else { self.reserve.reason(&error) };
                self.has_failed = true;
                self.log_error("failed to write the outbox", &reason);
                self.set_problem(Some(reason.clone()));
                let unwritable = || AppendError::Unwritable(reason.clone());
                outcome.appended.into_iter().for_each(|reply| drop(reply.send(Err(unwritable()))));
                outcome.replies.into_iter().for_each(|reply| drop(reply.send(Err(reason.clone()))));
                // The commands after the one that failed.
                reject(group, &reason);
                if sqlite::is_corrupt(&error) {
                    self.replace(Corruption::new(reason));
                } else if is_full {
                    self.checkpoint();
                }
            }
        }
        outcome.rejected.into_iter().for_each(|(reply, reason)| drop(reply.send(Err(reason))));
    }

    fn apply(
        &mut self,
        group: &mut VecDeque<Command>,
        watermarks: &mut Watermarks,
        outcome: &mut Outcome,
    ) -> rusqlite::Result<()> {
        let limits = self.limits;
        let share_bytes = self.reserve.share_bytes();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now_ms = unix_millis();
        let mut has_advanced = false;
        while let Some(command) = group.pop_front() {
            match command {
                Command::Append { content, body, runs, items, reply } => {
                    let needed = body.bytes.len() as u64;
                    let is_tailed = content == BatchContent::TailedLogs;
                    let max_bytes = if is_tailed { limits.max_bytes / 2 } else { limits.max_bytes };
                    let max_bytes = max_bytes.min(share_bytes);
                    if needed > max_bytes {
                        outcome.rejected.push((reply, AppendError::TooLarge { bytes: needed, max_bytes }));
                        continue;
                    }
                    outcome.appended.push(reply);
                    let sinks = &self.state.subscriptions;
                    let may_append = !is_tailed
                        || may_append_tailed(&transaction, watermarks, sinks, needed, limits.max_bytes)?;
                    if !may_append
                        || !free_space(&transaction, watermarks, outcome, needed, limits.max_bytes)?
                    {
                        let full = AppendError::Full { waiting_bytes: watermarks.bytes };
                        outcome.rejected.extend(outcome.appended.pop().map(|reply| (reply, full)));
                        continue;
                    }
                    transaction
                        .prepare_cached(
                            "INSERT INTO batch(id, received_ms, signal, items, unpacked_len, body)
                             VALUES (?, ?, ?, ?, ?, ?)",
                        )?
                        .execute(params![
                            watermarks.last_id + 1,
                            now_ms,
                            content,
                            items,
                            body.unpacked_len,
                            &body.bytes[..]
                        ])?;
                    watermarks.last_id += 1;
                    if let Some(runs) = runs {
                        let id = watermarks.last_id;
                        outcome.observed.push(ObservedBatch { id, received_ms: now_ms, runs });
                    }
                    watermarks.bytes += needed;
                    outcome.bytes += body.wal_bytes();
                    watermarks.oldest_ms.get_or_insert(now_ms);
                    outcome.items.add(content.signal(), u64::from(items));
                }
                Command::Advance { sink, to, settled, reply } => {
                    outcome.replies.push(reply);
                    if let (Some(cursor), Some(subscription)) =
                        (watermarks.cursors.get_mut(sink), self.state.subscriptions.get(sink))
                    {
                        // Batches up to the cursor were dropped, and counted, during the delivery.
                        outcome.settled.extend(settled.into_iter().filter(|settled| settled.id > *cursor));
                        *cursor = to.max(*cursor);
                        transaction
                            .prepare_cached("UPDATE cursor SET position = ? WHERE sink = ?")?
                            .execute(params![*cursor, subscription.sink])?;
                        has_advanced = true;
                    }
                }
                Command::Decide { decisions, reply } => {
                    outcome.replies.push(reply);
                    outcome.bytes += decisions.wal_bytes();
                    decision::store(&transaction, &self.state.subscriptions, &decisions)?;
                    watermarks.decided = decisions.until.max(watermarks.decided);
                }
                Command::DropExpired { now_ms } => {
                    drop_expired(&transaction, watermarks, outcome, now_ms - millis(limits.max_age))?;
                }
                Command::CheckFile => outcome.must_check_file = true,
                // Answered already.
                Command::CheckPath { reply } => outcome.replies.push(reply),
                Command::Probe { reply } => {
                    outcome.replies.push(reply);
                    transaction.execute("UPDATE probe SET at_ms = ?", [now_ms])?;
                }
            }
        }
        if has_advanced {
            watermarks.update(&transaction)?;
        }
        if watermarks.has_deletable_batches() {
            outcome.bytes += watermarks.delete_acknowledged(&transaction, share_bytes)?;
        }
        transaction.commit()
    }

    /// Publishes the watermarks of a commit to the commit mark and to the handles.
    pub(super) fn publish(&mut self) {
        self.mark_file.write(&self.watermarks);
        self.metrics.outbox_bytes.set(i64::try_from(self.watermarks.bytes).unwrap_or(i64::MAX));
        *self.state.oldest_ms.lock().unwrap_or_else(PoisonError::into_inner) = self.watermarks.oldest_ms;
        self.state
            .committed
            .send_if_modified(|last| mem::replace(last, self.watermarks.last_id) != self.watermarks.last_id);
        self.state
            .decided
            .send_if_modified(|last| mem::replace(last, self.watermarks.decided) != self.watermarks.decided);
        self.state.cursors.send_if_modified(|cursors| {
            let changed = *cursors != self.watermarks.cursors;
            cursors.clone_from(&self.watermarks.cursors);
            changed
        });
    }

    /// Returns the reason why new batches would not be durable.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem_of_file().or_else(|| self.reserve.problem())
    }

    fn problem_of_file(&self) -> Option<String> {
        let corruption = self.corruption.as_ref().map(Corruption::reason);
        corruption.or(self.detached.as_ref().map(Detached::reason)).map(str::to_owned)
    }

    pub(super) fn set_problem(&self, problem: Option<String>) {
        *self.state.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

impl Command {
    /// Estimates the bytes that the command writes to the WAL.
    fn wal_bytes(&self) -> u64 {
        match self {
            Self::Append { body, .. } => body.wal_bytes(),
            Self::Decide { decisions, .. } => decisions.wal_bytes(),
            _ => 0,
        }
    }
}
