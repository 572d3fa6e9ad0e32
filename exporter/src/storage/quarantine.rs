//! A damaged file: it is set aside for a new one, and its name tells whether it has been seen to.
//!
//! ```text
//!  outbox.db ──► outbox.db.damaged-TIME.pending ──► outbox.db.damaged-TIME
//!                        what can be read of it is carried over
//! ```
//!
//! These are renames, of the file and of its log, and any of them can be the last one before a crash: what is pending is
//! found again at the next start. The log goes first, so that where the file is, all of it is.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rusqlite::Connection;

use super::sqlite::{Fault, Kind, about, checked, open, with};
use crate::clock;
use crate::log::{self, Severity, Value};

const PENDING: &str = ".pending";

/// A damaged file that was set aside and not seen to yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quarantined {
    /// Where it stays in the end.
    pub(crate) path: PathBuf,
}

impl Quarantined {
    /// Where it is until then.
    pub(crate) fn pending(&self) -> PathBuf {
        with(&self.path, PENDING)
    }

    /// Takes note that whatever can be done with it is done.
    pub(crate) fn mark_recovered(&self) -> io::Result<()> {
        let pending = self.pending();
        let _ = fs::remove_file(with(&pending, "-shm"));
        rename_if_there(&with(&pending, "-wal"), &with(&self.path, "-wal"))?;
        rename_if_there(&pending, &self.path)?;
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
    /// Returns the new database; nothing is recovered from the quarantined files.
    pub(crate) fn without_recovery(self) -> anyhow::Result<Connection> {
        for file in &self.quarantined {
            file.mark_recovered().with_context(|| format!("cannot rename {}", file.pending().display()))?;
        }
        Ok(self.connection)
    }
}

/// Opens the file as [`open`] does. Quarantines a file that is corrupt or not a database, and creates a new one.
///
/// A database of another program, or of a later version, is an error: the directory is the wrong one.
pub(crate) fn open_or_replace(path: &Path, kind: &Kind) -> anyhow::Result<Opened> {
    resume(path).with_context(|| about(path, kind))?;
    match checked(path, kind) {
        Ok(connection) => opened(connection, path, kind),
        Err(Fault::Corrupt(reason)) => replace(path, kind, &reason),
        Err(fault) => Err(fault.into_error()).with_context(|| about(path, kind)),
    }
}

/// Quarantines a corrupt file and opens a new one. No connection may have the file open for writing. Can be repeated
/// after an error.
pub(crate) fn replace(path: &Path, kind: &Kind, reason: &str) -> anyhow::Result<Opened> {
    swap(path, kind, reason)?;
    opened(open(path, kind)?, path, kind)
}

fn opened(connection: Connection, path: &Path, kind: &Kind) -> anyhow::Result<Opened> {
    let quarantined = pending(path).with_context(|| about(path, kind))?;
    Ok(Opened { connection, quarantined })
}

/// Sets a damaged file file, which nobody has open for writing any more, and puts a new one in its place; can be done
/// again after an error.
fn swap(path: &Path, kind: &Kind, reason: &str) -> anyhow::Result<()> {
    let interrupted = interrupted(path).with_context(|| about(path, kind))?;
    // First, so that the damaged file stays where it is if there can be no new one.
    let new = with(path, ".new");
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(with(&new, end));
    }
    drop(open(&new, kind)?);
    if path.exists() {
        let file = move_away(path, interrupted)
            .with_context(|| format!("cannot quarantine {}, which is corrupt ({reason})", path.display()))?;
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
    put_in_place(path).with_context(|| about(path, kind))
}

/// Ends what a crash has interrupted, of setting a file file.
fn resume(path: &Path) -> io::Result<()> {
    let interrupted = interrupted(path)?;
    if path.exists() && interrupted.is_some() {
        move_away(path, interrupted)?;
    }
    put_in_place(path)
}

/// The files that are set aside and not seen to yet, the oldest first.
fn pending(path: &Path) -> io::Result<Vec<Quarantined>> {
    let quarantined_files = quarantined_files(path)?.into_iter();
    Ok(quarantined_files.filter(|file| file.pending().exists()).collect())
}

fn move_away(path: &Path, interrupted: Option<Quarantined>) -> io::Result<Quarantined> {
    let file = match interrupted {
        Some(file) => file,
        None => free_name(path)?,
    };
    let pending = file.pending();
    rename_if_there(&with(path, "-wal"), &with(&pending, "-wal"))?;
    let _ = fs::remove_file(with(path, "-shm"));
    fs::rename(path, pending)?;
    Ok(file)
}

fn free_name(path: &Path) -> io::Result<Quarantined> {
    let seconds = clock::unix_millis() / 1000;
    (0..u32::MAX)
        .map(|n| {
            let n = if n == 0 { String::new() } else { format!("-{n}") };
            Quarantined { path: with(path, &format!(".damaged-{seconds}{n}")) }
        })
        .find(|file| {
            let pending = file.pending();
            !file.path.exists() && !pending.exists() && !with(&pending, "-wal").exists()
        })
        .ok_or_else(|| ErrorKind::AlreadyExists.into())
}

/// The log of a file has been set aside, and the file has not: then there is the new one, too, and without it somebody has
/// only left that log behind.
fn interrupted(path: &Path) -> io::Result<Option<Quarantined>> {
    if !with(path, ".new").exists() {
        return Ok(None);
    }
    let has_log_only =
        |file: &Quarantined| with(&file.pending(), "-wal").exists() && !file.pending().exists();
    Ok(quarantined_files(path)?.into_iter().find(has_log_only))
}

/// All that may be pending, whichever of their files are there.
fn quarantined_files(path: &Path) -> io::Result<Vec<Quarantined>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let begin = format!("{name}.damaged-");
    let mut names = Vec::new();
    for entry in fs::read_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let file = name.strip_suffix("-wal").unwrap_or(name);
        if let Some(file) = file.strip_suffix(PENDING)
            && file.starts_with(&begin)
        {
            names.push(file.to_owned());
        }
    }
    names.sort();
    names.dedup();
    Ok(names.into_iter().map(|name| Quarantined { path: dir.join(name) }).collect())
}

