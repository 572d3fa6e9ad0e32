//! Opening a SQLite file: distinguishes a new file, a file of this program, a foreign file and a corrupt file.

use std::path::Path;

use anyhow::{Context, anyhow};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, ffi};

use super::super::open_files;
use super::{DatabaseKind, is_corrupt};
use crate::log::ProgressLog;

/// Opens the file for writing, and creates it if it does not exist.
///
/// Every commit on this connection is on disk when it returns (a WAL with `synchronous = FULL`, or a truncated journal).
pub(crate) fn open(path: &Path, kind: &DatabaseKind) -> anyhow::Result<Connection> {
    try_open(path, kind).map_err(OpenError::into_error).with_context(|| cannot_open(path, kind))
}

/// Opens the file as [`open`] does, with an error that distinguishes corruption from other reasons.
pub(in crate::storage) fn try_open(path: &Path, kind: &DatabaseKind) -> Result<Connection, OpenError> {
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

/// The reason why a file was not opened.
pub(in crate::storage) enum OpenError {
    Corrupt(String),
    Other(anyhow::Error),
}

impl OpenError {
    pub(in crate::storage) fn into_error(self) -> anyhow::Error {
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

pub(in crate::storage) fn cannot_open(path: &Path, kind: &DatabaseKind) -> String {
    format!("failed to open the {} {}", kind.name, path.display())
}

#[cfg(test)]
mod tests {
    use super::super::tests::KIND;
    use super::*;

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
