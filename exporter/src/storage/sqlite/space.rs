//! The space of a SQLite file on the disk: the WAL, the free pages, and what is allocated for later.

use std::path::Path;

use rusqlite::Connection;

use super::super::allocate;
use super::with_suffix;

/// Moves the WAL into the file, and optionally truncates it. Returns how many pages could not be moved yet.
///
/// A reader of an older state prevents pages from being moved until it has finished.
pub(crate) fn checkpoint(connection: &Connection, truncates: bool) -> rusqlite::Result<u64> {
    let mode = if truncates { "TRUNCATE" } else { "PASSIVE" };
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let (written, moved): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok((written - moved).max(0).unsigned_abs())
    })
}

/// Returns the length of the file's WAL in bytes.
pub(crate) fn wal_length(path: &Path) -> u64 {
    std::fs::metadata(with_suffix(path, "-wal")).map_or(0, |metadata| metadata.len())
}

/// Makes the file's WAL at least this long, so that SQLite needs no space on the disk to write up to there.
///
/// SQLite ignores the zeros after its last transaction. The caller makes sure that nobody writes the WAL.
pub(crate) fn allocate_wal(path: &Path, bytes: u64) -> std::io::Result<()> {
    let file = std::fs::File::options().append(true).open(with_suffix(path, "-wal"))?;
    let length = file.metadata()?.len();
    allocate::allocate(&file, length, bytes.saturating_sub(length))
}

/// Appends allocated zeros to the file of a database, which has this length, if the file system can do that without writing
/// them. SQLite ignores them.
pub(crate) fn allocate(file: &std::fs::File, length: u64, bytes: u64) -> std::io::Result<()> {
    allocate::try_allocate(file, length, bytes)
}

/// Limits the length of the database. A transaction that needs more fails as on a full disk.
pub(crate) fn limit_length(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    /// SQLite's own limit.
    const MAX_PAGES: u64 = 0xffff_fffe;
    let page_bytes: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let pages = (bytes / page_bytes.unsigned_abs().max(1)).min(MAX_PAGES);
    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
}

/// Removes this number of free pages from the file. Returns whether there may be more.
pub(crate) fn vacuum(connection: &Connection, pages: u64) -> rusqlite::Result<bool> {
    let free = || connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0));
    let before = free()?;
    // SQLite removes one page per step.
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({})", pages.max(1)))?;
    let mut steps = vacuum.query([])?;
    while steps.next()?.is_some() {}
    drop(steps);
    let after = free()?;
    Ok(0 < after && after < before)
}

/// Returns the size of the free pages of the file.
pub(crate) fn free_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    page_bytes(connection, "PRAGMA freelist_count")
}

/// Returns the size of all pages, free or not.
pub(crate) fn length_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    page_bytes(connection, "PRAGMA page_count")
}

/// Returns the size of the pages in use. SQLite reuses free pages before the file grows.
pub(crate) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    Ok(length_bytes(connection)?.saturating_sub(free_bytes(connection)?))
}

fn page_bytes(connection: &Connection, count: &str) -> rusqlite::Result<u64> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
    Ok(number(count)? * number("PRAGMA page_size")?)
}
