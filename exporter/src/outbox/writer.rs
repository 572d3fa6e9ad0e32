//! The one thread that writes the outbox: whatever waits goes into one commit.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::command::{Command, Outcome};
use super::corruption::Corruption;
use super::eviction::{count_dropped, expire, make_room};
use super::schema::{self, PAGE_BYTES};
use super::watermarks::Watermarks;
use super::{AppendError, Limits, State};
use crate::clock::{millis, unix_millis};
use crate::metrics::Metrics;
use crate::otlp::Items;
use crate::storage::DiskReserve;
use crate::storage::sqlite;

/// A commit takes at most so many commands, and about a share of the [`DiskReserve`], so that a burst does not make the first of
/// it wait for all of it.
const GROUP_COMMANDS: usize = 512;

/// What a commit writes beside bodies: the pages of the tables, the cursors, and the lists of free pages.
const OVERHEAD_BYTES: u64 = 8 * PAGE_BYTES;

pub(super) struct Writer {
    pub(super) connection: Connection,
    limits: Limits,
    pub(super) reserve: DiskReserve,
    /// What has been written to the log and is not in the file yet, or more.
    pub(super) log_bytes: u64,
    /// DiskReserve is being given back to the disk.
    pub(super) is_shrinking: bool,
    pub(super) is_to_consider_shrinking: bool,
    /// The last step of what there is to do beside commits went wrong: it is not tried again before the next command.
    pub(super) has_failed: bool,
    /// What is wrong with the file, until there is another one.
    pub(super) damage: Option<Corruption>,
    pub(super) book: Watermarks,
    pub(super) state: Arc<State>,
    pub(super) metrics: Arc<Metrics>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        damage: Option<Corruption>,
        limits: Limits,
        reserve: DiskReserve,
        state: Arc<State>,
        metrics: Arc<Metrics>,
    ) -> rusqlite::Result<Self> {
        let book = Watermarks::new(state.subscriptions.len());
        let mut writer = Self {
            connection,
            limits,
            reserve,
            log_bytes: 0,
            is_shrinking: false,
            is_to_consider_shrinking: false,
            has_failed: false,
            damage,
            book,
            state,
            metrics,
        };
        match &writer.damage {
            // Nobody reads what is not all there.
            Some(damage) => writer.set_problem(Some(damage.reason().to_owned())),
            None => {
                writer.open_book()?;
                writer.show();
            }
        }
        Ok(writer)
    }

    /// Learns what is in the file.
    pub(super) fn open_book(&mut self) -> rusqlite::Result<()> {
        let (book, orphaned) = Watermarks::open(&self.connection, &self.state.subscriptions)?;
        self.book = book;
        for gone in orphaned {
            count_dropped(&self.metrics, &gone.sink, "sink removed", gone.items);
        }
        // The writer moves the log itself, for a failure of that must not be missed.
        self.log_bytes = sqlite::log_length(&self.state.path);
        self.connection.pragma_update(None, "wal_autocheckpoint", 0)
    }

    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        // What an earlier process has left in the log.
        self.checkpoint();
        let mut group = VecDeque::new();
        loop {
            let first = if self.has_chores() {
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
            let mut bytes = first.as_ref().map_or(0, Command::bytes);
            group.extend(first);
            while !group.is_empty()
                && bytes < self.reserve.share()
                && group.len() < GROUP_COMMANDS
                && let Ok(next) = queue.try_recv()
            {
                bytes += next.bytes();
                group.push_back(next);
            }
            if let Some(damage) = self.damage.take_if(|damage| damage.is_due()) {
                self.replace(damage);
            }
            if let Some(damage) = &self.damage {
                refuse(&mut group, damage.reason());
                continue;
            }
            if !group.is_empty() {
                if self.reserve.is_full() {
                    self.refuse_without_room(&mut group);
                }
                self.has_failed = false;
                self.is_to_consider_shrinking |=
                    group.iter().any(|command| matches!(command, Command::Expire { .. }));
                self.commit(&mut group);
            }
            self.do_chores();
        }
    }

    /// Applies the group in one transaction; on failure nothing of it has happened.
    pub(super) fn commit(&mut self, group: &mut VecDeque<Command>) {
        let mut outcome = Outcome::default();
        let mut book = self.book.clone();
        let result = self.apply(group, &mut book, &mut outcome);
        match result {
            Ok(()) => {
                self.book = book;
                self.log_bytes += outcome.bytes + OVERHEAD_BYTES;
                self.set_problem(self.reserve.problem());
                self.metrics.commits.inc();
                self.metrics.committed.add(outcome.items);
                if !outcome.appended.is_empty() {
                    self.metrics.batches_per_commit.observe(outcome.appended.len() as f64);
                }
                for dropped in &outcome.dropped {
                    if let Some(subscription) = self.state.subscriptions.get(dropped.sink) {
                        let items = subscription.wanted(dropped.items);
                        count_dropped(&self.metrics, &subscription.sink, dropped.reason, items);
                    }
                }
                for passed in &outcome.settled {
                    let mut items = Items::default();
                    items.add(passed.signal, passed.items);
                    passed.tally.add(items);
                }
                self.show();
                // A receiver that is gone no longer wants the answer.
                outcome.appended.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
                outcome.done.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
                if outcome.is_suspect
                    && let Some(damage) = sqlite::corruption(&self.connection)
                {
                    self.replace(Corruption::new(damage));
                }
            }
            Err(error) => {
                let is_full = self.reserve.release_if_disk_full(&error, schema::KIND.name);
                let reason = if is_full { "the disk is full".to_owned() } else { error.to_string() };
                self.has_failed = true;
                self.tell("cannot write the outbox", &reason);
                self.set_problem(Some(reason.clone()));
                let unwritable = || AppendError::Unwritable(reason.clone());
                outcome.appended.into_iter().for_each(|reply| drop(reply.send(Err(unwritable()))));
                outcome.done.into_iter().for_each(|reply| drop(reply.send(Err(reason.clone()))));
                // Those that the transaction did not come to.
                refuse(group, &reason);
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
        book: &mut Watermarks,
        outcome: &mut Outcome,
    ) -> rusqlite::Result<()> {
        let limits = self.limits;
        let share = self.reserve.share();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now_ms = unix_millis();
        let mut advanced = false;
        while let Some(command) = group.pop_front() {
            match command {
                Command::Append { signal, body, items, reply } => {
                    let needed = body.bytes.len() as u64;
                    let max_bytes = limits.max_bytes.min(share);
                    if needed > max_bytes {
                        outcome.rejected.push((reply, AppendError::TooLarge { bytes: needed, max_bytes }));
                        continue;
                    }
                    outcome.appended.push(reply);
                    if !make_room(&transaction, book, outcome, needed, limits.max_bytes)? {
                        let full = AppendError::Full { waiting_bytes: book.bytes };
                        outcome.rejected.extend(outcome.appended.pop().map(|reply| (reply, full)));
                        continue;
                    }
                    transaction
                        .prepare_cached(
                            "INSERT INTO batch(id, received_ms, signal, items, unpacked_len, body)
                             VALUES (?, ?, ?, ?, ?, ?)",
                        )?
                        .execute(params![
                            book.last_id + 1,
                            now_ms,
                            signal,
                            items,
                            body.unpacked_len,
                            &body.bytes[..]
                        ])?;
                    book.last_id += 1;
                    book.bytes += needed;
                    outcome.bytes += body.log_bytes();
                    book.oldest_ms.get_or_insert(now_ms);
                    outcome.items.add(signal, u64::from(items));
                }
                Command::Advance { sink, to, passed, reply } => {
                    outcome.done.push(reply);
                    if let (Some(cursor), Some(subscription)) =
                        (book.cursors.get_mut(sink), self.state.subscriptions.get(sink))
                    {
                        // What is before the cursor has been given up, and counted, during the delivery.
                        outcome.settled.extend(passed.into_iter().filter(|passed| passed.id > *cursor));
                        *cursor = to.max(*cursor);
                        transaction
                            .prepare_cached("UPDATE cursor SET position = ? WHERE sink = ?")?
                            .execute(params![*cursor, subscription.sink])?;
                        advanced = true;
                    }
                }
                Command::Expire { now_ms } => {
                    expire(&transaction, book, outcome, now_ms - millis(limits.max_age))?;
                }
                Command::Examine => outcome.is_suspect = true,
                Command::Probe { reply } => {
                    outcome.done.push(reply);
                    transaction.execute("UPDATE probe SET at_ms = ?", [now_ms])?;
                }
            }
        }
        if advanced {
            book.follow(&transaction)?;
        }
        if book.has_passed_batches() {
            outcome.bytes += book.delete_some(&transaction, share)?;
        }
        transaction.commit()
    }

    /// Lets the handles see what is committed.
    pub(super) fn show(&self) {
        self.metrics.outbox_bytes.set(i64::try_from(self.book.bytes).unwrap_or(i64::MAX));
        *self.state.oldest_ms.lock().unwrap_or_else(PoisonError::into_inner) = self.book.oldest_ms;
        self.state
            .committed
            .send_if_modified(|last| mem::replace(last, self.book.last_id) != self.book.last_id);
        self.state.cursors.send_if_modified(|cursors| {
            let changed = *cursors != self.book.cursors;
            cursors.clone_from(&self.book.cursors);
            changed
        });
    }

    pub(super) fn set_problem(&self, problem: Option<String>) {
        *self.state.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

impl Command {
    /// About what it writes to the log.
    fn bytes(&self) -> u64 {
        match self {
            Self::Append { body, .. } => body.log_bytes(),
            _ => 0,
        }
    }
}

/// Tells everybody in the group that nothing comes of it.
fn refuse(group: &mut VecDeque<Command>, reason: &str) {
    for command in group.drain(..) {
        // A receiver that is gone no longer wants the answer.
        match command {
            Command::Append { reply, .. } => {
                drop(reply.send(Err(AppendError::Unwritable(reason.to_owned()))));
            }
            Command::Advance { reply, .. } | Command::Probe { reply } => {
                drop(reply.send(Err(reason.to_owned())));
            }
            Command::Expire { .. } | Command::Examine => {}
        }
    }
}
