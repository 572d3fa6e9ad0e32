//! Rotated files: which of them are still to be read, and when to leave the one that is open.
//!
//! A rotated file is in the same folder as its successor. Its name is the old name followed by a number or a time
//! (`app.log.1`, `app.log-20261122`, `0.log.20261122-230000`), as logrotate and the kubelet choose it. Other names are
//! not read: they are other files (`app.log.audit`), compressed (`.gz`) or incomplete (`.tmp`).

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// The identity of a file on disk. Another file can get it after the file is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// The wait before a rotated file is left: programs write to it until they reopen their log.
#[derive(Debug)]
pub(super) struct RotationWait {
    /// How long the file has to be unchanged.
    quiet: Duration,
    /// `None` if the file was not rotated.
    rotated: Option<Rotated>,
}

#[derive(Debug, Clone, Copy)]
struct Rotated {
    seen: Instant,
    last_growth: Instant,
}

/// The wait ends after this many quiet periods, even if the file still grows.
const MAX_QUIET_PERIODS: u32 = 12;

impl RotationWait {
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, rotated: None }
    }

    /// Updates the state after a read.
    pub(super) fn update(&mut self, is_rotated: bool, has_grown: bool) {
        let now = Instant::now();
        self.rotated = match self.rotated {
            _ if !is_rotated => None,
            Some(rotated) if has_grown => Some(Rotated { last_growth: now, ..rotated }),
            Some(rotated) => Some(rotated),
            None => Some(Rotated { seen: now, last_growth: now }),
        };
    }

    pub(super) fn is_over(&self) -> bool {
        let is_over = |rotated: Rotated| {
            rotated.last_growth.elapsed() >= self.quiet
                || rotated.seen.elapsed() >= self.quiet * MAX_QUIET_PERIODS
        };
        self.quiet.is_zero() || self.rotated.is_some_and(is_over)
    }

    pub(super) fn reset(&mut self) {
        self.rotated = None;
    }
}

/// Returns the rotated file that was read up to `offset` and begins with `head`. Returns `None` if this is the file at
/// `path`, or if there is no such file.
pub(super) fn find(path: &Path, offset: u64, head: &[u8]) -> Option<PathBuf> {
    if head.is_empty() || matches(path, offset, head) {
        return None;
    }
    let mut siblings = siblings(path).unwrap_or_default();
    siblings.retain(|sibling| matches(&sibling.path, offset, head));
    // If several files have the same beginning, the newest is the most likely.
    siblings.pop().map(|sibling| sibling.path)
}

/// Returns the file to read after this one, if this one was rotated and a new file exists at `path`.
pub(super) fn successor(path: &Path, id: FileId) -> io::Result<Option<PathBuf>> {
    match fs::metadata(path) {
        Ok(now) if (FileId { device: now.dev(), inode: now.ino() }) == id => Ok(None),
        Ok(_) => Ok(Some(after(path, id).unwrap_or_else(|| path.to_owned()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the file that was rotated after this one, if there is one.
fn after(path: &Path, id: FileId) -> Option<PathBuf> {
    let mut siblings = siblings(path).unwrap_or_default().into_iter();
    siblings.find(|sibling| sibling.id == id)?;
    siblings.next().map(|sibling| sibling.path)
}

fn matches(path: &Path, offset: u64, head: &[u8]) -> bool {
    let begins = || -> io::Result<bool> {
        let file = File::open(path)?;
        let mut start = vec![0; head.len()];
        file.read_exact_at(&mut start, 0)?;
        Ok(file.metadata()?.len() >= offset && start == head)
    };
    begins().unwrap_or(false)
}

/// A rotated file.
struct Sibling {
    modified: SystemTime,
    path: PathBuf,
    id: FileId,
}

/// Returns the rotated files, oldest first.
fn siblings(path: &Path) -> io::Result<Vec<Sibling>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let base = name.as_encoded_bytes();
    let mut siblings = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_rotated = name.as_encoded_bytes().strip_prefix(base).is_some_and(is_rotation_suffix);
        let metadata = entry.metadata()?;
        if is_rotated && metadata.is_file() {
            siblings.push(Sibling {
                modified: metadata.modified()?,
                path: entry.path(),
                id: FileId { device: metadata.dev(), inode: metadata.ino() },
            });
        }
    }
    siblings.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
    Ok(siblings)
}

/// Returns true for the end of a name that a rotation adds: `.1`, `-20261122`, `.20261122-230000`.
fn is_rotation_suffix(suffix: &[u8]) -> bool {
    let [b'.' | b'-', first, rest @ ..] = suffix else { return false };
    first.is_ascii_digit() && rest.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'T'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_found_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let write = |name: &str, text: &str, seconds: u64| {
            let file = dir.path().join(name);
            fs::write(&file, text).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            File::options().append(true).open(&file).unwrap().set_modified(time).unwrap();
        };
        write("app.log", "d\n", 50);
        write("app.log.1", "c\n", 40);
        write("app.log.2", "b\nb\n", 30);
        write("app.log.3", "a\n", 20);
        write("app.log.4.gz", "b\nb\n", 60);
        write("app.log.2-other", "b\nb\n", 10);
        write("other.log.1", "b\nb\n", 60);
        write("app.log.audit", "b\nb\n", 60);
        write("app.log.5.tmp", "b\nb\n", 60);
        write("app.log-20261121", "e\n", 15);
        write("app.log.20261122-230000", "f\n", 17);
        let check = |offset: u64, head: &str, expected: &[&str]| {
            let mut names = Vec::new();
            let mut found = find(&path, offset, head.as_bytes());
            while let Some(file) = found {
                names.push(file.file_name().unwrap().to_str().unwrap().to_owned());
                let metadata = fs::metadata(&file).unwrap();
                found = after(&path, FileId { device: metadata.dev(), inode: metadata.ino() });
            }
            assert_eq!(names, expected, "{head} {offset}");
        };
        check(2, "b\n", &["app.log.2", "app.log.1"]);
        check(2, "a\n", &["app.log.3", "app.log.2", "app.log.1"]);
        let times = ["app.log-20261121", "app.log.20261122-230000", "app.log.3", "app.log.2", "app.log.1"];
        check(2, "e\n", &times);
        check(2, "c\n", &["app.log.1"]);
        check(2, "d\n", &[]);
        check(0, "", &[]);
        check(2, "gone\n", &[]);
        check(5, "b\n", &[]);
    }
}
