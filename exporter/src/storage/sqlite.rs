//! Opening a SQLite file of ours: the one place that tells a new file, one of ours, a foreign and a damaged one
//! apart.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, ffi};

use crate::log::SlowWork;

/// What a database file is.
pub(crate) struct Kind {
    /// How messages call it: "outbox", "store".
    pub(crate) name: &'static str,
    /// Written into the file's header, so that a foreign database is never taken for ours.
    pub(crate) application_id: i32,
    /// The version of the schema.
    pub(crate) version: i32,
    pub(crate) page_size: u32,
    pub(crate) schema: &'static str,
    /// What makes each version the next one, from version 1 on.
    pub(crate) upgrades: &'static [&'static str],
}

/// Opens the file for writing, and makes it if it does not exist.
///
/// Every commit on this connection is on disk when it returns (WAL with `synchronous = FULL`).
pub(crate) fn open(path: &Path, kind: &Kind) -> anyhow::Result<Connection> {
    checked(path, kind).map_err(Fault::into_error).with_context(|| about(path, kind))
}

/// Whether the file is damaged, or not a database any more.
pub(crate) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether the disk is full, or may be: SQLite tells no quota from another error of writing, and no lack of room for the
/// index of its log.
pub(crate) fn is_disk_full(error: &rusqlite::Error) -> bool {
    const LIKELY: [i32; 3] = [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_IOERR_SHMMAP];
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_error().is_some_and(|error| LIKELY.contains(&error.extended_code))
}

/// Whether it says nothing about the file, so that the same may work later.
pub(crate) fn is_transient(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, FileLockingProtocolFailed, OutOfMemory};
    let code = error.sqlite_error().map(|error| (error.code, error.extended_code));
    is_disk_full(error)
        || matches!(
            code,
            Some(
                (CannotOpen | DatabaseBusy | DatabaseLocked | FileLockingProtocolFailed | OutOfMemory, _)
                    | (_, ffi::SQLITE_IOERR_NOMEM)
            )
        )
}

/// Moves the log into the file, and empties it if that is wanted; how many pages of it could not be moved yet.
///
/// Who reads an older state keeps the log from being moved or emptied, for a moment.
pub(crate) fn checkpoint(connection: &Connection, empties: bool) -> rusqlite::Result<u64> {
    let mode = if empties { "TRUNCATE" } else { "PASSIVE" };
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let (written, moved): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok((written - moved).max(0).unsigned_abs())
    })
}

/// The length of the log of this file.
pub(crate) fn log_length(path: &Path) -> u64 {
    std::fs::metadata(with(path, "-wal")).map_or(0, |metadata| metadata.len())
}

/// Cuts so many free pages off the file; whether there may be more.
pub(crate) fn vacuum(connection: &Connection, pages: u64) -> rusqlite::Result<bool> {
    let free = || connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0));
    let before = free()?;
    // A step for each page.
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({})", pages.max(1)))?;
    let mut steps = vacuum.query([])?;
    while steps.next()?.is_some() {}
    drop(steps);
    let after = free()?;
    Ok(0 < after && after < before)
}

/// The size of the free pages of the file.
pub(crate) fn free_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
    Ok(number("PRAGMA freelist_count")? * number("PRAGMA page_size")?)
}

/// The size of the pages in use; those that are free are used again before the file grows.
pub(crate) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
    let all = number("PRAGMA page_count")? * number("PRAGMA page_size")?;
    Ok(all.saturating_sub(free_bytes(connection)?))
}

pub(super) fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Why a file was not opened.
pub(super) enum Fault {
    Corrupt(String),
    Other(anyhow::Error),
}

impl Fault {
    pub(super) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Corrupt(reason) => anyhow!(reason),
            // SQLite's errors name their cause in their text already.
            Self::Other(error) => anyhow!(error.to_string()),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        if is_corrupt(&error) { Self::Corrupt(error.to_string()) } else { Self::Other(error.into()) }
    }
}

pub(super) fn about(path: &Path, kind: &Kind) -> String {
    format!("cannot open the {} {}", kind.name, path.display())
}

/// Opens one more connection to a file that [`open`] has accepted, for reading only.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// How long a connection waits for another one.
pub(crate) const BUSY: Duration = Duration::from_secs(5);

