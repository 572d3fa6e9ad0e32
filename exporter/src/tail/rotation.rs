//! Finds the rotated files of a log.
//!
//! A rotated file is in the same folder as its successor. Its name is the old name followed by a number or a time
//! (`app.log.1`, `app.log-20261122`, `0.log.20261122-230000`), as logrotate and the kubelet choose it. Other names are
//! not read: they are other files (`app.log.audit`), compressed (`.gz`) or incomplete (`.tmp`).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::file::{FileId, FoundFile, metadata_of};

/// Older rotated files are ignored.
const MAX_ROTATED: usize = 64;

/// More names are not kept for the next log of the folder.
const MAX_NAMES: usize = 64 << 10;

/// The endings of compressed files.
const COMPRESSED: [&[u8]; 5] = [b".gz", b".zst", b".xz", b".bz2", b".lz4"];

/// The names in one folder that can be of rotated files. They save the logs of one folder a listing each.
#[derive(Debug, Default)]
pub(super) struct Names {
    folder: PathBuf,
    names: Vec<OsString>,
    is_listed: bool,
}

impl Names {
    /// Lists the folder again when it is next needed.
    pub(super) fn forget(&mut self) {
        self.is_listed = false;
    }

    /// Returns whether a folder is listed.
    pub(super) const fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// Returns the rotated files of the log at this path, which is not a symbolic link. The oldest is the first.
    pub(super) fn siblings(&mut self, target: &Path) -> io::Result<Vec<FoundFile>> {
        let mut rotated = Vec::new();
        self.each(target, |path, kind| {
            // A file that is gone, or cannot be read, is not a file to continue with.
            if kind == Kind::Plain
                && let Ok(Some(metadata)) = metadata_of(&path)
            {
                let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let id = FileId::of(&metadata);
                rotated.push((modified, FoundFile { path, id, length: metadata.len() }));
            }
        })?;
        rotated.sort_by(|(a, one), (b, other)| (a, &one.path).cmp(&(b, &other.path)));
        let old = rotated.len().saturating_sub(MAX_ROTATED);
        Ok(rotated.into_iter().skip(old).map(|(_, file)| file).collect())
    }

    /// Returns whether the log at this path has rotated files that are compressed.
    pub(super) fn has_compressed(&mut self, target: &Path) -> bool {
        let mut has_compressed = false;
        let listed = self.each(target, |_, kind| has_compressed |= kind == Kind::Compressed);
        listed.is_ok() && has_compressed
    }

    fn each(&mut self, target: &Path, mut visit: impl FnMut(PathBuf, Kind)) -> io::Result<()> {
        let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else { return Ok(()) };
        if !self.is_listed || self.folder != folder {
            self.list(folder)?;
        }
        for other in &self.names {
            if let Some(kind) = kind_of(other, name) {
                visit(folder.join(other), kind);
            }
        }
        if self.names.len() > MAX_NAMES {
            *self = Self::default();
        }
        Ok(())
    }

    fn list(&mut self, folder: &Path) -> io::Result<()> {
        *self = Self::default();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            if may_be_rotated(&name) {
                self.names.push(name);
            }
        }
        self.folder = folder.to_owned();
        self.is_listed = true;
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Compressed,
}

/// Returns what kind of rotated file of the log `base` this is, if it is one.
fn kind_of(name: &OsStr, base: &OsStr) -> Option<Kind> {
    let suffix = name.as_encoded_bytes().strip_prefix(base.as_encoded_bytes())?;
    let (kind, suffix) = without_compression(suffix);
    is_rotation_suffix(suffix).then_some(kind)
}

/// Returns whether this can be a rotated file of any log.
fn may_be_rotated(name: &OsStr) -> bool {
    without_compression(name.as_encoded_bytes()).1.last().is_some_and(u8::is_ascii_digit)
}

fn without_compression(name: &[u8]) -> (Kind, &[u8]) {
    match COMPRESSED.iter().find_map(|end| name.strip_suffix(*end)) {
        Some(name) => (Kind::Compressed, name),
        None => (Kind::Plain, name),
    }
}

/// Returns true for the end of a name that a rotation adds: `.1`, `-20261122`, `.20261122-230000`, `.2026-11-22_23-00`.
fn is_rotation_suffix(suffix: &[u8]) -> bool {
    let [b'.' | b'-', first, rest @ ..] = suffix else { return false };
    let is_of_date = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'_' | b'.' | b':' | b'T');
    first.is_ascii_digit() && rest.iter().all(is_of_date)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rotated_files_are_found_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let write = |name: &str, seconds: u64| {
            let file = fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        };
        let names = [
            ("app.log", 50),
            ("app.log.1", 40),
            ("app.log.2", 30),
            ("app.log.3", 20),
            ("app.log.2-other", 10),
            ("other.log.1", 60),
            ("app.log.audit", 60),
            ("app.log.5.tmp", 60),
            ("app.log-20261121", 15),
            ("app.log.20261122-230000", 17),
            ("app.log-2026-11-23T10", 18),
            // Python's TimedRotatingFileHandler, and a date with an index.
            ("app.log.2026-11-22_10-30", 12),
            ("app.log.2026-11-22.1", 11),
        ];
        for (name, seconds) in names {
            write(name, seconds);
        }
        fs::create_dir(dir.path().join("app.log.7")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("app.log.8"), 0o600.into()).unwrap();
        let mut listing = Names::default();
        let mut check = |expected: &[&str], has_compressed: bool| {
            let siblings = listing.siblings(&path).unwrap();
            let names: Vec<&str> =
                siblings.iter().map(|file| file.path.file_name().unwrap().to_str().unwrap()).collect();
            assert_eq!((names, listing.has_compressed(&path)), (expected.to_vec(), has_compressed));
            listing.forget();
        };
        let mut expected = vec![
            "app.log.2026-11-22.1",
            "app.log.2026-11-22_10-30",
            "app.log-20261121",
            "app.log.20261122-230000",
            "app.log-2026-11-23T10",
            "app.log.3",
            "app.log.2",
            "app.log.1",
        ];
        check(&expected, false);
        write("app.log.4.gz", 60);
        check(&expected, true);
        for n in 100..100 + MAX_ROTATED - expected.len() + 1 {
            write(&format!("app.log.{n}"), 100);
        }
        expected.remove(0);
        let newest: Vec<String> =
            (100..100 + MAX_ROTATED - expected.len()).map(|n| format!("app.log.{n}")).collect();
        expected.extend(newest.iter().map(String::as_str));
        check(&expected, true);
    }
}
