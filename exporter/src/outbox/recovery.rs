//! A damaged outbox: it is set aside, and what can still be read of it is carried over to a new file.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row, params};

use super::schema::PAGE_BYTES;
use crate::log::{self, Severity, SlowWork, Value};
use crate::metrics::Metrics;
use crate::storage::quarantine::Quarantined;
use crate::storage::sqlite;

/// Batches that are carried over in one commit, if they are not too large for it before.
const STEP: usize = 64;

/// Carries over the cursors, and the batches that can be read after this id, or after what every sink had passed; tells how
/// far that went.
///
/// What is there already stays as it is, so that this can be done again; which it has to be after an error, for that is
/// one of the new file, or of the moment. The log of the new file does not get much longer than `max_bytes`.
pub(super) fn carry_over(
    aside: &Quarantined,
    into: &mut Connection,
    after: Option<i64>,
    max_bytes: u64,
) -> rusqlite::Result<()> {
    let pages = i64::try_from(max_bytes / 2 / PAGE_BYTES).unwrap_or(i64::MAX);
    into.pragma_update(None, "wal_autocheckpoint", pages.max(1))?;
    let slow = SlowWork::watch("carrying over a damaged outbox", &aside.pending());
    let mut copy = Copy { into, max_bytes: max_bytes / 2, copied: 0 };
    let result = copy.all(&aside.pending(), after);
    drop(slow);
    let error = result?.map_or_else(|| "none".to_owned(), |error| error.to_string());
    log::line(
        Severity::Warning,
        "carried over what could be read of a damaged outbox",
        &[
            ("quarantined", Value::Fmt(format_args!("{}", aside.path.display()))),
            ("batches", Value::U64(copy.copied)),
            ("error", Value::Str(&error)),
        ],
    );
    Ok(())
}

struct Copy<'c> {
    into: &'c mut Connection,
    /// Of one commit.
    max_bytes: u64,
    copied: u64,
}

impl Copy<'_> {
    /// Returns why it was not everything.
    fn all(&mut self, aside: &Path, after: Option<i64>) -> rusqlite::Result<Option<rusqlite::Error>> {
        // Not for reading only: the log beside it has to be taken in.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let from = match Connection::open_with_flags(aside, flags) {
            Ok(from) => from,
            // Somebody has taken it away.
            Err(error) if !aside.exists() => return Ok(Some(error)),
            Err(error) => return unreadable(error).map(Some),
        };
        from.busy_timeout(sqlite::BUSY)?;
        let passed = self.cursors(&from)?;
        let after = after.or(passed).unwrap_or(0);
        let last = self.batches(&from, "ORDER BY id", after)?;
        // From the other end to the place where it is damaged.
        let at_the_end = self.batches(&from, "ORDER BY id DESC", last.0)?;
        Ok(last.1.or(at_the_end.1))
    }

    /// Copies the cursors, none of which goes back; returns the least of them.
    ///
    /// A sink whose cursor cannot be read gets again what it had.
    fn cursors(&mut self, from: &Connection) -> rusqlite::Result<Option<i64>> {
        let read = || -> rusqlite::Result<Vec<(String, i64)>> {
            from.prepare("SELECT sink, position FROM cursor")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        let cursors = read().or_else(|error| unreadable(error).map(|_| Vec::new()))?;
        for (sink, position) in &cursors {
            self.into.execute(
                "INSERT INTO cursor(sink, position) VALUES (?, ?)
                 ON CONFLICT(sink) DO UPDATE SET position = max(position, excluded.position)",
                params![sink, position],
            )?;
        }
        Ok(cursors.iter().map(|(_, position)| *position).min())
    }

    /// Copies the batches after this id until one cannot be read; returns the id of the last one, and why it was the last.
    fn batches(
        &mut self,
        from: &Connection,
        order: &str,
        after: i64,
    ) -> rusqlite::Result<(i64, Option<rusqlite::Error>)> {
        let select = "SELECT id, received_ms, signal, items, unpacked_len, body FROM batch WHERE id > ?";
        let mut last = after;
        // What is damaged on this side is the end of what can be read.
        let mut statement = match from.prepare(&format!("{select} {order}")) {
            Ok(statement) => statement,
            Err(error) => return Ok((last, Some(unreadable(error)?))),
        };
        let mut batches = match statement.query_map([after], Batch::read) {
            Ok(batches) => batches,
            Err(error) => return Ok((last, Some(unreadable(error)?))),
        };
        loop {
            let transaction = self.into.transaction()?;
            let (mut written, mut bytes) = (0, 0);
            let mut end = None;
            for _ in 0..STEP {
                match batches.next() {
                    Some(Ok(batch)) => {
                        written += batch.write(&transaction)?;
                        bytes += batch.body.len() as u64;
                        last = batch.id;
                    }
                    other => {
                        end = Some(other.and_then(Result::err).map(unreadable).transpose()?);
                        break;
                    }
                }
                if bytes >= self.max_bytes {
                    break;
                }
            }
            transaction.commit()?;
            self.copied += written;
            if let Some(error) = end {
                return Ok((last, error));
            }
        }
    }
}

/// The error, if it is one of the damaged file.
fn unreadable(error: rusqlite::Error) -> rusqlite::Result<rusqlite::Error> {
    if sqlite::is_transient(&error) { Err(error) } else { Ok(error) }
}

/// How many batches are missing among those that were carried over, by their ids, which have no gaps.
///
/// What stood before the first or after the last that is known of is not among them.
pub(super) fn missing(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row(
        "WITH known(after, until) AS (SELECT
             coalesce((SELECT min(position) FROM cursor), (SELECT min(id) - 1 FROM batch), 0),
             max(coalesce((SELECT max(position) FROM cursor), 0), coalesce((SELECT max(id) FROM batch), 0)))
         SELECT until - after - (SELECT count(*) FROM batch WHERE id > after) FROM known",
        [],
        |row| row.get(0),
    )
}

/// Counts batches that could not be carried over.
pub(super) fn tell_lost(metrics: &Metrics, lost: i64) {
    if lost > 0 {
        metrics.outbox_batches_lost.inc_by(lost.unsigned_abs());
        let fields = [("batches", Value::I64(lost))];
        log::line(Severity::Error, "batches of a damaged outbox are lost", &fields);
    }
}

struct Batch {
    id: i64,
    received_ms: i64,
    signal: i64,
    items: i64,
    unpacked_len: i64,
    body: Vec<u8>,
}

impl Batch {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            received_ms: row.get(1)?,
            signal: row.get(2)?,
            items: row.get(3)?,
            unpacked_len: row.get(4)?,
            body: row.get(5)?,
        })
    }

    /// One, or none if it is there already.
    fn write(&self, into: &Connection) -> rusqlite::Result<u64> {
        let Self { id, received_ms, signal, items, unpacked_len, body } = self;
        let insert = "INSERT OR IGNORE INTO batch(id, received_ms, signal, items, unpacked_len, body)
                      VALUES (?, ?, ?, ?, ?, ?)";
        let written = into.prepare_cached(insert)?.execute(params![
            id,
            received_ms,
            signal,
            items,
            unpacked_len,
            body
        ])?;
        Ok(written as u64)
    }
}
