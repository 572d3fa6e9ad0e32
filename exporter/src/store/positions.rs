//! How far tailed files have been read. A position is committed together with the lines before it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rusqlite::{Connection, Transaction, params};

/// How far the files of one log have been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadPositions {
    /// The path of the log.
    pub(crate) file: String,
    pub(crate) generations: Vec<ReadPosition>,
}

/// How far one file has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadPosition {
    pub(crate) target: PathBuf,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) offset: u64,
    pub(crate) head: Vec<u8>,
    pub(crate) tail: Vec<u8>,
    pub(crate) is_current: bool,
}

/// Replaces the positions of a log.
pub(super) fn save(tx: &Transaction<'_>, positions: &ReadPositions) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM position WHERE file = ?")?.execute([&positions.file])?;
    let mut insert = tx.prepare_cached("INSERT INTO position VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
    for position in &positions.generations {
        insert.execute(params![
            positions.file,
            position.device.cast_signed(),
            position.inode.cast_signed(),
            position.target.as_os_str().as_bytes(),
            position.offset.cast_signed(),
            position.head,
            position.tail,
            position.is_current,
        ])?;
    }
    Ok(())
}

pub(super) fn load(connection: &Connection, file: &str) -> rusqlite::Result<Vec<ReadPosition>> {
    let mut statement = connection.prepare_cached(
        "SELECT target, device, inode, offset, head, tail, is_current FROM position WHERE file = ?",
    )?;
    let rows = statement.query_map([file], |row| {
        Ok(ReadPosition {
            target: PathBuf::from(OsStr::from_bytes(row.get_ref(0)?.as_bytes()?)),
            device: row.get::<_, i64>(1)?.cast_unsigned(),
            inode: row.get::<_, i64>(2)?.cast_unsigned(),
            offset: row.get::<_, i64>(3)?.max(0).cast_unsigned(),
            head: row.get(4)?,
            tail: row.get(5)?,
            is_current: row.get(6)?,
        })
    })?;
    rows.collect()
}
