//! Following a file: its complete lines, once each, through growth, truncation and rotation.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use super::rotated;

/// A line that is longer is skipped.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// What is read at once; room for at least one line of full length.
const READ_BYTES: usize = 2 * MAX_LINE_BYTES;

/// A file is known again by its first bytes (at most so many), because inode numbers are used again.
const HEAD_BYTES: usize = 256;

/// A file that is being followed.
#[derive(Debug)]
pub(super) struct Follow {
    path: PathBuf,
    /// What was rotated away and is to be read first; the first of it is the one that is open.
    rotated: VecDeque<PathBuf>,
    file: Option<Open>,
    /// Everything before it has been read: the start of a line, or a place inside a line that is too long.
    offset: u64,
    /// The first bytes of the file, as far as they are before `offset`.
    head: Vec<u8>,
    /// The rest of a line that is too long is still to come.
    skipping: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    device: u64,
    inode: u64,
}

/// A line, or what stands for one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Line(Vec<u8>),
    TooLong,
}

/// What one look at the file found.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) pieces: Vec<Piece>,
    /// The offset has changed.
    pub(super) moved: bool,
    /// Another look will find more at once.
    pub(super) more: bool,
}

impl Follow {
    /// Goes on at this offset, in the file that begins with the head: the one of this name, or a rotated one beside
    /// it, and then those that came after. Where there is none, from the beginning.
    pub(super) fn resume(path: PathBuf, position: Option<(u64, Vec<u8>)>) -> Self {
        let (offset, head) = position.unwrap_or_default();
        let rotated = rotated::before(&path, offset, &head);
        Self { path, rotated, file: None, offset, head, skipping: false }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Reads the lines that have been completed since the last look. A file that does not exist has none.
    pub(super) fn read(&mut self) -> io::Result<Read> {
        let Some(open) = self.file.take().map_or_else(|| self.open(), |open| Ok(Some(open)))? else {
            return Ok(Read::default());
        };
        let length = open.file.metadata()?.len();
        if length < self.offset || !self.begins_with_head(&open.file)? {
            self.restart();
        }
        let mut read = self.read_lines(&open.file, length)?;
        if !read.moved && self.has_been_replaced(&open)? {
            // The old file is read to its end; the next look opens the new one.
            self.rotated.pop_front();
            self.restart();
            read.more = true;
        } else {
            self.file = Some(open);
        }
        Ok(read)
    }

    fn open(&self) -> io::Result<Option<Open>> {
        let file = match File::open(self.rotated.front().unwrap_or(&self.path)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::other("it is a directory"));
        }
        Ok(Some(Open { file, device: metadata.dev(), inode: metadata.ino() }))
    }

    fn restart(&mut self) {
        self.offset = 0;
        self.head.clear();
        self.skipping = false;
    }

    fn begins_with_head(&self, file: &File) -> io::Result<bool> {
        let mut start = vec![0; self.head.len()];
        let length = read_at(file, &mut start, 0)?;
        Ok(start.get(..length) == Some(&self.head[..]))
    }

