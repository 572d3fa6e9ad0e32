//! A damaged outbox: a new file takes its place, with what can be read of the old one.

use std::mem;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use rusqlite::{Connection, params};

use super::writer::Writer;
use super::{recovery, schema};
use crate::clock::unix_millis;
use crate::log::{self, Severity, Value};
use crate::metrics::Metrics;
use crate::otlp::Signal;
use crate::storage::DiskReserve;
use crate::storage::quarantine::{self, Opened, Quarantined};
use crate::storage::sqlite;

/// A file that has to be replaced, or has been and is not carried over yet.
#[derive(Debug)]
pub(super) struct Corruption {
    /// What is wrong, or went wrong with the last try to mend it.
    reason: String,
    found: Found,
    /// It has been tried to set it aside.
    was_tried: bool,
    /// Where it is, and earlier ones that nobody has seen to, once they are out of the way.
    quarantined: Vec<Quarantined>,
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

impl Corruption {
    pub(super) fn new(reason: String) -> Self {
        Self {
            reason,
            found: Found::WhileRunning,
            was_tried: false,
            quarantined: Vec::new(),
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
pub(super) fn recover_at_start(
    quarantined: Vec<Quarantined>,
    connection: &mut Connection,
    reserve: &DiskReserve,
    metrics: &Metrics,
) -> Option<Corruption> {
    if quarantined.is_empty() {
        return None;
    }
    metrics.outbox_damaged.inc_by(quarantined.len() as u64);
    let mut carried = carry_over_at_the_start(&quarantined, connection, reserve);
    if matches!(&carried, Err(error) if reserve.release_if_disk_full(error, schema::KIND.name)) {
        carried = carry_over_at_the_start(&quarantined, connection, reserve);
    }
    match carried {
        Ok(lost) => {
            recovery::tell_lost(metrics, lost);
            mark_recovered(&quarantined);
            None
        }
        Err(error) => {
            let error = error.to_string();
            log::line(Severity::Error, "cannot replace the damaged outbox", &[("error", Value::Str(&error))]);
            let reason = format!("cannot replace the damaged outbox: {error}");
            let found = Found::AtTheStart;
            Some(Corruption { reason, found, was_tried: true, quarantined, next_try: Instant::now() })
        }
    }
}

/// Carries over what any sink has not passed by what the files say; how many batches of it are lost.
fn carry_over_at_the_start(
    quarantined: &[Quarantined],
    connection: &mut Connection,
    reserve: &DiskReserve,
) -> rusqlite::Result<i64> {
    for aside in quarantined {
        recovery::carry_over(aside, connection, None, reserve.share())?;
    }
    recovery::missing(connection)
}

fn mark_recovered(quarantined: &[Quarantined]) {
    for aside in quarantined {
        if let Err(error) = aside.mark_recovered() {
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
    pub(super) fn replace(&mut self, mut damage: Corruption) {
        let start = Instant::now();
        if let Err(error) = self.try_replace(&mut damage) {
            let error = format!("{error:#}");
            self.tell("cannot replace the damaged outbox", &error);
            self.reserve.release_if_needed(schema::KIND.name);
            damage.reason = format!("cannot replace the damaged outbox: {error}");
            damage.next_try = Instant::now() + PAUSE + 4 * start.elapsed();
            self.set_problem(Some(damage.reason.clone()));
            self.damage = Some(damage);
        }
    }

    fn try_replace(&mut self, damage: &mut Corruption) -> anyhow::Result<()> {
        if damage.quarantined.is_empty() {
            // Nobody may have the file open for writing when it is renamed.
            self.connection = Connection::open_in_memory()?;
            let path = &self.state.path;
            let Opened { connection, quarantined } = if mem::replace(&mut damage.was_tried, true) {
                // The file of this name may be the new one.
                quarantine::open_or_replace(path, &schema::KIND)?
            } else {
                quarantine::replace(path, &schema::KIND, &damage.reason)?
            };
            self.connection = connection;
            self.metrics.outbox_damaged.inc_by(u64::from(!quarantined.is_empty()));
            damage.quarantined = quarantined;
        }
        let carried = match damage.found {
            Found::AtTheStart => {
                carry_over_at_the_start(&damage.quarantined, &mut self.connection, &self.reserve)
            }
            Found::WhileRunning => self.carry_over(&damage.quarantined),
        };
        let lost = carried.map_err(|error| {
            self.reserve.release_if_disk_full(&error, schema::KIND.name);
            if sqlite::is_corrupt(&error) {
                // Corruption of the old file is no error: it is the new one, which is looked at next time.
                damage.quarantined.clear();
            }
            // SQLite's errors name their cause in their text already.
            anyhow!(error.to_string())
        })?;
        self.open_book()?;
        recovery::tell_lost(&self.metrics, lost);
        mark_recovered(&damage.quarantined);
        self.state.file.send_modify(|file| *file += 1);
        self.show();
        Ok(())
    }

    /// Carries over what not every sink has passed; how many batches of it are lost.
    fn carry_over(&mut self, quarantined: &[Quarantined]) -> rusqlite::Result<i64> {
        let passed = self.book.cursors.iter().copied().min().unwrap_or(0);
        for aside in quarantined {
            recovery::carry_over(aside, &mut self.connection, Some(passed), self.reserve.share())?;
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
