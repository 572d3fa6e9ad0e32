//! What the writer knows about the outbox without asking the database.

use rusqlite::{Connection, OptionalExtension, params};

use super::batch::{Items, Subscription};

/// The totals of what is committed.
///
/// A commit works on a copy, which takes the place of the original only if the commit succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Book {
    /// The id of the last batch ever appended.
    pub(super) last_id: i64,
    /// The size of all waiting bodies.
    pub(super) bytes: u64,
    /// When the oldest waiting batch was received.
    pub(super) oldest_ms: Option<i64>,
    /// For each sink the id of the last batch that it has passed.
    pub(super) cursors: Vec<i64>,
}

/// Batches waiting for a sink that is no longer configured.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Orphaned {
    pub(super) sink: String,
    pub(super) items: Items,
}

impl Book {
    /// Reads the totals, and gives each sink a cursor: a new one starts with what still waits.
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
        let last_id = known.iter().map(|(_, position)| *position).fold(last_batch, i64::max);

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
            let position = known.iter().find(|(name, _)| name == sink).map_or(0, |(_, position)| *position);
            connection.execute("INSERT OR IGNORE INTO cursor VALUES (?, ?)", params![sink, position])?;
            cursors.push(position);
        }
        let mut book = Self { last_id, bytes: 0, oldest_ms: None, cursors };
        book.delete_passed(connection)?;
        book.bytes = connection
            .query_row("SELECT coalesce(sum(length(body)), 0) FROM batch", [], |row| row.get::<_, i64>(0))?
            as u64;
        book.read_oldest(connection)?;

        // A cursor before the oldest batch stands for the same place as one right before it.
        let oldest: Option<i64> = connection.query_row("SELECT min(id) FROM batch", [], |row| row.get(0))?;
        let before = oldest.map_or(book.last_id, |id| id - 1);
        book.cursors.iter_mut().for_each(|cursor| *cursor = before.max(*cursor));
        Ok((book, orphaned))
    }

    /// Deletes what every sink has passed.
    pub(super) fn delete_passed(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        match self.cursors.iter().min() {
            Some(passed) => self.delete_until(connection, *passed),
            None => Ok(()),
        }
    }

    /// Deletes all batches up to this id.
    pub(super) fn delete_until(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<()> {
        let bytes: i64 = connection
            .prepare_cached("SELECT coalesce(sum(length(body)), 0) FROM batch WHERE id <= ?")?
            .query_row([id], |row| row.get(0))?;
        connection.prepare_cached("DELETE FROM batch WHERE id <= ?")?.execute([id])?;
        self.bytes = self.bytes.saturating_sub(bytes as u64);
        self.read_oldest(connection)
    }

    fn read_oldest(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.oldest_ms = connection
            .prepare_cached("SELECT received_ms FROM batch ORDER BY id LIMIT 1")?
            .query_row([], |row| row.get(0))
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
