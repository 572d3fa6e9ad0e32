//! The one thread that writes the outbox: whatever waits goes into one commit.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::batch::{Items, Signal};
use super::book::{Book, items_between};
use super::cursor::Passed;
use super::packing::Packed;
use super::reserve::Reserve;
use super::upkeep::Damage;
use super::{AppendError, Limits, State};
use crate::clock::{millis, unix_millis};
use crate::log::{self, Severity, Value};
use crate::metrics::Metrics;
use crate::sqlite;

/// What the writer can be asked for; each reply is sent after the commit that it is part of.
#[derive(Debug)]
pub(super) enum Command {
    Append {
        signal: Signal,
        body: Packed,
        items: u32,
        reply: oneshot::Sender<Result<(), AppendError>>,
    },
    Advance {
        sink: usize,
        to: i64,
        /// What has become of the items up to there.
        passed: Vec<Passed>,
        reply: oneshot::Sender<Result<(), String>>,
    },
    Expire {
        now_ms: i64,
    },
    Probe {
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Somebody has read what cannot be right.
    Examine,
}

/// A commit takes at most about this much, so that a burst does not make the first of it wait for all of it.
const GROUP_BYTES: usize = 16 << 20;
const GROUP_COMMANDS: usize = 512;

pub(super) struct Writer {
    pub(super) connection: Connection,
    limits: Limits,
    pub(super) reserve: Reserve,
    /// What is wrong with the file, until there is another one.
    pub(super) damage: Option<Damage>,
    pub(super) book: Book,
    pub(super) state: Arc<State>,
    pub(super) metrics: Arc<Metrics>,
}

/// The replies and counts of one group, made before the commit and told after it.
#[derive(Default)]
struct Outcome {
    appended: Vec<oneshot::Sender<Result<(), AppendError>>>,
    items: Items,
    full: Vec<oneshot::Sender<Result<(), AppendError>>>,
    done: Vec<oneshot::Sender<Result<(), String>>>,
    dropped: Vec<Dropped>,
    passed: Vec<Passed>,
    is_suspect: bool,
}

struct Dropped {
    sink: usize,
    reason: &'static str,
    items: Items,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        limits: Limits,
        reserve: Reserve,
        state: Arc<State>,
        metrics: Arc<Metrics>,
    ) -> rusqlite::Result<Self> {
        let (book, orphaned) = Book::open(&connection, &state.subscriptions)?;
        for gone in orphaned {
            count_dropped(&metrics, &gone.sink, "sink removed", gone.items);
        }
        let writer = Self { connection, limits, reserve, damage: None, book, state, metrics };
        writer.show();
        Ok(writer)
    }

    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut group = VecDeque::new();
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = first.bytes();
            group.push_back(first);
            while bytes < GROUP_BYTES
                && group.len() < GROUP_COMMANDS
                && let Ok(next) = queue.try_recv()
            {
                bytes += next.bytes();
                group.push_back(next);
            }
            let is_time_to_tidy = group.iter().any(|command| matches!(command, Command::Expire { .. }));
            if let Some(damage) = self.damage.take() {
                self.replace(damage);
            }
            if let Some(damage) = &self.damage {
                refuse(&mut group, damage.reason());
                continue;
            }
            if !self.reserve.is_there() {
                self.refuse_without_room(&mut group);
            }
            self.commit(&mut group);
            if is_time_to_tidy {
                self.give_back();
            }
        }
    }

    /// Applies the group in one transaction; on failure nothing of it has happened.
    fn commit(&mut self, group: &mut VecDeque<Command>) {
        let mut outcome = Outcome::default();
        let mut book = self.book.clone();
        let result = self.apply(group, &mut book, &mut outcome);
        match result {
            Ok(()) => {
                self.book = book;
                if self.reserve.is_there() {
                    self.set_problem(None);
                }
                self.metrics.commits.inc();
                self.metrics.committed.add(outcome.items);
                if !outcome.appended.is_empty() {
                    self.metrics.batches_per_commit.observe(outcome.appended.len() as f64);
                }
                for dropped in &outcome.dropped {
                    if let Some(subscription) = self.state.subscriptions.get(dropped.sink) {
                        let items = dropped.items.wanted_by(subscription);
                        count_dropped(&self.metrics, &subscription.sink, dropped.reason, items);
                    }
                }
                for passed in &outcome.passed {
                    let mut items = Items::default();
                    items.add(passed.signal, passed.items);
                    passed.tally.add(items);
                }
                self.show();
                // A receiver that is gone no longer wants the answer.
                outcome.appended.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
                outcome.done.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
                if outcome.is_suspect
                    && let Some(damage) = sqlite::damage(&self.connection)
                {
                    self.replace(Damage::new(damage));
                }
            }
            Err(error) => {
                let reason = error.to_string();
                if sqlite::is_disk_full(&error) {
                    self.reserve.release();
                }
                let path = self.state.path.display();
                log::repeated(
                    Severity::Error,
                    "cannot write the outbox",
                    &[("path", Value::Fmt(format_args!("{path}"))), ("error", Value::Str(&reason))],
                );
                self.set_problem(Some(reason.clone()));
                let unwritable = || AppendError::Unwritable(reason.clone());
                outcome.appended.into_iter().for_each(|reply| drop(reply.send(Err(unwritable()))));
                outcome.done.into_iter().for_each(|reply| drop(reply.send(Err(reason.clone()))));
                // Those that the transaction did not come to.
                refuse(group, &reason);
                if sqlite::is_damage(&error) {
                    self.replace(Damage::new(reason));
                }
            }
        }
        let waiting_bytes = self.book.bytes;
        outcome.full.into_iter().for_each(|reply| drop(reply.send(Err(AppendError::Full { waiting_bytes }))));
    }

    fn apply(
        &mut self,
        group: &mut VecDeque<Command>,
        book: &mut Book,
        outcome: &mut Outcome,
    ) -> rusqlite::Result<()> {
        let limits = self.limits;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now_ms = unix_millis();
        let mut advanced = false;
        while let Some(command) = group.pop_front() {
            match command {
                Command::Append { signal, body, items, reply } => {
                    let needed = body.bytes.len() as u64;
                    outcome.appended.push(reply);
                    if !make_room(&transaction, book, outcome, needed, limits.max_bytes)? {
                        outcome.full.extend(outcome.appended.pop());
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
                    book.oldest_ms.get_or_insert(now_ms);
                    outcome.items.add(signal, u64::from(items));
                }
                Command::Advance { sink, to, passed, reply } => {
                    outcome.done.push(reply);
                    if let (Some(cursor), Some(subscription)) =
                        (book.cursors.get_mut(sink), self.state.subscriptions.get(sink))
                    {
                        // What is before the cursor has been given up, and counted, during the delivery.
                        outcome.passed.extend(passed.into_iter().filter(|passed| passed.id > *cursor));
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
            book.delete_passed(&transaction)?;
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
    fn bytes(&self) -> usize {
        match self {
            Self::Append { body, .. } => body.bytes.len(),
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

/// Makes the batch fit, if need be by giving up the oldest batches for the sinks that lag behind another sink.
///
/// So a sink that is down neither holds up the others nor fills the disk; but what no sink has yet is never given
/// up for new spans: those are refused, and their sender knows.
fn make_room(
    transaction: &Transaction<'_>,
    book: &mut Book,
    outcome: &mut Outcome,
    needed: u64,
    max_bytes: u64,
) -> rusqlite::Result<bool> {
    let excess = (book.bytes + needed).saturating_sub(max_bytes);
    if excess == 0 {
        return Ok(true);
    }
    // Some more than needed, so that this is not done again for the next batch.
    let wanted = excess.max(max_bytes / 64);
    let farthest = book.cursors.iter().copied().max().unwrap_or(0);
    let mut freed = 0;
    let mut until = None;
    {
        let mut oldest =
            transaction.prepare_cached("SELECT id, length(body) FROM batch WHERE id <= ? ORDER BY id")?;
        let mut rows = oldest.query([farthest])?;
        while freed < wanted
            && let Some(row) = rows.next()?
        {
            until = Some(row.get::<_, i64>(0)?);
            freed += row.get::<_, i64>(1)? as u64;
        }
    }
    if freed < excess {
        return Ok(false);
    }
    if let Some(until) = until {
        give_up(transaction, book, outcome, until, "outbox full")?;
    }
    Ok(true)
}

/// Gives up the batches that were received before the cut-off.
fn expire(
    transaction: &Transaction<'_>,
    book: &mut Book,
    outcome: &mut Outcome,
    cutoff_ms: i64,
) -> rusqlite::Result<()> {
    if book.oldest_ms.is_none_or(|oldest| oldest >= cutoff_ms) {
        return Ok(());
    }
    let first_kept: Option<i64> = transaction
        .prepare_cached("SELECT id FROM batch WHERE received_ms >= ? ORDER BY id LIMIT 1")?
        .query_map([cutoff_ms], |row| row.get(0))?
        .next()
        .transpose()?;
    let until = first_kept.map_or(book.last_id, |id| id - 1);
    give_up(transaction, book, outcome, until, "age")
}

/// Deletes the batches up to this id, and counts them for each sink that has not had them.
fn give_up(
    transaction: &Transaction<'_>,
    book: &mut Book,
    outcome: &mut Outcome,
    until: i64,
    reason: &'static str,
) -> rusqlite::Result<()> {
    for (sink, cursor) in book.cursors.iter().enumerate() {
        if *cursor < until {
            let items = items_between(transaction, *cursor, until)?;
            outcome.dropped.push(Dropped { sink, reason, items });
        }
    }
    for cursor in &mut book.cursors {
        *cursor = until.max(*cursor);
    }
    book.delete_until(transaction, until)
}

fn count_dropped(metrics: &Metrics, sink: &str, reason: &'static str, items: Items) {
    if items.is_none() {
        return;
    }
    metrics.dropped(sink, reason).add(items);
    log::repeated(
        Severity::Error,
        "spans given up",
        &[
            ("sink", Value::Str(sink)),
            ("reason", Value::Str(reason)),
            ("spans", Value::U64(items.spans)),
            ("log_records", Value::U64(items.log_records)),
        ],
    );
}
