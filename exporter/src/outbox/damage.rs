//! A damaged outbox: a new file takes its place, with what can be read of the old one.

use std::mem;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use rusqlite::{Connection, params};

use super::batch::Signal;
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
    /// What is wrong, or went wrong with the last try to mend it.
    reason: String,
    found: Found,
    /// It has been tried to set it aside.
    was_tried: bool,
    /// Where it is, and earlier ones that nobody has seen to, once they are out of the way.
    set_aside: Vec<Aside>,
    next_try: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// What the file says is all that is known.
    AtTheStart,
    /// What this process knows is newer than what can be read of the file.
    WhileRunning,
}

/// Between two tries there is this pause, and several times what a try takes, for each reads the whole file.
const PAUSE: Duration = Duration::from_millis(250);

impl Damage {
    pub(super) fn new(reason: String) -> Self {
        Self {
            reason,
            found: Found::WhileRunning,
            was_tried: false,
            set_aside: Vec::new(),
            next_try: Instant::now(),
        }
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn is_due(&self) -> bool {
        self.next_try <= Instant::now()
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
    let mut carried = carry_over_at_the_start(&set_aside, connection, room);
    if matches!(&carried, Err(error) if room.ends_with(error, schema::KIND.name)) {
        carried = carry_over_at_the_start(&set_aside, connection, room);
    }
    match carried {
        Ok(lost) => {
            rescue::tell_lost(metrics, lost);
            are_done(&set_aside);
            None
        }
        Err(error) => {
            let error = error.to_string();
            log::line(Severity::Error, "cannot replace the damaged outbox", &[("error", Value::Str(&error))]);
            let reason = format!("cannot replace the damaged outbox: {error}");
            let found = Found::AtTheStart;
            Some(Damage { reason, found, was_tried: true, set_aside, next_try: Instant::now() })
        }
    }
}

/// Carries over what any sink has not passed by what the files say; how many batches of it are lost.
fn carry_over_at_the_start(
    set_aside: &[Aside],
    connection: &mut Connection,
    room: &Room,
) -> rusqlite::Result<i64> {
    for aside in set_aside {
        rescue::carry_over(aside, connection, None, room.share())?;
    }
    rescue::missing(connection)
}

fn are_done(set_aside: &[Aside]) {
    for aside in set_aside {
        if let Err(error) = aside.is_done() {
            // It is carried over once more at the next start, which finds what every sink has passed by its cursor.
            let error = format!("{}: {error}", aside.pending().display());
            let fields = [("error", Value::Str(&error))];
            log::line(Severity::Warning, "cannot rename a damaged outbox that was carried over", &fields);
        }
    }
}

impl Writer {
    /// Puts a new file in the place of a damaged one, with what can be read of it.
    ///
    /// Until that has worked it is tried again, and nothing else is done.
    pub(super) fn replace(&mut self, mut damage: Damage) {
        let start = Instant::now();
        if let Err(error) = self.try_replace(&mut damage) {
            let error = format!("{error:#}");
            self.tell("cannot replace the damaged outbox", &error);
            self.room.release_if_needed(schema::KIND.name);
            damage.reason = format!("cannot replace the damaged outbox: {error}");
            damage.next_try = Instant::now() + PAUSE + 4 * start.elapsed();
            self.set_problem(Some(damage.reason.clone()));
            self.damage = Some(damage);
        }
    }

    fn try_replace(&mut self, damage: &mut Damage) -> anyhow::Result<()> {
        if damage.set_aside.is_empty() {
            // Nobody may have the file open for writing when it is renamed.
            self.connection = Connection::open_in_memory()?;
            let path = &self.state.path;
            let Opened { connection, set_aside } = if mem::replace(&mut damage.was_tried, true) {
                // The file of this name may be the new one.
                sqlite::open_or_replace(path, &schema::KIND)?
            } else {
                sqlite::replace(path, &schema::KIND, &damage.reason)?
            };
            self.connection = connection;
            self.metrics.outbox_damaged.inc_by(u64::from(!set_aside.is_empty()));
            damage.set_aside = set_aside;
        }
        let carried = match damage.found {
            Found::AtTheStart => carry_over_at_the_start(&damage.set_aside, &mut self.connection, &self.room),
            Found::WhileRunning => self.carry_over(&damage.set_aside),
        };
        let lost = carried.map_err(|error| {
            self.room.ends_with(&error, schema::KIND.name);
            if sqlite::is_damage(&error) {
                // Damage of the old file is no error: it is the new one, which is looked at next time.
                damage.set_aside.clear();
            }
            // SQLite's errors name their cause in their text already.
            anyhow!(error.to_string())
        })?;
        self.open_book()?;
        rescue::tell_lost(&self.metrics, lost);
        are_done(&damage.set_aside);
        self.state.file.send_modify(|file| *file += 1);
        self.show();
        Ok(())
    }

    /// Carries over what not every sink has passed; how many batches of it are lost.
    fn carry_over(&mut self, set_aside: &[Aside]) -> rusqlite::Result<i64> {
        let passed = self.book.cursors.iter().copied().min().unwrap_or(0);
        for aside in set_aside {
            rescue::carry_over(aside, &mut self.connection, Some(passed), self.room.share())?;
        }
        let transaction = self.connection.transaction()?;
        for (subscription, cursor) in self.state.subscriptions.iter().zip(&self.book.cursors) {
            transaction
                .execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", params![subscription.sink, cursor])?;
        }
        let last_id = self.book.last_id;
        // An empty request stands for what was lost at the end, so that no id is given again.
        let (kept, newest): (i64, i64) = transaction.query_row(
            "SELECT count(*) FILTER (WHERE length(body) > 0), coalesce(max(id), 0) FROM batch WHERE id > ?",
            [passed],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        if newest < last_id {
            transaction.execute(
                "INSERT INTO batch(id, received_ms, signal, items, unpacked_len, body) VALUES (?, ?, ?, 0, 0, x'')",
                params![last_id, unix_millis(), Signal::Traces],
            )?;
        }
        transaction.commit()?;
        Ok((last_id - passed - kept).max(0))
    }
}