pub(super) fn checked(path: &Path, kind: &Kind) -> Result<Connection, Fault> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;

    // Nothing is written before the file is known to be empty or ours.
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application_id = number("PRAGMA application_id")?;
    let is_new = application_id == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0;
    if is_new {
        connection.pragma_update(None, "page_size", kind.page_size)?;
        // Pages that are free can be given back, when somebody asks for it.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    } else if application_id != i64::from(kind.application_id) {
        let reason =
            anyhow!("it is the SQLite database of another program (application id {application_id:#x})");
        return Err(Fault::Other(reason));
    }
    let journal: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if journal != "wal" {
        let reason = anyhow!("SQLite cannot use a write-ahead log here (journal mode {journal})");
        return Err(Fault::Other(reason));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(32);

    if is_new {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {} PRAGMA application_id = {}; PRAGMA user_version = {}; COMMIT;",
            kind.schema, kind.application_id, kind.version
        ))?;
        return Ok(connection);
    }
    let version = number("PRAGMA user_version")?;
    if version < 1 || version > i64::from(kind.version) {
        let reason =
            anyhow!("its layout has version {version}, this program knows those up to {}", kind.version);
        return Err(Fault::Other(reason));
    }
    let slow = SlowWork::watch("checking a database", path);
    check(&connection)?;
    drop(slow);
    // A disk that is full has no room for a commit that changes nothing.
    if version < i64::from(kind.version) {
        upgrade(&mut connection, kind, version)?;
    }
    Ok(connection)
}

/// Looks for damage in the whole file.
fn check(connection: &Connection) -> Result<(), Fault> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(Fault::Corrupt(format!("it is damaged: {verdict}"))) }
}

/// What is wrong with a file that is open, if it is damaged.
pub(crate) fn corruption(connection: &Connection) -> Option<String> {
    match check(connection) {
        Err(Fault::Corrupt(reason)) => Some(reason),
        _ => None,
    }
}

/// Brings a file that an earlier version has written to the layout of this one, or leaves it as it was.
fn upgrade(connection: &mut Connection, kind: &Kind, version: i64) -> rusqlite::Result<()> {
    let passed = usize::try_from(version - 1).unwrap_or(0);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in kind.upgrades.iter().skip(passed) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", kind.version)?;
    transaction.commit()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::storage) const KIND: Kind = Kind {
        name: "outbox",
        application_id: 0x6c74_0001,
        version: 1,
        page_size: 4096,
        schema: "CREATE TABLE thing(id INTEGER PRIMARY KEY, body BLOB);",
        upgrades: &[],
    };

    #[track_caller]
    fn refused(path: &Path, kind: &Kind) -> String {
        format!("{:#}", open(path, kind).expect_err("must be refused"))
    }

    #[test]
    fn a_new_file_is_made_and_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        open(&path, &KIND).unwrap().execute("INSERT INTO thing(body) VALUES (x'01')", []).unwrap();
        let count: i64 = open(&path, &KIND)
            .unwrap()
            .query_row("SELECT count(*) FROM thing", [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 1);
    }

    #[test]
    fn an_empty_file_is_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        std::fs::write(&path, b"").unwrap();
        open(&path, &KIND).unwrap();
    }

    #[test]
    fn what_is_no_database_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        let text = b"these are the notes of somebody".repeat(100);
        std::fs::write(&path, &text).unwrap();
        assert_eq!(
            refused(&path, &KIND),
            format!("cannot open the outbox {}: file is not a database", path.display())
        );
        assert_eq!(std::fs::read(&path).unwrap(), text);
    }

    #[test]
    fn a_foreign_database_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs(x);").unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(refused(&path, &KIND).ends_with("database of another program (application id 0x0)"));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn an_earlier_version_is_upgraded_and_a_later_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        open(&path, &KIND).unwrap().execute("INSERT INTO thing(body) VALUES (x'01')", []).unwrap();
        let newer =
            Kind { version: 2, upgrades: &["ALTER TABLE thing ADD COLUMN size INTEGER DEFAULT 7"], ..KIND };
        for _ in 0..2 {
            let connection = open(&path, &newer).unwrap();
            let size: i64 = connection.query_row("SELECT size FROM thing", [], |row| row.get(0)).unwrap();
            assert_eq!(size, 7);
        }
        assert!(
            refused(&path, &KIND).ends_with("its layout has version 2, this program knows those up to 1")
        );
    }

    #[test]
    fn damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        let connection = open(&path, &KIND).unwrap();
        for _ in 0..50 {
            connection.execute("INSERT INTO thing(body) VALUES (randomblob(1000))", []).unwrap();
        }
        drop(connection);
        let mut bytes = std::fs::read(&path).unwrap();
        assert!(bytes.len() > 8 * 4096);
        bytes[4096..3 * 4096].fill(0x55);
        std::fs::write(&path, bytes).unwrap();
        let message = refused(&path, &KIND);
        assert!(
            message.contains("outbox.db") && message.contains("malformed") || message.contains("damaged"),
            "{message}"
        );
    }
}
