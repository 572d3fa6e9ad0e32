//! SQLite files: their kinds, and connections to them.
//!
//! ```text
//!  open ──► Connection ──► space     checkpoints, free pages, allocation
//!                    └───► error     what an error means
//! ```

mod error;
mod open;
mod space;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction};

pub(crate) use error::{is_corrupt, is_full, is_transient};
pub(super) use open::{OpenError, cannot_open, try_open};
pub(crate) use open::{find_corruption, open};
pub(crate) use space::{
    allocate, allocate_wal, checkpoint, free_bytes, length_bytes, limit_length, used_bytes, vacuum,
    wal_length,
};

/// The properties of a database file: its identity, version and schema.
pub(crate) struct DatabaseKind {
    /// The name in messages: "outbox", "store".
    pub(crate) name: &'static str,
    /// The application id in the file's header. It distinguishes the file from a database of another program.
    pub(crate) application_id: i32,
    pub(crate) access: Access,
    /// The version of the schema.
    pub(crate) version: i32,
    pub(crate) page_size: u32,
    pub(crate) schema: &'static str,
    /// The functions that upgrade each version to the next one, beginning with version 1.
    pub(crate) upgrades: &'static [Upgrade],
}

/// The processes that open a database file.
///
/// No file is mapped into memory, because a mapped file that another program truncates ends the process (SIGBUS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only the exporter. The file has a write-ahead log, whose index SQLite keeps on the heap (`unix-excl`).
    Exclusive,
    /// Other processes, too. The file has a rollback journal: the index of a write-ahead log would be a mapped file.
    Shared,
}

impl Access {
    const fn journal_mode(self) -> &'static str {
        match self {
            Self::Exclusive => "wal",
            Self::Shared => "truncate",
        }
    }

    pub(crate) fn connect(self, path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let connection = match self {
            Self::Exclusive => Connection::open_with_flags_and_vfs(path, flags, "unix-excl")?,
            Self::Shared => Connection::open_with_flags(path, flags)?,
        };
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // A container has no other place for temporary files.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(connection)
    }
}

/// Upgrades a file in a transaction.
pub(crate) type Upgrade = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// Opens a connection that only reads, to a file that [`open`] has accepted with [`Access::Exclusive`].
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    // A connection with SQLITE_OPEN_READ_ONLY would replace the lock of the process with a weaker one.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Access::Exclusive.connect(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    leave_wal_on_close(&connection)?;
    Ok(connection)
}

/// Makes the connection leave the files as they are when it is closed. By default, the last connection to a file deletes
/// the WAL by its path, where the WAL of another file may be.
pub(crate) fn leave_wal_on_close(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// The maximum time that a connection waits for the lock of another one.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the path of the file that SQLite keeps beside another one.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::storage) const KIND: DatabaseKind = DatabaseKind {
        name: "outbox",
        application_id: 0x6c74_0001,
        access: Access::Exclusive,
        version: 1,
        page_size: 4096,
        schema: "CREATE TABLE thing(id INTEGER PRIMARY KEY, body BLOB);",
        upgrades: &[],
    };
}
