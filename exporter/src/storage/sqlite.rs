//! Opening a SQLite file: distinguishes a new file, a file of this program, a foreign file and a corrupt file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, ffi};

use super::{disk_reserve, open_files};
use crate::log::ProgressLog;

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
        Ok(connection)
    }
}

/// Upgrades a file in a transaction.
pub(crate) type Upgrade = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// Opens the file for writing, and creates it if it does not exist.
///
/// Every commit on this connection is on disk when it returns (a WAL with `synchronous = FULL`, or a truncated journal).
pub(crate) fn open(path: &Path, kind: &DatabaseKind) -> anyhow::Result<Connection> {
    try_open(path, kind).map_err(OpenError::into_error).with_context(|| cannot_open(path, kind))
}

/// Returns whether the error means that the file is corrupt or not a database.
pub(crate) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Returns whether the error means that the disk had no space.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Returns whether the error is transient: not caused by what the file contains, so that a retry can succeed.
pub(crate) fn is_transient(error: &rusqlite::Error) -> bool {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed, OutOfMemory, ReadOnly,
        SystemIoFailure,
    };
    /// What a damaged file causes when it is read.
    const READ: [i32; 2] = [ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_SHORT_READ];
    let Some(error) = error.sqlite_error() else { return false };
    match error.code {
        SystemIoFailure => !READ.contains(&error.extended_code),
        CannotOpen
        | DatabaseBusy
        | DatabaseLocked
        | DiskFull
        | FileLockingProtocolFailed
        | OutOfMemory
        | ReadOnly => true,
        _ => false,
    }
}

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
    disk_reserve::allocate(&file, length, bytes.saturating_sub(length))
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

/// Returns the size of the pages in use. SQLite reuses free pages before the file grows.
pub(crate) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    Ok(page_bytes(connection, "PRAGMA page_count")?.saturating_sub(free_bytes(connection)?))
}

fn page_bytes(connection: &Connection, count: &str) -> rusqlite::Result<u64> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
    Ok(number(count)? * number("PRAGMA page_size")?)
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The reason why a file was not opened.
pub(super) enum OpenError {
    Corrupt(String),
    Other(anyhow::Error),
}

impl OpenError {
    pub(super) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Corrupt(reason) => anyhow!(reason),
            // SQLite's error texts already contain their cause.
            Self::Other(error) => anyhow!(error.to_string()),
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        if is_corrupt(&error) { Self::Corrupt(error.to_string()) } else { Self::Other(error.into()) }
    }
}

pub(super) fn cannot_open(path: &Path, kind: &DatabaseKind) -> String {
    format!("failed to open the {} {}", kind.name, path.display())
}

/// Opens a connection that only reads, to a file that [`open`] has accepted with [`Access::Exclusive`].
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    // A connection with SQLITE_OPEN_READ_ONLY would replace the lock of the process with a weaker one.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Access::Exclusive.connect(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
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

/// Opens the file as [`open`] does, with an error that distinguishes corruption from other reasons.
pub(super) fn try_open(path: &Path, kind: &DatabaseKind) -> Result<Connection, OpenError> {
    open_files::require_regular_files(path).map_err(OpenError::Other)?;
    let mut connection = kind.access.connect(path, OpenFlags::default())?;

    // Write nothing before the file is known to be empty or a file of this program.
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application_id = number("PRAGMA application_id")?;
    let is_new = application_id == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0;
    if is_new {
        connection.pragma_update(None, "page_size", kind.page_size)?;
        // Lets `vacuum` return free pages to the disk.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    } else if application_id != i64::from(kind.application_id) {
        let reason =
            anyhow!("it is the SQLite database of another program (application id {application_id:#x})");
        return Err(OpenError::Other(reason));
    }
    let expected = kind.access.journal_mode();
    let journal: String =
        connection.query_row(&format!("PRAGMA journal_mode = {expected}"), [], |row| row.get(0))?;
    if journal != expected {
        let reason = anyhow!("SQLite cannot use the journal mode {expected} here, only {journal}");
        return Err(OpenError::Other(reason));
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
        let reason = anyhow!("schema version {version} is not supported, expected 1 to {}", kind.version);
        return Err(OpenError::Other(reason));
    }
    let slow = ProgressLog::start("checking a database", path);
    check(&connection)?;
    drop(slow);
    // An upgrade commits even if there is nothing to change, and a full disk has no space for that.
    if version < i64::from(kind.version) {
        let slow = ProgressLog::start("upgrading a database", path);
        upgrade(&mut connection, kind, version)?;
        drop(slow);
    }
    Ok(connection)
}

