//! Reattaching: a database whose files were removed or replaced gets new files at its path.
//!
//! ```text
//!  open connection to the old files ──► outbox.db.new ──► outbox.db
//!                        another file at the path ──► outbox.db.damaged-TIME
//! ```
//!
//! Deleted files exist until they are closed, so their content can be copied.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail};
use rusqlite::Connection;

use super::open_files::OpenFiles;
use super::quarantine::{free_name, put_in_place, rename_if_exists};
use super::sqlite::{self, DatabaseKind, cannot_open, with_suffix};
use crate::log::{self, Severity, Value};

/// The files of a database beside the file itself.
const SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Copies all of the database to new files at the path, and opens them. If it cannot be read, the new database is empty.
///
/// `reason` says what happened to the old files. After an error, the call can be repeated.
pub(crate) fn reattach(
    connection: &mut Connection,
    files: &mut OpenFiles,
    path: &Path,
    kind: &DatabaseKind,
    reason: &str,
) -> anyhow::Result<()> {
    let mut lost = None;
    build(path, files, kind, |new| {
        let copied = connection.execute("VACUUM INTO ?", [new.to_string_lossy()]);
        lost = copied.err().map(|error| error.to_string());
        if lost.is_some() {
            remove(new);
            drop(sqlite::open(new, kind)?);
        }
        Ok(())
    })?;
    let new = sqlite::open(path, kind)?;
    *files = OpenFiles::of(path, kind.access)?;
    sqlite::leave_wal_on_close(connection)?;
    *connection = new;
    report(path, kind, reason, lost.as_deref());
    Ok(())
}

/// Logs that a database has new files, and the error if its content is lost.
pub(crate) fn report(path: &Path, kind: &DatabaseKind, reason: &str, lost: Option<&str>) {
    log::line(
        Severity::Error,
        if lost.is_some() {
            "database file removed or replaced, its content is lost"
        } else {
            "database file removed or replaced, copied its content to a new file"
        },
        &[
            ("database", Value::Str(kind.name)),
            ("path", Value::Fmt(format_args!("{}", path.display()))),
            ("reason", Value::Str(reason)),
            ("error", Value::Str(lost.unwrap_or("none"))),
        ],
    );
}

/// Puts a new file at the path, which `make` creates under another name. Quarantines a file of others at the path.
pub(crate) fn build<T>(
    path: &Path,
    files: &OpenFiles,
    kind: &DatabaseKind,
    make: impl FnOnce(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let new = with_suffix(path, ".new");
    remove(&new);
    let made = make(&new)?;
    if SUFFIXES.iter().any(|suffix| fs::metadata(with_suffix(&new, suffix)).is_ok_and(|file| file.len() > 0))
    {
        bail!("failed to complete {}", new.display());
    }
    File::open(&new).and_then(|file| file.sync_all()).with_context(|| new.display().to_string())?;
    clear(path, files, kind)?;
    fs::remove_file(path).or_else(ignore_not_found).with_context(|| cannot_open(path, kind))?;
    put_in_place(path).with_context(|| cannot_open(path, kind))?;
    Ok(made)
}

/// Removes what is left of the old files at the path, and quarantines other files.
fn clear(path: &Path, files: &OpenFiles, kind: &DatabaseKind) -> anyhow::Result<()> {
    let context = || format!("failed to move {} away", path.display());
    let quarantined = free_name(path).with_context(context)?.path;
    for suffix in SUFFIXES {
        let file = with_suffix(path, suffix);
        if suffix == "-shm" || files.contains(&file) {
            fs::remove_file(&file).or_else(ignore_not_found).with_context(context)?;
        } else {
            rename_if_exists(&file, &with_suffix(&quarantined, suffix)).with_context(context)?;
        }
    }
    if fs::symlink_metadata(path).is_ok() && !files.contains(path) {
        fs::rename(path, &quarantined).with_context(context)?;
        log::line(
            Severity::Error,
            "another file at the path of a database quarantined",
            &[
                ("database", Value::Str(kind.name)),
                ("path", Value::Fmt(format_args!("{}", path.display()))),
                ("quarantined", Value::Fmt(format_args!("{}", quarantined.display()))),
            ],
        );
    }
    Ok(())
}

fn remove(new: &Path) {
    // What cannot be removed fails when the file is created.
    let _ = fs::remove_file(new);
    for suffix in SUFFIXES {
        let _ = fs::remove_file(with_suffix(new, suffix));
    }
}

fn ignore_not_found(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
