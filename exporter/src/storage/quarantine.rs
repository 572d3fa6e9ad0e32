//! Quarantine: a corrupt database file is renamed, and a new file takes its place.
//!
//! ```text
//!  outbox.db ──► outbox.db.damaged-TIME.pending ──► outbox.db.damaged-TIME
//!                             readable data is recovered
//! ```
//!
//! Each step renames the WAL before the file, so that a renamed file always has its WAL.
//! A crash can come between any two renames. The next start finds the pending files and continues.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rusqlite::Connection;

use super::sqlite::{DatabaseKind, OpenError, cannot_open, open, try_open, with_suffix};
use crate::clock;
use crate::log::{self, Severity, Value};

const PENDING: &str = ".pending";

/// A WAL of this length contains nothing.
const WAL_HEADER_BYTES: u64 = 32;

/// A quarantined file that is not recovered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quarantined {
    /// The final path of the file.
    pub(crate) path: PathBuf,
}

impl Quarantined {
    /// Returns the path of the file until it is recovered.
    pub(crate) fn pending(&self) -> PathBuf {
        with_suffix(&self.path, PENDING)
    }

    /// Renames the file to its final name.
    pub(crate) fn mark_recovered(&self) -> io::Result<()> {
        let pending = self.pending();
        let _ = fs::remove_file(with_suffix(&pending, "-shm"));
        rename_if_exists(&with_suffix(&pending, "-wal"), &with_suffix(&self.path, "-wal"))?;
        rename_if_exists(&pending, &self.path)?;
        sync_dir(&self.path);
        Ok(())
    }
}

/// An open database, and the corrupt files that it replaces.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    /// Corrupt files, quarantined now or earlier, from which nothing has been recovered yet.
    pub(crate) quarantined: Vec<Quarantined>,
}

impl Opened {
    /// Renames the quarantined files to their final names without recovering them, and returns the new database.
    pub(crate) fn skip_recovery(self) -> anyhow::Result<Connection> {
        for file in &self.quarantined {
            file.mark_recovered()
                .with_context(|| format!("failed to rename {}", file.pending().display()))?;
        }
        Ok(self.connection)
    }
}

/// Opens the file as [`open`] does. Quarantines a file that is corrupt or not a database, and creates a new one.
///
/// A database of another program, or of a later version, is an error: the directory is probably the wrong one.
pub(crate) fn open_or_replace(path: &Path, kind: &DatabaseKind) -> anyhow::Result<Opened> {
    resume(path).with_context(|| cannot_open(path, kind))?;
    if is_empty_beside_wal(path) {
        // SQLite would take it for a new file, and delete the WAL. A removed file is created, to be quarantined with its WAL.
        File::options().create(true).append(true).open(path).with_context(|| cannot_open(path, kind))?;
        return replace(path, kind, "the file is empty, but its write-ahead log is not");
    }
    match try_open(path, kind) {
        Ok(connection) => opened(connection, path, kind),
        Err(OpenError::Corrupt(reason)) => replace(path, kind, &reason),
        Err(error) => Err(error.into_error()).with_context(|| cannot_open(path, kind)),
    }
}

fn is_empty_beside_wal(path: &Path) -> bool {
    let length =
        |path: &Path| fs::metadata(path).map_or(0, |file| if file.is_file() { file.len() } else { 0 });
    let is_empty = match fs::metadata(path) {
        Ok(file) => file.is_file() && file.len() == 0,
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    is_empty && length(&with_suffix(path, "-wal")) > WAL_HEADER_BYTES
}

/// Quarantines a corrupt file and opens a new one. After an error, the call can be repeated.
///
/// No connection may have the file open for writing.
pub(crate) fn replace(path: &Path, kind: &DatabaseKind, reason: &str) -> anyhow::Result<Opened> {
    swap(path, kind, reason)?;
    opened(open(path, kind)?, path, kind)
}

fn opened(connection: Connection, path: &Path, kind: &DatabaseKind) -> anyhow::Result<Opened> {
    let quarantined = pending(path).with_context(|| cannot_open(path, kind))?;
    Ok(Opened { connection, quarantined })
}

/// Quarantines the corrupt file and puts a new one in its place.
fn swap(path: &Path, kind: &DatabaseKind, reason: &str) -> anyhow::Result<()> {
    let interrupted = interrupted(path).with_context(|| cannot_open(path, kind))?;
    // The new file is created first. If this fails, the corrupt file stays in its place.
    let new = with_suffix(path, ".new");
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(with_suffix(&new, suffix));
    }
    drop(open(&new, kind)?);
    if path.exists() {
        let file = move_away(path, interrupted).with_context(|| {
            format!("failed to quarantine {}, which is corrupt ({reason})", path.display())
        })?;
        log::line(
            Severity::Error,
            "corrupt database quarantined, started a new one",
            &[
                ("database", Value::Str(kind.name)),
                ("path", Value::Fmt(format_args!("{}", path.display()))),
                ("quarantined", Value::Fmt(format_args!("{}", file.path.display()))),
                ("error", Value::Str(reason)),
            ],
        );
    }
    put_in_place(path).with_context(|| cannot_open(path, kind))
}

