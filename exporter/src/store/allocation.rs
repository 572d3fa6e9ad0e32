//! The space of the store on the disk, which is allocated before a transaction needs it.
//!
//! A transaction goes to the WAL, and a checkpoint moves it into the file. If the file had to grow then, and another
//! program had taken the space in the meantime, the WAL could never be emptied again, and no trace evicted.
//!
//! Invariant: a page in the WAL has a place in the file, so a checkpoint needs no space on the disk.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{Store, StoreWriter, schema};
use crate::log::{self, Value};
use crate::storage::sqlite;

/// Opens the file of a database, to allocate space. It is closed after the connection: closing any handle of a file
/// releases the locks of SQLite.
pub(super) fn open(path: &Path) -> io::Result<File> {
    File::options().append(true).open(path)
}

impl Store {
    /// Allocates the space of the WAL, if the disk has it. The WAL is never truncated below that.
    ///
    /// A transaction that fits into it then needs no space for the WAL on a full disk.
    pub(super) fn allocate_wal(&self, _writer: &StoreWriter) {
        let bytes = self.0.reserve.share_bytes();
        let missing = bytes.saturating_sub(sqlite::wal_length(&self.0.path));
        if missing == 0 || self.0.reserve.is_full() || self.0.reserve.free_bytes() < missing + bytes {
            return;
        }
        if let Err(error) = sqlite::allocate_wal(&self.0.path, bytes) {
            let error = error.to_string();
            log::warn("failed to allocate the WAL of the store", &[("error", Value::Str(&error))]);
        }
    }

    /// Allocates space in the file for a transaction of this size, and limits the database to the file.
    pub(super) fn allocate(&self, writer: &StoreWriter, bytes: u64) -> rusqlite::Result<()> {
        let free = sqlite::free_bytes(&writer.connection)?;
        let length = sqlite::length_bytes(&writer.connection)? + bytes.saturating_sub(free);
        let of_file = writer.file.metadata().map_or(0, |metadata| metadata.len());
        let missing = length.saturating_sub(of_file);
        if missing > 0
            && let Err(error) = sqlite::allocate(&writer.file, of_file, missing)
            && !self.0.reserve.release_if_no_space(&error, schema::KIND.name)
        {
            // Some file systems cannot allocate. The file then grows when it is written.
            if error.kind() != io::ErrorKind::Unsupported {
                let error = error.to_string();
                log::warn("failed to allocate space for the store", &[("error", Value::Str(&error))]);
            }
            return sqlite::limit_length(&writer.connection, u64::MAX);
        }
        self.limit_to_file(writer)
    }

    /// Limits the database to the length of its file.
    pub(super) fn limit_to_file(&self, writer: &StoreWriter) -> rusqlite::Result<()> {
        let length = writer.file.metadata().map_or(u64::MAX, |metadata| metadata.len());
        sqlite::limit_length(&writer.connection, length)
    }
}
