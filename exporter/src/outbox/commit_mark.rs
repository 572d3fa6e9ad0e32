//! The commit mark: the newest committed batch, in a file of its own.
//!
//! SQLite ignores all of a write-ahead log after the first damaged byte, as if it had never been written. With the mark, the
//! batches that are lost in this way are counted at the start.
//!
//! Invariant: the mark is written after the commit is on disk, so it is never ahead of the outbox. It is not synced: after a
//! power loss it may be older, and then fewer batches are counted.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::watermarks::Watermarks;
use crate::storage::is_at;

/// The file of the mark. Without it, nothing is counted.
#[derive(Debug)]
pub(super) struct MarkFile {
    path: PathBuf,
    file: Option<File>,
    written: Option<CommitMark>,
}

/// The watermarks of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommitMark {
    /// The id of the last batch.
    pub(super) last_id: i64,
    /// The id of the last batch that every sink had acknowledged.
    pub(super) acknowledged: i64,
}

/// The length of a mark: two numbers and the beginning of their hash.
const LENGTH: usize = 2 * 20 + 16 + 3;

impl MarkFile {
    /// Opens the file in this directory, and reads the mark. A mark that is not valid is ignored.
    pub(super) fn open(dir: &Path) -> (Self, Option<CommitMark>) {
        let path = dir.join("outbox.mark");
        let is_file = fs::metadata(&path).map_or(true, |metadata| metadata.is_file());
        let options = || File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = is_file.then(options).and_then(Result::ok);
        let mark = file.as_ref().and_then(|file| {
            let mut text = String::new();
            file.take(LENGTH as u64 + 1).read_to_string(&mut text).ok()?;
            CommitMark::parse(&text)
        });
        (Self { path, file, written: None }, mark)
    }

    /// Creates the file again if another program has removed or replaced it.
    pub(super) fn check(&mut self, watermarks: &Watermarks) {
        if !self.file.as_ref().is_some_and(|file| is_at(file, &self.path)) {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            *self = Self::open(dir).0;
            self.write(watermarks);
        }
    }

    /// Writes the mark of a commit that is on disk.
    pub(super) fn write(&mut self, watermarks: &Watermarks) {
        let mark = CommitMark { last_id: watermarks.last_id, acknowledged: watermarks.lowest_cursor() };
        if self.written != Some(mark)
            && let Some(file) = &self.file
        {
            // An older mark counts fewer batches.
            let result = file.write_all_at(mark.text().as_bytes(), 0);
            self.written = result.is_ok().then_some(mark);
        }
    }
}

impl CommitMark {
    fn text(self) -> String {
        let numbers = format!("{:020} {:020}", self.last_id, self.acknowledged);
        let hash = Sha256::digest(&numbers);
        format!("{numbers} {}\n", hex::encode(hash.first_chunk::<8>().unwrap_or(&[0; 8])))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(|number| number.parse().ok());
        let mark = Self { last_id: numbers.next()??, acknowledged: numbers.next()?? };
        (mark.text() == text).then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_an_invalid_one_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(MarkFile::open(dir.path()).1, None);
        let mut watermarks = Watermarks::new(2);
        for (last_id, cursors) in [(7, vec![3, 5]), (8, vec![8, 8])] {
            (watermarks.last_id, watermarks.cursors) = (last_id, cursors);
            MarkFile::open(dir.path()).0.write(&watermarks);
            let expected = CommitMark { last_id, acknowledged: watermarks.lowest_cursor() };
            assert_eq!(MarkFile::open(dir.path()).1, Some(expected));
        }
        let path = dir.path().join("outbox.mark");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.len(), LENGTH);
        for invalid in ["", &text[1..], &text.replace('8', "9"), &format!("{text}\n")] {
            fs::write(&path, invalid).unwrap();
            assert_eq!(MarkFile::open(dir.path()).1, None, "{invalid:?}");
        }
    }
}
