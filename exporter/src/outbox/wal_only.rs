//! A database file that is empty or has no header, beside its write-ahead log. SQLite would delete the log of an empty file.
//!
//! The log is read on top of a new database instead. Pages that are neither in the log nor in the new database are corrupt.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::schema::KIND;
use crate::storage::sqlite::{self, Access, with_suffix};

const HEADER: &[u8] = b"SQLite format 3\0";

/// The temporary files, which are removed when this is dropped.
#[derive(Debug)]
pub(super) struct Base(PathBuf);

/// Returns whether SQLite cannot use the log with this file.
pub(super) fn is_without_header(path: &Path) -> bool {
    let mut header = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(HEADER.len() as u64).read_to_end(&mut header));
    sqlite::wal_length(path) > 0 && read.is_ok() && header != HEADER
}

/// Opens the log of this file. The file and the log are not changed.
pub(super) fn open(path: &Path) -> rusqlite::Result<(Connection, Base)> {
    let base = Base(with_suffix(path, "-base"));
    base.remove();
    let new = Access::Exclusive.connect(&base.0, OpenFlags::default())?;
    new.pragma_update(None, "page_size", KIND.page_size)?;
    new.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    new.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    new.execute_batch(KIND.schema)?;
    new.close().map_err(|(_, error)| error)?;
    let (wal, copy) = (with_suffix(path, "-wal"), with_suffix(&base.0, "-wal"));
    fs::hard_link(&wal, &copy).or_else(|_| fs::copy(&wal, &copy).map(drop)).map_err(|error| {
        let reason = format!("{}: {error}", copy.display());
        rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some(reason),
        )
    })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok((Access::Exclusive.connect(&base.0, flags)?, base))
}

impl Base {
    fn remove(&self) {
        for suffix in ["", "-wal", "-journal"] {
            let _ = fs::remove_file(with_suffix(&self.0, suffix));
        }
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        self.remove();
    }
}
