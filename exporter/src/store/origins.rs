//! What many rows share: resources, scopes and names of services. Each is stored once, and deleted with the last trace
//! that uses it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{OptionalExtension, Transaction, params};
use sha2::{Digest, Sha256};

use super::service_name::name_of;
use crate::otlp::in_place::ResourceRef;

/// A resource and an instrumentation scope as protobuf, and the name of the service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Emitter {
    pub(super) resource: Bytes,
    pub(super) scope: Bytes,
    pub(super) service_name: Arc<str>,
}

/// The row ids of an [`Emitter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    /// The row of the table `origin`.
    pub(super) id: i64,
    resource: i64,
    scope: i64,
    /// The row of the service's name in the table `content`.
    pub(super) service: i64,
}

/// A cache of the row ids in the tables `content` and `origin`.
#[derive(Debug, Default)]
pub(super) struct Origins {
    contents: HashMap<Vec<u8>, i64>,
    /// By resource and scope.
    origins: HashMap<(i64, i64), i64>,
    /// The total size of the cached bodies.
    bytes: usize,
}

/// The maximum number of cached contents, and of cached origins.
const MAX_CACHED_IDS: usize = 4096;

/// The maximum size of the cached contents.
const MAX_CACHED_BYTES: usize = 4 << 20;

/// Larger contents are not cached.
const MAX_CACHED_CONTENT_BYTES: usize = 64 << 10;

impl Origins {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the row ids of this emitter, and inserts the rows that do not exist.
    pub(super) fn origin(&mut self, tx: &Transaction<'_>, emitter: &Emitter) -> rusqlite::Result<Origin> {
        let resource = self.content(tx, &emitter.resource)?;
        let scope = self.content(tx, &emitter.scope)?;
        let service = self.content(tx, emitter.service_name.as_bytes())?;
        let id = match self.origins.get(&(resource, scope)) {
            Some(id) => *id,
            None => {
                tx.prepare_cached("INSERT OR IGNORE INTO origin VALUES (NULL, ?, ?, 0)")?
                    .execute([resource, scope])?;
                let id = tx
                    .prepare_cached("SELECT id FROM origin WHERE resource = ? AND scope = ?")?
                    .query_row([resource, scope], |row| row.get(0))?;
                if self.origins.len() >= MAX_CACHED_IDS {
                    self.origins.clear();
                }
                self.origins.insert((resource, scope), id);
                id
            }
        };
        Ok(Origin { id, resource, scope, service })
    }

    /// Returns the service of a stored origin: the row of its name in the table `content`, and the name.
    pub(super) fn service_of(
        &mut self,
        tx: &Transaction<'_>,
        origin: i64,
    ) -> rusqlite::Result<(i64, String)> {
        let name = tx
            .prepare_cached("SELECT body FROM content WHERE id = (SELECT resource FROM origin WHERE id = ?)")?
            .query_row([origin], |row| Ok(name_of(ResourceRef(row.get_ref(0)?.as_blob()?)).into_owned()))?;
        Ok((self.content(tx, name.as_bytes())?, name))
    }

    /// Returns the row id of this content, and inserts the row if it does not exist.
    pub(super) fn content(&mut self, tx: &Transaction<'_>, body: &[u8]) -> rusqlite::Result<i64> {
        if let Some(id) = self.contents.get(body) {
            return Ok(*id);
        }
        let digest = digest(&[body]);
        let known = tx
            .prepare_cached("SELECT id FROM content WHERE digest = ? AND body = ?")?
            .query_row(params![digest, body], |row| row.get(0))
            .optional()?;
        let id = match known {
            Some(id) => id,
            None => {
                tx.prepare_cached("INSERT INTO content VALUES (NULL, ?, 0, ?)")?
                    .execute(params![digest, body])?;
                tx.last_insert_rowid()
            }
        };
        if body.len() <= MAX_CACHED_CONTENT_BYTES {
            if self.contents.len() >= MAX_CACHED_IDS || self.bytes + body.len() > MAX_CACHED_BYTES {
                self.contents.clear();
                self.bytes = 0;
            }
            self.bytes += body.len();
            self.contents.insert(body.to_owned(), id);
        }
        Ok(id)
    }
}

/// The newest traces that a transaction adds to origins and contents.
#[derive(Debug, Default)]
pub(super) struct Newest {
    origins: HashMap<i64, i64>,
    contents: HashMap<i64, i64>,
}

impl Newest {
    /// Records that an item of this trace uses this origin.
    pub(super) fn add(&mut self, origin: Origin, trace: i64) {
        raise(&mut self.origins, origin.id, trace);
        for content in [origin.resource, origin.scope, origin.service] {
            self.add_content(content, trace);
        }
    }

    pub(super) fn add_content(&mut self, content: i64, trace: i64) {
        raise(&mut self.contents, content, trace);
    }

    pub(super) fn save(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        for (table, rows) in [("origin", &self.origins), ("content", &self.contents)] {
            let mut update = tx.prepare_cached(&format!(
                "UPDATE {table} SET newest_trace = ?1 WHERE id = ?2 AND newest_trace < ?1"
            ))?;
            for (id, trace) in rows {
                update.execute([trace, id])?;
            }
        }
        Ok(())
    }
}

fn raise(newest: &mut HashMap<i64, i64>, id: i64, trace: i64) {
    let known = newest.entry(id).or_insert(trace);
    *known = trace.max(*known);
}

/// Deletes origins and contents that no trace uses, about `max_bytes` of them. Returns whether it has deleted any.
pub(super) fn delete_unused(tx: &Transaction<'_>, max_bytes: i64) -> rusqlite::Result<bool> {
    const MAX_ROWS: i64 = 1024;
    let oldest: i64 = tx
        .prepare_cached("SELECT coalesce(min(seq), ?) FROM trace")?
        .query_row([i64::MAX], |row| row.get(0))?;
    let origins = tx
        .prepare_cached(
            "DELETE FROM origin WHERE id IN
                 (SELECT id FROM origin WHERE newest_trace < ? ORDER BY newest_trace LIMIT ?)",
        )?
        .execute([oldest, MAX_ROWS])?;
    let mut unused = tx.prepare_cached(
        "SELECT id, length(body) FROM content WHERE newest_trace < ? ORDER BY newest_trace LIMIT ?",
    )?;
    let mut contents = Vec::new();
    let mut bytes = 0;
    let mut rows = unused.query([oldest, MAX_ROWS])?;
    while bytes < max_bytes
        && let Some(row) = rows.next()?
    {
        contents.push(row.get::<_, i64>(0)?);
        bytes += row.get::<_, i64>(1)?;
    }
    let mut delete = tx.prepare_cached("DELETE FROM content WHERE id = ?")?;
    for id in &contents {
        delete.execute([id])?;
    }
    Ok(origins > 0 || !contents.is_empty())
}

/// Returns the first 8 bytes of the SHA-256 of these parts, to look them up: an index of whole bodies would double the
/// file.
pub(super) fn digest(parts: &[&[u8]]) -> i64 {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}
