//! A damaged outbox: a new file takes its place, with what can be read of the old one.

use std::path::PathBuf;

use rusqlite::{Connection, params};

use super::batch::Signal;
use super::book::Book;
use super::writer::Writer;
use super::{rescue, schema};
use crate::clock::unix_millis;
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

impl Writer {
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
            rescue::carry_over(aside, &mut self.connection, passed).inspect_err(|error| {
                self.room.ends_with(error, schema::KIND.name);
            })?;
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
        self.connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let (book, _) = Book::open(&self.connection, &self.state.subscriptions)?;
        self.book = book;
        let lost = (last_id - passed - kept).max(0);
        rescue::tell_lost(&self.metrics, lost);
        self.damage = None;
        self.state.file.send_modify(|file| *file += 1);
        self.show();
        Ok(())
    }
}
