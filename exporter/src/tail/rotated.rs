//! Files that were rotated away while nobody was looking: which of them are still to be read.
//!
//! A rotated file lies beside the one that took its place, under its name with something added (`app.log.1`,
//! `0.log.20261122-230000`), which is what logrotate and the kubelet do. One that is packed (`.gz`) is not read.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The files to read before the one at `path`, oldest first, if that is no longer the one which was read up to
/// `offset` and begins with `head`: that one, and those that came after it.
pub(super) fn before(path: &Path, offset: u64, head: &[u8]) -> VecDeque<PathBuf> {
    if head.is_empty() || is_the_one(path, offset, head) {
        return VecDeque::new();
    }
    let mut siblings = siblings(path).unwrap_or_default();
    siblings.sort();
    // Of files that begin alike the youngest.
    match siblings.iter().rposition(|(_, sibling)| is_the_one(sibling, offset, head)) {
        Some(index) => siblings.into_iter().skip(index).map(|(_, sibling)| sibling).collect(),
        None => VecDeque::new(),
    }
}

fn is_the_one(path: &Path, offset: u64, head: &[u8]) -> bool {
    let begins = || -> io::Result<bool> {
        let file = File::open(path)?;
        let mut start = vec![0; head.len()];
        file.read_exact_at(&mut start, 0)?;
        Ok(file.metadata()?.len() >= offset && start == head)
    };
    begins().unwrap_or(false)
}

/// The rotated files, each with the time when it was written last.
fn siblings(path: &Path) -> io::Result<Vec<(SystemTime, PathBuf)>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let prefix = [name.as_encoded_bytes(), b"."].concat();
    let mut siblings = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_rotated = name.as_encoded_bytes().starts_with(&prefix);
        let is_packed =
            entry.path().extension().is_some_and(|extension| extension == "gz" || extension == "zst");
        let metadata = entry.metadata()?;
        if is_rotated && !is_packed && metadata.is_file() {
            siblings.push((metadata.modified()?, entry.path()));
        }
    }
    Ok(siblings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_was_rotated_comes_first_and_in_order() {
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
        let check = |offset: u64, head: &str, expected: &[&str]| {
            let found = before(&path, offset, head.as_bytes());
            let names: Vec<_> =
                found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
            assert_eq!(names, expected, "{head} {offset}");
        };
        check(2, "b\n", &["app.log.2", "app.log.1"]);
        check(2, "a\n", &["app.log.3", "app.log.2", "app.log.1"]);
        check(2, "c\n", &["app.log.1"]);
        check(2, "d\n", &[]);
        check(0, "", &[]);
        check(2, "gone\n", &[]);
        check(5, "b\n", &[]);
    }
}