/// Completes a quarantine that a crash has interrupted.
fn resume(path: &Path) -> io::Result<()> {
    let interrupted = interrupted(path)?;
    if path.exists() && interrupted.is_some() {
        move_away(path, interrupted)?;
    }
    put_in_place(path)
}

/// Returns the files that are quarantined and not recovered yet, oldest first.
fn pending(path: &Path) -> io::Result<Vec<Quarantined>> {
    Ok(pending_names(path)?.into_iter().filter(|file| file.pending().exists()).collect())
}

fn move_away(path: &Path, interrupted: Option<Quarantined>) -> io::Result<Quarantined> {
    let file = match interrupted {
        Some(file) => file,
        None => free_name(path)?,
    };
    let pending = file.pending();
    rename_if_exists(&with_suffix(path, "-wal"), &with_suffix(&pending, "-wal"))?;
    let _ = fs::remove_file(with_suffix(path, "-shm"));
    fs::rename(path, pending)?;
    Ok(file)
}

pub(super) fn free_name(path: &Path) -> io::Result<Quarantined> {
    let seconds = clock::unix_millis() / 1000;
    (0..u32::MAX)
        .map(|n| {
            let n = if n == 0 { String::new() } else { format!("-{n}") };
            Quarantined { path: with_suffix(path, &format!(".damaged-{seconds}{n}")) }
        })
        .find(|file| {
            let pending = file.pending();
            !file.path.exists() && !pending.exists() && !with_suffix(&pending, "-wal").exists()
        })
        .ok_or_else(|| ErrorKind::AlreadyExists.into())
}

/// Returns a quarantine that a crash has interrupted between the renames of the WAL and of the file.
///
/// The new file exists then. Without it, a pending WAL is only a leftover of another file.
fn interrupted(path: &Path) -> io::Result<Option<Quarantined>> {
    if !with_suffix(path, ".new").exists() {
        return Ok(None);
    }
    let has_only_wal =
        |file: &Quarantined| with_suffix(&file.pending(), "-wal").exists() && !file.pending().exists();
    Ok(pending_names(path)?.into_iter().find(has_only_wal))
}

/// Returns the quarantined files of which the directory contains a pending file or WAL.
fn pending_names(path: &Path) -> io::Result<Vec<Quarantined>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let prefix = format!("{name}.damaged-");
    let mut names = Vec::new();
    for entry in fs::read_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let file = name.strip_suffix("-wal").unwrap_or(name);
        if let Some(file) = file.strip_suffix(PENDING)
            && file.starts_with(&prefix)
        {
            names.push(file.to_owned());
        }
    }
    names.sort();
    names.dedup();
    Ok(names.into_iter().map(|name| Quarantined { path: dir.join(name) }).collect())
}

/// Renames the new file to the path if the corrupt file has been moved away.
pub(super) fn put_in_place(path: &Path) -> io::Result<()> {
    if !path.exists() {
        rename_if_exists(&with_suffix(path, ".new"), path)?;
    }
    sync_dir(path);
    Ok(())
}

/// Syncs the directory, so that the renames are on disk before later writes. Ignores errors: some file systems cannot.
fn sync_dir(path: &Path) {
    if let Some(dir) = path.parent().and_then(|dir| File::open(dir).ok()) {
        let _ = dir.sync_all();
    }
}

