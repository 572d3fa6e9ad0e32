//! What the writer knows about the outbox without asking the database.

use rusqlite::{Connection, OptionalExtension, params};

use super::batch::Subscription;
use crate::otlp::Items;

/// The totals of what is committed.
///
/// A commit works on a copy, which takes the place of the original only if the commit succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watermarks {
    /// The id of the last batch ever appended.
    pub(super) last_id: i64,
    /// The size of all waiting bodies.
    pub(super) bytes: u64,
    /// When the oldest waiting batch was received.
    pub(super) oldest_ms: Option<i64>,
    /// For each sink the id of the last batch that it has passed.
    pub(super) cursors: Vec<i64>,
    /// The id of the last batch that every sink has passed: it waits no more.
    passed: i64,
    /// What every sink has passed is deleted up to this id.
    deleted: i64,
}

/// Batches waiting for a sink that is no longer configured.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Orphaned {
    pub(super) sink: String,
    pub(super) items: Items,
}

impl Watermarks {
    /// That of an outbox of which nothing is known, for so many sinks.
    pub(super) fn new(sinks: usize) -> Self {
        Self { last_id: 0, bytes: 0, oldest_ms: None, cursors: vec![0; sinks], passed: 0, deleted: 0 }
    }

    /// Reads the totals, and gives each sink a cursor: a new one starts with what still waits for any other.
    ///
    /// Cursors of sinks that are not in the list are removed, and returned with what they had not passed.
    pub(super) fn open(
        connection: &Connection,
        subscriptions: &[Subscription],
    ) -> rusqlite::Result<(Self, Vec<Orphaned>)> {
        let known: Vec<(String, i64)> = connection
            .prepare("SELECT sink, position FROM cursor")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let last_batch: i64 =
            connection.query_row("SELECT coalesce(max(id), 0) FROM batch", [], |row| row.get(0))?;
        let positions = || known.iter().map(|(_, position)| *position);
        let last_id = positions().fold(last_batch, i64::max);
        let first_position = positions().min().unwrap_or(0);

        let mut orphaned = Vec::new();
        for (sink, position) in &known {
            if !subscriptions.iter().any(|subscription| subscription.sink == *sink) {
                let items = items_between(connection, *position, last_id)?;
                orphaned.push(Orphaned { sink: sink.clone(), items });
                connection.execute("DELETE FROM cursor WHERE sink = ?", [sink])?;
            }
        }
        let mut cursors = Vec::new();
        for Subscription { sink, .. } in subscriptions {
            let position =
                known.iter().find(|(name, _)| name == sink).map_or(first_position, |(_, position)| *position);
            connection.execute("INSERT OR IGNORE INTO cursor VALUES (?, ?)", params![sink, position])?;
            cursors.push(position);
        }
        let passed = cursors.iter().copied().min().unwrap_or(0);
        let number = |sql: &str| connection.query_row(sql, [passed], |row| row.get::<_, Option<i64>>(0));
        let bytes = number("SELECT sum(length(body)) FROM batch WHERE id > ?")?.unwrap_or(0) as u64;
        let deleted = number("SELECT min(id) - 1 FROM batch WHERE id <= ?")?.unwrap_or(passed);
        // A cursor before the oldest batch stands for the same place as one right before it.
        let before = number("SELECT min(id) - 1 FROM batch WHERE id > ?")?.unwrap_or(last_id);
        cursors.iter_mut().for_each(|cursor| *cursor = before.max(*cursor));
        let mut book = Self { last_id, bytes, oldest_ms: None, cursors, passed, deleted };
        book.read_oldest(connection)?;
        Ok((book, orphaned))
    }

    /// Takes note that cursors have moved: what every sink has passed waits no more.
    pub(super) fn follow(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let passed = self.cursors.iter().copied().min().unwrap_or(0);
        if passed > self.passed {
            let bytes: i64 = connection
                .prepare_cached("SELECT coalesce(sum(length(body)), 0) FROM batch WHERE id > ? AND id <= ?")?
                .query_row([self.passed, passed], |row| row.get(0))?;
            self.bytes = self.bytes.saturating_sub(bytes as u64);
            self.passed = passed;
            self.read_oldest(connection)?;
        }
        Ok(())
    }

    /// The id of the last batch that every sink has passed.
    pub(super) fn passed(&self) -> i64 {
        self.passed
    }

    /// Whether there is something that every sink has passed and that is still in the file.
    pub(super) fn has_passed_batches(&self) -> bool {
        self.deleted < self.passed
    }

    /// Deletes of what every sink has passed some batches, the last of which reaches this size; how large they were.
    ///
    /// In steps, for each takes about as much room in the log as it gives back in the end.
    pub(super) fn delete_some(&mut self, connection: &Connection, max_bytes: u64) -> rusqlite::Result<u64> {
        let (mut until, mut bytes) = (self.passed, 0);
        {
            let mut oldest =
                connection.prepare_cached("SELECT id, length(body) FROM batch WHERE id <= ? ORDER BY id")?;
            let mut rows = oldest.query([self.passed])?;
            while let Some(row) = rows.next()? {
                bytes += row.get::<_, i64>(1)? as u64;
                if bytes >= max_bytes {
                    until = row.get(0)?;
                    break;
                }
            }
        }
        connection.prepare_cached("DELETE FROM batch WHERE id <= ?")?.execute([until])?;
        self.deleted = until;
        Ok(bytes)
    }

    fn read_oldest(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.oldest_ms = connection
            .prepare_cached("SELECT received_ms FROM batch WHERE id > ? ORDER BY id LIMIT 1")?
            .query_row([self.passed], |row| row.get(0))
            .optional()?;
        Ok(())
    }
}

/// What is in the batches after the first id, up to and with the second.
pub(super) fn items_between(connection: &Connection, after: i64, until: i64) -> rusqlite::Result<Items> {
    let mut items = Items::default();
    let mut statement = connection
        .prepare_cached("SELECT signal, sum(items) FROM batch WHERE id > ? AND id <= ? GROUP BY signal")?;
    let mut rows = statement.query([after, until])?;
    while let Some(row) = rows.next()? {
        items.add(row.get(0)?, row.get::<_, i64>(1)?.max(0).cast_unsigned());
    }
    Ok(items)
}
