//! Recovery: copies the readable batches of a quarantined outbox to the new file.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::batch::{BatchContent, Subscription};
use super::commit_mark::CommitMark;
use super::schema::PAGE_BYTES;
use super::wal_only;
use super::watermarks::Watermarks;
use crate::clock::unix_millis;
use crate::log::{self, ProgressLog, Severity};
use crate::metrics::Metrics;
use crate::storage::quarantine::Quarantined;
use crate::storage::sqlite::{self, Access};

/// The maximum number of batches in one commit.
const MAX_COMMIT_BATCHES: usize = 64;

/// Recovers the cursors and the readable batches after this id, and logs the result. Without an id it uses the lowest
/// recovered cursor.
///
/// Fails only if the new file fails or the error is transient. The call can then be repeated, because it keeps the rows
/// that the new file already has. The WAL of the new file does not get much longer than `max_bytes`.
pub(super) fn recover(
    file: &Quarantined,
    into: &mut Connection,
    after: Option<i64>,
    max_bytes: u64,
) -> rusqlite::Result<()> {
    let pages = i64::try_from(max_bytes / 2 / PAGE_BYTES).unwrap_or(i64::MAX);
    into.pragma_update(None, "wal_autocheckpoint", pages.max(1))?;
    let slow = ProgressLog::start("recovering a corrupt outbox", &file.pending());
    let mut copy = Copier { into, max_bytes: max_bytes / 2, copied: 0 };
    let result = copy.file(&file.pending(), after);
    drop(slow);
    let error = text(result?);
    log::line(
        Severity::Warning,
        "recovered batches from a corrupt outbox",
        &[
            ("quarantined", log::Value::Fmt(format_args!("{}", file.path.display()))),
            ("batches", log::Value::U64(copy.copied)),
            ("error", log::Value::Str(&error)),
        ],
    );
    Ok(())
}

/// Copies the cursors and the readable batches after this id to a new file. Returns the first read error.
///
/// Fails as [`recover`] does.
pub(super) fn copy(
    from: &Connection,
    into: &mut Connection,
    after: i64,
    max_bytes: u64,
) -> rusqlite::Result<Option<rusqlite::Error>> {
    Copier { into, max_bytes: max_bytes / 2, copied: 0 }.all(from, Some(after))
}

fn text(error: Option<rusqlite::Error>) -> String {
    error.map_or_else(|| "none".to_owned(), |error| error.to_string())
}

struct Copier<'c> {
    into: &'c mut Connection,
    /// The size limit of one commit.
    max_bytes: u64,
    copied: u64,
}

