//! [`OpenFiles`]: notices when a file of an open database is removed, replaced or truncated.
//!
//! SQLite does not notice it: it goes on writing to the open files, and the data is gone when they are closed.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::sqlite::{Access, with_suffix};

/// The file and its write-ahead log, with the lengths that they had when they were last recorded.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    files: Vec<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    identity: Identity,
    length: u64,
}

/// The identity of a file, whatever its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

/// Returns whether this file is the one at the path.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let at_path = fs::metadata(path).ok().as_ref().map(Identity::of);
    at_path.is_some() && file.metadata().ok().as_ref().map(Identity::of) == at_path
}

/// A change that another program has made to the files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A path has no file any more, or another one. The open files are complete.
    Detached(String),
    /// A file was truncated: the open files are incomplete.
    Truncated(String),
}

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl OpenFiles {
    /// Records the files of a database right after it was opened.
    pub(crate) fn of(path: &Path, access: Access) -> anyhow::Result<Self> {
        let mut paths = vec![path.to_owned()];
        if access == Access::Exclusive {
            paths.push(with_suffix(path, "-wal"));
        }
        let record = |path: PathBuf| {
            let metadata = fs::metadata(&path).with_context(|| path.display().to_string())?;
            anyhow::Ok(OpenFile { path, identity: Identity::of(&metadata), length: metadata.len() })
        };
        Ok(Self { files: paths.into_iter().map(record).collect::<Result<_, _>>()? })
    }

    /// Returns whether this is the file, or its write-ahead log.
    pub(super) fn contains(&self, path: &Path) -> bool {
        let identity = fs::metadata(path).ok().as_ref().map(Identity::of);
        self.files.iter().any(|file| Some(file.identity) == identity)
    }

    /// Looks for a change since the lengths were recorded.
    pub(crate) fn change(&self) -> Option<Change> {
        self.detached().map(Change::Detached).or_else(|| {
            let is_shorter = |file: &&OpenFile| {
                fs::metadata(&file.path).is_ok_and(|metadata| metadata.len() < file.length)
            };
            let file = self.files.iter().find(is_shorter)?;
            Some(Change::Truncated(format!("{} was truncated by another program", file.path.display())))
        })
    }

    /// Returns the reason if a path has no file any more, or another one.
    pub(crate) fn detached(&self) -> Option<String> {
        self.files.iter().find_map(|file| {
            let reason = match fs::metadata(&file.path) {
                Ok(metadata) if Identity::of(&metadata) == file.identity => return None,
                Ok(_) => "was replaced by another file".to_owned(),
                Err(error) if error.kind() == ErrorKind::NotFound => "was removed".to_owned(),
                Err(error) => format!("cannot be found: {error}"),
            };
            Some(format!("{} {reason}", file.path.display()))
        })
    }

    /// Records the lengths after a commit, which never makes a file shorter. A file that is shorter was truncated by
    /// another program, possibly during the commit.
    pub(crate) fn record_growth(&mut self) {
        self.record(|known, length| known.max(length));
    }

    /// Records the lengths after a checkpoint, which can make the files shorter.
    pub(crate) fn record_lengths(&mut self) {
        self.record(|_, length| length);
    }

    fn record(&mut self, length: impl Fn(u64, u64) -> u64) {
        for file in &mut self.files {
            if let Ok(metadata) = fs::metadata(&file.path) {
                file.length = length(file.length, metadata.len());
            }
        }
    }
}

/// Checks that the files of a database, as far as they exist, are regular files. Opening a FIFO can block for ever.
pub(super) fn require_regular_files(path: &Path) -> anyhow::Result<()> {
    for suffix in ["", "-wal", "-journal"] {
        require_regular_file(&with_suffix(path, suffix))?;
    }
    Ok(())
}

fn require_regular_file(path: &Path) -> anyhow::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => bail!("{} is not a regular file", path.display()),
        Err(error) if is_absent(path, &error) => Ok(()),
        Err(error) => bail!("{}: {error}", path.display()),
    }
}

/// Returns whether nothing has this name. A symbolic link without a target is something.
fn is_absent(path: &Path, error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err()
}