    fn has_been_replaced(&self, open: &Open) -> io::Result<bool> {
        if !self.rotated.is_empty() {
            return Ok(true);
        }
        match std::fs::metadata(&self.path) {
            Ok(now) => Ok((now.dev(), now.ino()) != (open.device, open.inode)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read_lines(&mut self, file: &File, length: u64) -> io::Result<Read> {
        let wanted =
            usize::try_from(length.saturating_sub(self.offset)).unwrap_or(usize::MAX).min(READ_BYTES);
        let mut buffer = vec![0; wanted];
        let length = read_at(file, &mut buffer, self.offset)?;
        buffer.truncate(length);
        let mut read = Read { more: length == READ_BYTES, ..Read::default() };
        let mut used = 0;
        for line in buffer.split_inclusive(|byte| *byte == b'\n') {
            if line.last() == Some(&b'\n') {
                used += line.len();
                match (std::mem::take(&mut self.skipping), line.len() > MAX_LINE_BYTES) {
                    (true, _) => {}
                    (false, true) => read.pieces.push(Piece::TooLong),
                    (false, false) => read.pieces.push(Piece::Line(line.to_vec())),
                }
            } else if self.skipping || line.len() > MAX_LINE_BYTES {
                used += line.len();
                if !std::mem::replace(&mut self.skipping, true) {
                    read.pieces.push(Piece::TooLong);
                }
            }
        }
        let taken = buffer.get(..used).unwrap_or_default();
        if self.offset == self.head.len() as u64 {
            let wanted = HEAD_BYTES.saturating_sub(self.head.len()).min(taken.len());
            self.head.extend_from_slice(taken.get(..wanted).unwrap_or_default());
        }
        self.offset += used as u64;
        read.moved = used > 0;
        Ok(read)
    }
}

/// Fills the buffer from this offset as far as the file goes.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{OpenOptions, remove_file, rename, write};
    use std::io::Write;
    use std::path::Path;

    fn append(path: &Path, bytes: &[u8]) {
        OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
    }

    #[track_caller]
    fn check(follow: &mut Follow, expected: &[&str]) {
        let mut lines = Vec::new();
        loop {
            let read = follow.read().unwrap();
            lines.extend(read.pieces.into_iter().map(|piece| match piece {
                Piece::Line(line) => String::from_utf8(line).unwrap().trim_end().to_owned(),
                Piece::TooLong => "TOO LONG".to_owned(),
            }));
            if !read.more {
                break;
            }
        }
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_file_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut follow = Follow::resume(path.clone(), None);
        check(&mut follow, &[]);
        append(&path, b"one\ntw");
        check(&mut follow, &["one"]);
        check(&mut follow, &[]);
        append(&path, b"o\r\n\nthree");
        check(&mut follow, &["two", ""]);
        append(&path, b"\n");
        check(&mut follow, &["three"]);
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, b"one\ntwo\nthr");
        let mut follow = Follow::resume(path.clone(), None);
        check(&mut follow, &["one", "two"]);
        let position = Some((follow.offset(), follow.head().to_vec()));
        append(&path, b"ee\n");
        check(&mut Follow::resume(path.clone(), position.clone()), &["three"]);

        // Another file by the same name, longer than the old one.
        write(&path, b"a\nb\nc\nd\ne\nf\ng\nh\ni\n").unwrap();
        check(&mut Follow::resume(path, position), &["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    }

    #[test]
    fn a_truncated_file_is_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, b"one\ntwo\n");
        let mut follow = Follow::resume(path.clone(), None);
        check(&mut follow, &["one", "two"]);
        write(&path, b"a\n").unwrap();
        check(&mut follow, &["a"]);
        write(&path, b"x, now longer than before\n").unwrap();
        check(&mut follow, &["x, now longer than before"]);
    }

    #[test]
    fn a_rotated_file_is_read_to_its_end_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, b"one\n");
        let mut follow = Follow::resume(path.clone(), None);
        check(&mut follow, &["one"]);
        let rotated = dir.path().join("log.1");
        rename(&path, &rotated).unwrap();
        append(&rotated, b"two\n");
        check(&mut follow, &["two"]);
        append(&rotated, b"three\n");
        append(&path, b"four\n");
        check(&mut follow, &["three"]);
        check(&mut follow, &["four"]);

        remove_file(&path).unwrap();
        check(&mut follow, &[]);
        append(&path, b"five\n");
        check(&mut follow, &["five"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, b"one\n");
        append(&path, &vec![b'x'; 5 * MAX_LINE_BYTES]);
        append(&path, b"\ntwo\n");
        let mut follow = Follow::resume(path, None);
        check(&mut follow, &["one", "TOO LONG", "two"]);
    }

    #[test]
    fn a_directory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Follow::resume(dir.path().to_owned(), None).read().is_err());
    }
}
