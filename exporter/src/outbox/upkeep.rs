//! What the writer does beside its commits: a full disk, a damaged file, and room that nobody needs any more.

use std::collections::VecDeque;
use std::path::PathBuf;

use rusqlite::{Connection, params};

use super::batch::Signal;
use super::book::Book;
use super::writer::{Command, Writer};
use super::{AppendError, rescue, schema};
use crate::clock::unix_millis;
use crate::log::{self, Severity, Value};
use crate::sqlite::{self, Opened};

/// A file that has to be replaced.
#[derive(Debug)]
pub(super) struct Damage {
    reason: String,
    /// Where it is, once it is out of the way.
    set_aside: Option<PathBuf>,
}

impl Damage {
    pub(super) fn new(reason: String) -> Self {
        Self { reason, set_aside: None }
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }
}

/// Free pages are kept for what comes next, up to this many bytes and as much as is in use.
const KEPT_BYTES: i64 = 16 << 20;

/// Pages that are given back in one go.
const PAGES: i64 = 16 * 1024;

impl Writer {
    /// Refuses what is new while the disk is full, so that the sinks can go on and what they have is deleted.
    pub(super) fn refuse_without_room(&mut self, group: &mut VecDeque<Command>) {
        if self.reserve.is_due() {
            if let Err(error) = shrink(&self.connection) {
                self.tell("cannot shrink the outbox", &error.to_string());
            }
            if self.reserve.restore() {
                return;
            }
        }
        let reason = "the disk is full";
        self.set_problem(Some(reason.to_owned()));
        for command in std::mem::take(group) {
            match command {
                Command::Append { reply, .. } => {
                    // A receiver that is gone no longer wants the answer.
                    let _ = reply.send(Err(AppendError::Unwritable(reason.to_owned())));
                }
                Command::Probe { reply } => drop(reply.send(Err(reason.to_owned()))),
                other => group.push_back(other),
            }
        }
    }

    /// Gives the room of what has been deleted back to the disk, when it is most of the file.
    pub(super) fn give_back(&self) {
        let result = free_and_used(&self.connection).and_then(|(free, used)| {
            if free > KEPT_BYTES && free > used { shrink(&self.connection) } else { Ok(()) }
        });
        if let Err(error) = result {
            self.tell("cannot shrink the outbox", &error.to_string());
        }
    }

    /// Puts a new file in the place of a damaged one, with what can be read of it.
    ///
    /// Until that has worked it is tried again with each group, and nothing else is done.
    pub(super) fn replace(&mut self, damage: Damage) {
        self.damage = Some(damage);
        if let Err(error) = self.try_replace() {
            self.tell("cannot replace the damaged outbox", &format!("{error:#}"));
        }
    }

    fn try_replace(&mut self) -> anyhow::Result<()> {
        let Some(damage) = &mut self.damage else { return Ok(()) };
        if damage.set_aside.is_none() {
            // Nobody may have the file open when it is renamed.
            self.connection = Connection::open_in_memory()?;
            let Opened { connection, set_aside } =
                sqlite::replace(&self.state.path, &schema::KIND, &damage.reason)?;
            self.connection = connection;
            damage.set_aside = set_aside;
            self.metrics.outbox_damaged.inc();
        }
        let passed = self.book.cursors.iter().copied().min().unwrap_or(0);
        if let Some(aside) = &damage.set_aside {
            rescue::carry_over(aside, &mut self.connection, passed);
        }
        let transaction = self.connection.transaction()?;
        // What this process knows is newer than what the file said.
        for (subscription, cursor) in self.state.subscriptions.iter().zip(&self.book.cursors) {
            transaction
                .execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", params![subscription.sink, cursor])?;
        }
        let last_id = self.book.last_id;
        let (kept, newest): (i64, i64) = transaction.query_row(
            "SELECT count(*), coalesce(max(id), 0) FROM batch WHERE id > ?",
            [passed],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        if newest < last_id {
            // An empty request stands for what was lost at the end, so that no id is given again.
            transaction.execute(
                "INSERT INTO batch(id, received_ms, signal, items, unpacked_len, body) VALUES (?, ?, ?, 0, 0, x'')",
                params![last_id, unix_millis(), Signal::Traces],
            )?;
        }
        transaction.commit()?;
        let (book, _) = Book::open(&self.connection, &self.state.subscriptions)?;
        self.book = book;
        let lost = (last_id - passed - kept).max(0);
        if lost > 0 {
            self.metrics.outbox_batches_lost.inc_by(lost.unsigned_abs());
            let fields = [("batches", Value::I64(lost)), ("error", Value::Str(&damage.reason))];
            log::line(Severity::Error, "batches of a damaged outbox are lost", &fields);
        }
        self.damage = None;
        self.state.file.send_modify(|file| *file += 1);
        self.show();
        Ok(())
    }

    fn tell(&self, what: &'static str, error: &str) {
        let path = self.state.path.display();
        log::repeated(
            Severity::Error,
            what,
            &[("path", Value::Fmt(format_args!("{path}"))), ("error", Value::Str(error))],
        );
    }
}

/// Bytes of the file.
fn free_and_used(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let page = number("PRAGMA page_size")?;
    let free = number("PRAGMA freelist_count")?;
    Ok((free * page, (number("PRAGMA page_count")? - free) * page))
}

/// Cuts free pages off the file, and empties the log.
fn shrink(connection: &Connection) -> rusqlite::Result<()> {
    // A step for each page.
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut steps = vacuum.query([])?;
    while steps.next()?.is_some() {}
    drop(steps);
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
