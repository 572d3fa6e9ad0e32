//! A damaged outbox: it is set aside, and what can still be read of it is carried over to a new file.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row, params};

use crate::log::{self, Severity, SlowWork, Value};

/// Batches that are carried over in one commit.
const STEP: usize = 64;

/// Carries over the batches after this id that can be read, and the cursors; tells how far that went.
///
/// What is there already stays as it is, so that this can be done again.
pub(super) fn carry_over(aside: &Path, into: &mut Connection, after: i64) {
    let slow = SlowWork::watch("carrying over a damaged outbox", aside);
    let mut carried = 0;
    let result = copy_all(aside, into, after, &mut carried);
    drop(slow);
    let error = result.map_or_else(|error| error.to_string(), |()| "none".to_owned());
    log::line(
        Severity::Warning,
        "carried over what could be read of a damaged outbox",
        &[
            ("set_aside", Value::Fmt(format_args!("{}", aside.display()))),
            ("batches", Value::U64(carried)),
            ("error", Value::Str(&error)),
        ],
    );
}

fn copy_all(aside: &Path, into: &mut Connection, after: i64, carried: &mut u64) -> rusqlite::Result<()> {
    // Not for reading only: the log beside it has to be taken in.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = Connection::open_with_flags(aside, flags)?;
    let last = copy(&from, into, "ORDER BY id", after, carried)?;
    // From the other end to the place where it is damaged.
    copy(&from, into, "ORDER BY id DESC", last, carried)?;
    copy_cursors(&from, into)
}

/// Copies the batches after this id until one cannot be read; returns the id of the last one.
fn copy(
    from: &Connection,
    into: &mut Connection,
    order: &str,
    after: i64,
    copied: &mut u64,
) -> rusqlite::Result<i64> {
    let select = "SELECT id, received_ms, signal, items, unpacked_len, body FROM batch WHERE id > ?";
    let mut last = after;
    // What goes wrong on this side is the end of what can be read.
    let Ok(mut statement) = from.prepare(&format!("{select} {order}")) else { return Ok(last) };
    let Ok(mut rows) = statement.query([after]) else { return Ok(last) };
    let mut at_end = false;
    while !at_end {
        let transaction = into.transaction()?;
        let mut written = 0;
        for _ in 0..STEP {
            let Ok(Some(batch)) = rows.next().map(|row| row.and_then(|row| Batch::read(row).ok())) else {
                at_end = true;
                break;
            };
            written += batch.write(&transaction)?;
            last = batch.id;
        }
        transaction.commit()?;
        *copied += written;
    }
    Ok(last)
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

/// A sink whose cursor cannot be read gets again what it had.
fn copy_cursors(from: &Connection, into: &Connection) -> rusqlite::Result<()> {
    let read = || -> rusqlite::Result<Vec<(String, i64)>> {
        from.prepare("SELECT sink, position FROM cursor")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    for (sink, position) in read().unwrap_or_default() {
        into.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", params![sink, position])?;
    }
    Ok(())
}
