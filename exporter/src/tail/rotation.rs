//! Files that were rotated away while nobody was looking: which of them are still to be read.
//!
//! A rotated file lies beside the one that took its place, under its name with a number or a time added (`app.log.1`,
//! `app.log-20261122`, `0.log.20261122-230000`), which is what logrotate and the kubelet do. Whatever else is added says
//! that it is another file (`app.log.audit`), or packed (`.gz`), or not complete (`.tmp`), which is not read.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The file that was read up to `offset` and begins with `head`, if it is no longer the one at `path`.
pub(super) fn find(path: &Path, offset: u64, head: &[u8]) -> Option<PathBuf> {
    if head.is_empty() || is_the_one(path, offset, head) {
        return None;
    }
    let mut siblings = siblings(path).unwrap_or_default();
    siblings.retain(|sibling| is_the_one(&sibling.path, offset, head));
    // Of files that begin alike the youngest.
    siblings.pop().map(|sibling| sibling.path)
}

/// The file that was rotated away after this one, if there is one.
pub(super) fn after(path: &Path, device: u64, inode: u64) -> Option<PathBuf> {
    let mut siblings = siblings(path).unwrap_or_default().into_iter();
    siblings.find(|sibling| (sibling.device, sibling.inode) == (device, inode))?;
    siblings.next().map(|sibling| sibling.path)
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

/// A rotated file.
struct Sibling {
    /// When it was written last.
    modified: SystemTime,
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// The rotated files, oldest first.
fn siblings(path: &Path) -> io::Result<Vec<Sibling>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let base = name.as_encoded_bytes();
    let mut siblings = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_rotated = name.as_encoded_bytes().strip_prefix(base).is_some_and(is_of_rotation);
        let metadata = entry.metadata()?;
        if is_rotated && metadata.is_file() {
            siblings.push(Sibling {
                modified: metadata.modified()?,
                path: entry.path(),
                device: metadata.dev(),
                inode: metadata.ino(),
            });
        }
    }
    siblings.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
    Ok(siblings)
}

/// Whether this, behind the name of a file, is what a rotation adds: `.1`, `-20261122`, `.20261122-230000`.
fn is_of_rotation(added: &[u8]) -> bool {
    let [b'.' | b'-', first, rest @ ..] = added else { return false };
    first.is_ascii_digit() && rest.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'T'))
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
                found = after(&path, metadata.dev(), metadata.ino());
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