impl Copier<'_> {
    fn file(&mut self, path: &Path, after: Option<i64>) -> rusqlite::Result<Option<rusqlite::Error>> {
        // Writable, because SQLite must also read the WAL beside the file.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = if wal_only::is_without_header(path) {
            wal_only::open(path).map(|(from, base)| (from, Some(base)))
        } else {
            Access::Exclusive.connect(path, flags).map(|from| (from, None))
        };
        match opened {
            Ok((from, _base)) => {
                sqlite::leave_wal_on_close(&from)?;
                self.all(&from, after)
            }
            // An operator has moved the file.
            Err(error) if !path.exists() => Ok(Some(error)),
            Err(error) => unreadable(error).map(Some),
        }
    }

    /// Copies everything that is readable. Returns the first read error.
    fn all(&mut self, from: &Connection, after: Option<i64>) -> rusqlite::Result<Option<rusqlite::Error>> {
        let lowest_cursor = self.cursors(from)?;
        let after = after.or(lowest_cursor).unwrap_or(0);
        self.verdicts(from)?;
        let (last_id, error) = self.batches(from, "ORDER BY id", after)?;
        // From the last batch back to the corrupt pages.
        let (_, error_from_end) = self.batches(from, "ORDER BY id DESC", last_id)?;
        Ok(error.or(error_from_end))
    }

    /// Copies the cursors, but never moves one back. Returns the lowest.
    ///
    /// A sink whose cursor is unreadable gets batches again that it had acknowledged.
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

    /// Copies the verdicts of tail sampling that are readable. Without a verdict, a sink gets the whole batch.
    fn verdicts(&mut self, from: &Connection) -> rusqlite::Result<()> {
        for (table, columns) in
            [("verdict", "batch, sink, verdicts"), ("decided", "batch, policy, at_ms, traces")]
        {
            let Ok(mut select) = from.prepare(&format!("SELECT {columns} FROM {table} ORDER BY batch"))
            else {
                // The file is older, or damaged.
                continue;
            };
            let count = select.column_count();
            let marks = vec!["?"; count].join(", ");
            let insert = format!("INSERT OR IGNORE INTO {table}({columns}) VALUES ({marks})");
            let mut rows = match select.query([]) {
                Ok(rows) => rows,
                Err(error) => {
                    unreadable(error)?;
                    continue;
                }
            };
            let mut has_more = true;
            while has_more {
                let transaction = self.into.transaction()?;
                let mut bytes = 0;
                while bytes < self.max_bytes {
                    let Some(row) = rows.next().or_else(|error| unreadable(error).map(|_| None))? else {
                        has_more = false;
                        break;
                    };
                    let values =
                        (0..count).map(|index| row.get(index)).collect::<rusqlite::Result<Vec<Value>>>();
                    // A damaged row is left out.
                    let Ok(values) = values else { continue };
                    bytes += values.iter().map(size_of_value).sum::<u64>();
                    let inserted =
                        transaction.prepare_cached(&insert)?.execute(rusqlite::params_from_iter(values));
                    if let Err(error) = inserted {
                        unreadable(error)?;
                    }
                }
                transaction.commit()?;
            }
        }
        Ok(())
    }

    /// Copies the batches after this id until one is unreadable. Returns the id of the last copied batch, and the error.
    fn batches(
        &mut self,
        from: &Connection,
        order: &str,
        after: i64,
    ) -> rusqlite::Result<(i64, Option<rusqlite::Error>)> {
        let select = "SELECT id, received_ms, signal, items, unpacked_len, body FROM batch WHERE id > ?";
        let mut last = after;
        // An error of the quarantined file ends the copy.
        let mut statement = match from.prepare(&format!("{select} {order}")) {
            Ok(statement) => statement,
            Err(error) => return Ok((last, Some(unreadable(error)?))),
        };
        let mut batches = match statement.query_map([after], BatchRow::read) {
            Ok(batches) => batches,
            Err(error) => return Ok((last, Some(unreadable(error)?))),
        };
        loop {
            let transaction = self.into.transaction()?;
            let (mut written, mut bytes) = (0, 0);
            let mut end = None;
            for _ in 0..MAX_COMMIT_BATCHES {
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

fn size_of_value(value: &Value) -> u64 {
    match value {
        Value::Blob(bytes) => bytes.len() as u64,
        Value::Text(text) => text.len() as u64,
        _ => 8,
    }
}

/// Returns the error as a value if the quarantined file is its cause. A transient error is returned as `Err`.
fn unreadable(error: rusqlite::Error) -> rusqlite::Result<rusqlite::Error> {
    if sqlite::is_transient(&error) { Err(error) } else { Ok(error) }
}

/// Sets the cursors and the last id of a new file as in the watermarks. Returns how many batches are missing that some sink
/// has not acknowledged.
pub(super) fn complete(
    connection: &mut Connection,
    subscriptions: &[Subscription],
    watermarks: &Watermarks,
) -> rusqlite::Result<i64> {
    let (acknowledged, last_id) = (watermarks.lowest_cursor(), watermarks.last_id);
    let transaction = connection.transaction()?;
    for (subscription, cursor) in subscriptions.iter().zip(&watermarks.cursors) {
        transaction
            .execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", params![subscription.sink, cursor])?;
    }
    let (recovered, newest): (i64, i64) = transaction.query_row(
        "SELECT count(*) FILTER (WHERE length(body) > 0), coalesce(max(id), 0) FROM batch WHERE id > ?",
        [acknowledged],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if newest < last_id {
        // An empty batch takes the last id, so that no id is reused.
        transaction.execute(
            "INSERT INTO batch(id, received_ms, signal, items, unpacked_len, body) VALUES (?, ?, ?, 0, 0, x'')",
            params![last_id, unix_millis(), BatchContent::Traces],
        )?;
    }
    transaction.commit()?;
    Ok((last_id - acknowledged - recovered).max(0))
}

/// Returns how many batches are missing, by the gaps in the recovered ids and by the commit mark.
///
/// Without a mark, batches before the first known id and after the last one are not included.
pub(super) fn missing(connection: &Connection, mark: Option<CommitMark>) -> rusqlite::Result<i64> {
    let (acknowledged, last_id) = mark.map(|mark| (mark.acknowledged, mark.last_id)).unzip();
    connection.query_row(
        "WITH known(after, until) AS (SELECT
             max(coalesce((SELECT min(position) FROM cursor), ?1, (SELECT min(id) - 1 FROM batch), 0),
                 coalesce(?1, 0)),
             max(coalesce((SELECT max(position) FROM cursor), 0), coalesce((SELECT max(id) FROM batch), 0),
                 coalesce(?2, 0)))
         SELECT until - after - (SELECT count(*) FROM batch WHERE id > after) FROM known",
        [acknowledged, last_id],
        |row| row.get(0),
    )
}

/// Returns how many batches are missing at the end of an intact file, by the commit mark.
pub(super) fn missing_at_end(connection: &Connection, mark: CommitMark) -> rusqlite::Result<i64> {
    let last_id: i64 = connection.query_row(
        "SELECT max(coalesce((SELECT max(position) FROM cursor), 0), coalesce((SELECT max(id) FROM batch), 0))",
        [],
        |row| row.get(0),
    )?;
    Ok(mark.last_id - last_id.max(mark.acknowledged))
}

/// Counts and logs batches that could not be recovered.
pub(super) fn count_dropped_batches(metrics: &Metrics, batches: i64) {
    if batches > 0 {
        metrics.outbox_batches_dropped.inc_by(batches.unsigned_abs());
        let fields = [("batches", log::Value::I64(batches))];
        log::line(Severity::Error, "corrupt outbox: batches not recoverable", &fields);
    }
}

struct BatchRow {
    id: i64,
    received_ms: i64,
    signal: i64,
    items: i64,
    unpacked_len: i64,
    body: Vec<u8>,
}

impl BatchRow {
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

    /// Inserts the batch. Returns the number of inserted rows: 0 if the batch already exists.
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