/// Where the damaged file is out of the way and the new one not there yet.
fn put_in_place(path: &Path) -> io::Result<()> {
    if !path.exists() {
        rename_if_there(&with(path, ".new"), path)?;
    }
    sync_dir(path);
    Ok(())
}

/// The renames are on disk before anything else is; where a directory cannot be synced, there is no more to do.
fn sync_dir(path: &Path) {
    if let Some(dir) = path.parent().and_then(|dir| File::open(dir).ok()) {
        let _ = dir.sync_all();
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sqlite::tests::KIND;
    use super::*;

    /// A file with a row in its log, left as by a process that was killed.
    fn killed(dir: &Path) -> PathBuf {
        let path = dir.join("outbox.db");
        let connection = open(&path, &KIND).unwrap();
        connection.execute("INSERT INTO thing(body) VALUES (x'01')", []).unwrap();
        let files = [path.clone(), with(&path, "-wal")];
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

    /// The names in the directory, without the indexes of logs, which come and go.
    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.ends_with("-shm")).collect();
        names.sort();
        names
    }

    #[test]
    fn a_damaged_file_stays_in_its_place_while_there_can_be_no_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        fs::write(&path, "no database".repeat(100)).unwrap();
        fs::create_dir(with(&path, ".new")).unwrap();
        assert!(open_or_replace(&path, &KIND).is_err());
        assert!(path.exists());
        fs::remove_dir(with(&path, ".new")).unwrap();
        let file = open_or_replace(&path, &KIND).unwrap().quarantined.remove(0);
        assert!(file.pending().exists() && path.exists() && !with(&path, ".new").exists());
    }

    /// After each of the renames the process may be killed.
    #[test]
    fn a_crash_at_any_step_forgets_nothing() {
        for steps in 0..=3 {
            let dir = tempfile::tempdir().unwrap();
            let path = killed(dir.path());
            let file = Quarantined { path: with(&path, ".damaged-7") };
            let new = with(&path, ".new");
            drop(open(&new, &KIND).unwrap());
            let renames = [
                (with(&path, "-wal"), with(&file.pending(), "-wal")),
                (path.clone(), file.pending()),
                (new, path.clone()),
            ];
            for (from, to) in &renames[..steps] {
                fs::rename(from, to).unwrap();
            }
            if steps == 0 {
                // Nothing has been moved, and it is found damaged once more.
                assert_eq!(open_or_replace(&path, &KIND).unwrap().quarantined, []);
                replace(&path, &KIND, "damaged").unwrap();
            }
            let Opened { connection, quarantined } = open_or_replace(&path, &KIND).unwrap();
            drop(connection);
            assert_eq!(quarantined.len(), 1, "after {steps}");
            assert_eq!((rows(&path), rows(&quarantined[0].pending())), (0, 1), "after {steps}");

            // Until it has been seen to it is found at each start, and then no more.
            assert_eq!(open_or_replace(&path, &KIND).unwrap().quarantined, quarantined);
            quarantined[0].mark_recovered().unwrap();
            assert_eq!(open_or_replace(&path, &KIND).unwrap().quarantined, []);
            assert_eq!(rows(&quarantined[0].path), 1);
        }
    }

    #[test]
    fn a_crash_between_the_last_renames_takes_no_good_file_for_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = killed(dir.path());
        replace(&path, &KIND, "damaged").unwrap();
        let [file] = &pending(&path).unwrap()[..] else { panic!("one is pending") };
        fs::rename(with(&file.pending(), "-wal"), with(&file.path, "-wal")).unwrap();
        assert_eq!(open_or_replace(&path, &KIND).unwrap().quarantined, std::slice::from_ref(file));
        file.mark_recovered().unwrap();
        let name = |end: &str| format!("{}{end}", file.path.file_name().unwrap().to_str().unwrap());
        assert_eq!(names(dir.path()), ["outbox.db".to_owned(), name(""), name("-wal")]);
    }

    #[test]
    fn a_log_that_somebody_has_left_behind_belongs_to_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = killed(dir.path());
        let left_behind = with(&path, ".damaged-7.pending-wal");
        fs::copy(with(&path, "-wal"), &left_behind).unwrap();
        assert_eq!(open_or_replace(&path, &KIND).unwrap().quarantined, []);
        assert_eq!(rows(&path), 1);
        replace(&path, &KIND, "damaged").unwrap();
        let [file] = &pending(&path).unwrap()[..] else { panic!("one is pending") };
        assert_ne!(file.path, with(&path, ".damaged-7"));
        assert!(left_behind.exists());
    }

    #[test]
    fn two_damaged_files_are_both_pending() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        for content in ["one", "two"] {
            fs::write(&path, content.repeat(500)).unwrap();
            open_or_replace(&path, &KIND).unwrap();
        }
        assert_eq!(pending(&path).unwrap().len(), 2);
    }
}