pub(super) fn rename_if_exists(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sqlite::tests::KIND;
    use super::*;

    /// Creates a file with a row in its WAL, as a killed process leaves it.
    fn killed(dir: &Path) -> PathBuf {
        let path = dir.join("outbox.db");
        let connection = open(&path, &KIND).unwrap();
        connection.execute("INSERT INTO thing(body) VALUES (x'01')", []).unwrap();
        let files = [path.clone(), with_suffix(&path, "-wal")];
        let contents = files.each_ref().map(|file| fs::read(file).unwrap());
        drop(connection);
        for (file, content) in files.iter().zip(contents) {
            fs::write(file, content).unwrap();
        }
        path
    }

    fn rows(path: &Path) -> i64 {
        let connection = Connection::open(path).unwrap();
        connection.query_row("SELECT count(*) FROM thing", [], |row| row.get(0)).unwrap()
    }

    /// Returns the names in the directory, without the `-shm` files, which come and go.
    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.ends_with("-shm")).collect();
        names.sort();
        names
    }

    #[test]
    fn a_corrupt_file_stays_in_its_place_if_no_new_file_can_be_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        fs::write(&path, "no database".repeat(100)).unwrap();
        fs::create_dir(with_suffix(&path, ".new")).unwrap();
        assert!(open_or_replace(&path, &KIND).is_err());
        assert!(path.exists());
        fs::remove_dir(with_suffix(&path, ".new")).unwrap();
        let file = open_or_replace(&path, &KIND).unwrap().quarantined.remove(0);
        assert!(file.pending().exists() && path.exists() && !with_suffix(&path, ".new").exists());
    }

    /// The process can be killed after each rename.
    #[test]
    fn a_crash_at_any_step_forgets_nothing() {
        for steps in 0..=3 {
            let dir = tempfile::tempdir().unwrap();
            let path = killed(dir.path());
            let file = Quarantined { path: with_suffix(&path, ".damaged-7") };
            let new = with_suffix(&path, ".new");
            drop(open(&new, &KIND).unwrap());
            let renames = [
                (with_suffix(&path, "-wal"), with_suffix(&file.pending(), "-wal")),
                (path.clone(), file.pending()),
                (new, path.clone()),
            ];
            for (from, to) in &renames[..steps] {
                fs::rename(from, to).unwrap();
            }
            if steps == 0 {
                // No file was renamed. The next start finds the corruption again.
                assert_eq!(open_or_replace(&path, &KIND).unwrap().quarantined, []);
                replace(&path, &KIND, "corrupt").unwrap();
            }
            let Opened { connection, quarantined } = open_or_replace(&path, &KIND).unwrap();
            drop(connection);
            assert_eq!(quarantined.len(), 1, "after {steps}");
            assert_eq!((rows(&path), rows(&quarantined[0].pending())), (0, 1), "after {steps}");

            // Each start finds the file until it is recovered.
            assert_eq!(open_or_replace(&path, &KIND).unwrap().quarantined, quarantined);
            quarantined[0].mark_recovered().unwrap();
            assert_eq!(open_or_replace(&path, &KIND).unwrap().quarantined, []);
            assert_eq!(rows(&quarantined[0].path), 1);
        }
    }

    #[test]
    fn a_crash_between_the_last_renames_does_not_quarantine_the_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = killed(dir.path());
        replace(&path, &KIND, "corrupt").unwrap();
        let [file] = &pending(&path).unwrap()[..] else { panic!("expected one pending file") };
        fs::rename(with_suffix(&file.pending(), "-wal"), with_suffix(&file.path, "-wal")).unwrap();
        assert_eq!(open_or_replace(&path, &KIND).unwrap().quarantined, std::slice::from_ref(file));
        file.mark_recovered().unwrap();
        let name = |end: &str| format!("{}{end}", file.path.file_name().unwrap().to_str().unwrap());
        assert_eq!(names(dir.path()), ["outbox.db".to_owned(), name(""), name("-wal")]);
    }

    #[test]
    fn a_leftover_wal_is_not_attached_to_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = killed(dir.path());
        let leftover = with_suffix(&path, ".damaged-7.pending-wal");
        fs::copy(with_suffix(&path, "-wal"), &leftover).unwrap();
        assert_eq!(open_or_replace(&path, &KIND).unwrap().quarantined, []);
        assert_eq!(rows(&path), 1);
        replace(&path, &KIND, "corrupt").unwrap();
        let [file] = &pending(&path).unwrap()[..] else { panic!("expected one pending file") };
        assert_ne!(file.path, with_suffix(&path, ".damaged-7"));
        assert!(leftover.exists());
    }

    #[test]
    fn two_corrupt_files_are_both_pending() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        for content in ["one", "two"] {
            fs::write(&path, content.repeat(500)).unwrap();
            open_or_replace(&path, &KIND).unwrap();
        }
        assert_eq!(pending(&path).unwrap().len(), 2);
    }
}
