//! A damaged outbox: a new file takes its place, with what can be read of the old one.

use rusqlite::{Connection, params};

use super::batch::Signal;
use super::book::Book;
use super::writer::Writer;
use super::{rescue, schema};
use crate::clock::unix_millis;
use crate::log::{self, Severity, Value};
use crate::metrics::Metrics;
use crate::room::Room;
use crate::sqlite::{self, Aside, Opened};

/// A file that has to be replaced, or has been and is not carried over yet.
#[derive(Debug)]
pub(super) struct Damage {
    reason: String,
    found: Found,
    /// It has been tried to set it aside.
    was_tried: bool,
    /// Where it is, and earlier ones that nobody has seen to, once they are out of the way.
    set_aside: Vec<Aside>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// What the file says is all that is known.
    AtTheStart,
    /// What this process knows is newer than what can be read of the file.
    WhileRunning,
}

impl Damage {
    pub(super) fn new(reason: String) -> Self {
        Self { reason, found: Found::WhileRunning, was_tried: false, set_aside: Vec::new() }
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }
}

/// Carries over what can be read of files that were set aside, at the start; what is left to do, if that does not work.
pub(super) fn see_to(
    set_aside: Vec<Aside>,
    connection: &mut Connection,
    room: &Room,
    metrics: &Metrics,
) -> Option<Damage> {
    if set_aside.is_empty() {
        return None;
    }
    metrics.outbox_damaged.inc_by(set_aside.len() as u64);
    let mut carried = carry_over_at_the_start(&set_aside, connection, metrics);
    if matches!(&carried, Err(error) if room.ends_with(error, schema::KIND.name)) {
        carried = carry_over_at_the_start(&set_aside, connection, metrics);
    }
    match carried {
        Ok(()) => {
            are_done(&set_aside);
            None
        }
        Err(error) => {
            let reason = format!("cannot carry over a damaged outbox: {error}");
            log::line(
                Severity::Error,
                "cannot carry over a damaged outbox yet",
                &[("error", Value::Str(&reason))],
            );
            Some(Damage { reason, found: Found::AtTheStart, was_tried: true, set_aside })
        }
    }
}

fn carry_over_at_the_start(
    set_aside: &[Aside],
    connection: &mut Connection,
    metrics: &Metrics,
) -> rusqlite::Result<()> {
    for aside in set_aside {
        rescue::carry_over(aside, connection, 0)?;
    }
    let lost = rescue::missing(connection)?;
    rescue::tell_lost(metrics, lost);
    Ok(())
}

fn are_done(set_aside: &[Aside]) {
    for aside in set_aside {
        if let Err(error) = aside.is_done() {
            // It is carried over once more at the next start, which delivers twice what was in it and loses nothing.
            let error = format!("{}: {error}", aside.pending().display());
            let fields = [("error", Value::Str(&error))];
            log::line(Severity::Warning, "cannot rename a damaged outbox that was carried over", &fields);
        }
    }
}

impl Writer {
    /// Puts a new file in the place of a damaged one, with what can be read of it.
    ///
    /// Until that has worked it is tried again with each group, and nothing else is done.
    pub(super) fn replace(&mut self, damage: Damage) {
        let reason = damage.reason.clone();
        self.damage = Some(damage);
        match self.try_replace() {
            Ok(()) => self.damage = None,
            Err(error) => {
                self.set_problem(Some(reason));
                self.tell("cannot replace the damaged outbox", &format!("{error:#}"));
            }
        }
    }

    fn try_replace(&mut self) -> anyhow::Result<()> {
        let Some(damage) = &mut self.damage else { return Ok(()) };
        if damage.set_aside.is_empty() {
            // Nobody may have the file open when it is renamed.
            self.connection = Connection::open_in_memory()?;
            let path = &self.state.path;
            let Opened { connection, set_aside } = if std::mem::replace(&mut damage.was_tried, true) {
                // The file of this name may be the new one.
                sqlite::open_or_replace(path, &schema::KIND)?
            } else {
                sqlite::replace(path, &schema::KIND, &damage.reason)?
            };
            self.connection = connection;
            damage.set_aside = set_aside;
            self.metrics.outbox_damaged.inc();
        }
        let (found, set_aside) = (damage.found, damage.set_aside.clone());
        let carried = match found {
            Found::AtTheStart => {
                carry_over_at_the_start(&set_aside, &mut self.connection, &self.metrics).map(|()| 0)
            }
            Found::WhileRunning => self.carry_over(&set_aside),
        };
        let lost = carried.inspect_err(|error| {
            self.room.ends_with(error, schema::KIND.name);
        })?;
        self.connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let (book, _) = Book::open(&self.connection, &self.state.subscriptions)?;
        self.book = book;
        rescue::tell_lost(&self.metrics, lost);
        are_done(&set_aside);
        self.state.file.send_modify(|file| *file += 1);
        self.show();
        Ok(())
    }

    /// Carries over what no sink has passed yet; how many batches of it are lost.
    fn carry_over(&mut self, set_aside: &[Aside]) -> rusqlite::Result<i64> {
        let passed = self.book.cursors.iter().copied().min().unwrap_or(0);
        for aside in set_aside {
            rescue::carry_over(aside, &mut self.connection, passed)?;
        }
        let transaction = self.connection.transaction()?;
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
        Ok((last_id - passed - kept).max(0))
    }
}
