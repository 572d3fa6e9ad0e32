//! The watermarks of the outbox: totals that the writer keeps in memory, so that it need not query them.

use rusqlite::{Connection, OptionalExtension, params};

use super::batch::{ContentItems, Subscription};

/// The totals of the committed batches.
///
/// A commit changes a copy. The copy replaces the original only if the commit succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watermarks {
    /// The id of the last batch ever appended.
    pub(super) last_id: i64,
    /// The size of all waiting bodies.
    pub(super) bytes: u64,
    /// When the oldest waiting batch was received.
    pub(super) oldest_ms: Option<i64>,
    /// For each sink, the id of the last batch that it has acknowledged.
    pub(super) cursors: Vec<i64>,
    /// The id of the last batch that every sink has acknowledged.
    acknowledged: i64,
    /// The id of the last batch that is deleted.
    deleted: i64,
    /// The id of the last batch with verdicts for all sinks with rules.
    pub(super) decided: i64,
}

/// The waiting items of a sink that is no longer configured.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Orphaned {
    pub(super) sink: String,
    pub(super) items: ContentItems,
}

impl Watermarks {
    /// Returns the watermarks of an empty outbox for this number of sinks.
    pub(super) fn new(sinks: usize) -> Self {
        Self {
            last_id: 0,
            bytes: 0,
            oldest_ms: None,
            cursors: vec![0; sinks],
            acknowledged: 0,
            deleted: 0,
            decided: 0,
        }
    }

    /// Reads the totals and creates missing cursors. A new sink starts with the oldest batch that waits for another sink.
    ///
    /// Removes the cursors of sinks that are not in the list, and returns the items that these had not acknowledged.
    pub(super) fn open(
        connection: &Connection,
        subscriptions: &[Subscription],
    ) -> rusqlite::Result<(Self, Vec<Orphaned>)> {
        let known: Vec<(String, i64)> = connection
            .prepare("SELECT sink, position FROM cursor")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        // The end of `batch` can be lost with a damaged file. Its ids are not reused while they have verdicts.
        let last_batch: i64 = connection.query_row(
            "SELECT max(coalesce((SELECT max(id) FROM batch), 0), coalesce((SELECT max(batch) FROM verdict), 0),
                        coalesce((SELECT max(batch) FROM decided), 0))",
            [],
            |row| row.get(0),
        )?;
        // Rows that no rule reads any more would stay for ever.
        if !subscriptions.iter().any(|subscription| subscription.has_rules) {
            connection.execute("DELETE FROM decided", [])?;
        }
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
        let acknowledged = cursors.iter().copied().min().unwrap_or(0);
        let number =
            |sql: &str| connection.query_row(sql, [acknowledged], |row| row.get::<_, Option<i64>>(0));
        let bytes = number("SELECT sum(length(body)) FROM batch WHERE id > ?")?.unwrap_or(0) as u64;
        let deleted = number("SELECT min(id) - 1 FROM batch WHERE id <= ?")?.unwrap_or(acknowledged);
        // A cursor far before the oldest batch moves right before it, so that the backlog counts only batches that exist.
        let before = number("SELECT min(id) - 1 FROM batch WHERE id > ?")?.unwrap_or(last_id);
        cursors.iter_mut().for_each(|cursor| *cursor = before.max(*cursor));
        let decided = last_decided(connection, subscriptions, &cursors)?;
        let mut watermarks =
            Self { last_id, bytes, oldest_ms: None, cursors, acknowledged, deleted, decided };
        watermarks.read_oldest(connection)?;
        Ok((watermarks, orphaned))
    }

    /// Updates the totals after cursors have moved.
    pub(super) fn update(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let acknowledged = self.lowest_cursor();
        if acknowledged > self.acknowledged {
            let bytes: i64 = connection
                .prepare_cached("SELECT coalesce(sum(length(body)), 0) FROM batch WHERE id > ? AND id <= ?")?
                .query_row([self.acknowledged, acknowledged], |row| row.get(0))?;
            self.bytes = self.bytes.saturating_sub(bytes as u64);
            self.acknowledged = acknowledged;
            self.read_oldest(connection)?;
        }
        Ok(())
    }

    /// Returns the lowest cursor: some sink waits for the batches after it.
    pub(super) fn lowest_cursor(&self) -> i64 {
        self.cursors.iter().copied().min().unwrap_or(0)
    }

    /// Returns the id of the last batch that every sink has acknowledged.
    pub(super) fn acknowledged(&self) -> i64 {
        self.acknowledged
    }

    /// Returns whether the file contains batches that every sink has acknowledged.
    pub(super) fn has_deletable_batches(&self) -> bool {
        self.deleted < self.acknowledged
    }

    /// Deletes the oldest batches that every sink has acknowledged, until their size reaches the limit. Returns their size.
    ///
    /// The limit is needed because a deletion takes about as much space in the WAL as it frees later.
    pub(super) fn delete_acknowledged(
        &mut self,
        connection: &Connection,
        max_bytes: u64,
    ) -> rusqlite::Result<u64> {
        let (mut until, mut bytes) = (self.acknowledged, 0);
        {
            let mut oldest =
                connection.prepare_cached("SELECT id, length(body) FROM batch WHERE id <= ? ORDER BY id")?;
            let mut rows = oldest.query([self.acknowledged])?;
            while let Some(row) = rows.next()? {
                bytes += row.get::<_, i64>(1)? as u64;
                if bytes >= max_bytes {
                    until = row.get(0)?;
                    break;
                }
            }
        }
        connection.prepare_cached("DELETE FROM batch WHERE id <= ?")?.execute([until])?;
        connection.prepare_cached("DELETE FROM verdict WHERE batch <= ?")?.execute([until])?;
        self.deleted = until;
        Ok(bytes)
    }

    fn read_oldest(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.oldest_ms = connection
            .prepare_cached("SELECT received_ms FROM batch WHERE id > ? ORDER BY id LIMIT 1")?
            .query_row([self.acknowledged], |row| row.get(0))
            .optional()?;
        Ok(())
    }
}

/// Returns the id of the last batch with verdicts for all sinks with rules. They are stored in the order of the batches.
fn last_decided(
    connection: &Connection,
    subscriptions: &[Subscription],
    cursors: &[i64],
) -> rusqlite::Result<i64> {
    let mut decided = None;
    for (subscription, cursor) in subscriptions.iter().zip(cursors) {
        if subscription.has_rules {
            let last: Option<i64> = connection
                .prepare_cached("SELECT max(batch) FROM verdict WHERE sink = ?")?
                .query_row([&subscription.sink], |row| row.get(0))?;
            let of_sink = last.map_or(*cursor, |last| last.max(*cursor));
            decided = Some(decided.map_or(of_sink, |lowest: i64| lowest.min(of_sink)));
        }
    }
    Ok(decided.unwrap_or(0))
}

/// Returns the items in the batches after the first id, up to and including the second.
pub(super) fn items_between(
    connection: &Connection,
    after: i64,
    until: i64,
) -> rusqlite::Result<ContentItems> {
    let mut items = ContentItems::default();
    let mut statement = connection
        .prepare_cached("SELECT signal, sum(items) FROM batch WHERE id > ? AND id <= ? GROUP BY signal")?;
    let mut rows = statement.query([after, until])?;
    while let Some(row) = rows.next()? {
        items.add(row.get(0)?, row.get::<_, i64>(1)?.max(0).cast_unsigned());
    }
    Ok(items)
}