/// Checks the whole file for corruption.
fn check(connection: &Connection) -> Result<(), OpenError> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match &verdict[..] {
        "ok" => Ok(()),
        _ if is_io_error(&verdict) => Err(OpenError::Other(anyhow!("disk I/O error: {verdict}"))),
        _ => Err(OpenError::Corrupt(format!("database is corrupt: {verdict}"))),
    }
}

/// Returns whether the verdict of a check is about a page that the disk could not read.
fn is_io_error(verdict: &str) -> bool {
    let code = verdict.split("error code=").nth(1).unwrap_or_default();
    let digits = code.find(|c: char| !c.is_ascii_digit()).unwrap_or(code.len());
    code.get(..digits)
        .and_then(|code| code.parse::<i32>().ok())
        .is_some_and(|code| code & 0xff == ffi::SQLITE_IOERR)
}

/// Checks an open file. Returns the reason if it is corrupt.
pub(crate) fn find_corruption(connection: &Connection) -> Option<String> {
    match check(connection) {
        Err(OpenError::Corrupt(reason)) => Some(reason),
        _ => None,
    }
}

/// Upgrades a file of an earlier version to this schema, in one transaction.
fn upgrade(connection: &mut Connection, kind: &DatabaseKind, version: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(version - 1).unwrap_or(0);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in kind.upgrades.iter().skip(done) {
        step(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", kind.version)?;
    transaction.commit()
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

    #[track_caller]
    fn open_error(path: &Path, kind: &DatabaseKind) -> String {
        format!("{:#}", open(path, kind).expect_err("must not open"))
    }

    #[test]
    fn a_new_file_is_created_and_opens_again() {
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
    fn an_empty_file_becomes_a_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        std::fs::write(&path, b"").unwrap();
        open(&path, &KIND).unwrap();
    }

    #[test]
    fn a_file_that_is_not_a_database_is_rejected_and_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        let text = b"these are the notes of somebody".repeat(100);
        std::fs::write(&path, &text).unwrap();
        assert_eq!(
            open_error(&path, &KIND),
            format!("failed to open the outbox {}: file is not a database", path.display())
        );
        assert_eq!(std::fs::read(&path).unwrap(), text);
    }

    #[test]
    fn a_foreign_database_is_rejected_and_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs(x);").unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(open_error(&path, &KIND).ends_with("database of another program (application id 0x0)"));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn an_earlier_version_is_upgraded_and_a_later_one_rejected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        open(&path, &KIND).unwrap().execute("INSERT INTO thing(body) VALUES (x'01')", []).unwrap();
        let newer = DatabaseKind {
            version: 2,
            upgrades: &[|tx| tx.execute_batch("ALTER TABLE thing ADD COLUMN size INTEGER DEFAULT 7")],
            ..KIND
        };
        for _ in 0..2 {
            let connection = open(&path, &newer).unwrap();
            let size: i64 = connection.query_row("SELECT size FROM thing", [], |row| row.get(0)).unwrap();
            assert_eq!(size, 7);
        }
        assert!(open_error(&path, &KIND).ends_with("schema version 2 is not supported, expected 1 to 1"));
    }

    #[test]
    fn a_page_that_the_disk_cannot_read_is_not_corruption() {
        for (verdict, is_io) in [
            ("Tree 2 page 5: unable to get the page. error code=266", true),
            ("*** in database main ***\nTree 2 page 5: unable to get the page. error code=10\nmore", true),
            ("Tree 2 page 5: unable to get the page. error code=11", false),
            ("Tree 2 page 5 cell 0: invalid page number 7", false),
        ] {
            assert_eq!(is_io_error(verdict), is_io, "{verdict}");
        }
    }

    #[test]
    fn corruption_is_detected() {
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
        let message = open_error(&path, &KIND);
        assert!(
            message.contains("outbox.db") && message.contains("malformed") || message.contains("corrupt"),
            "{message}"
        );
    }
}
