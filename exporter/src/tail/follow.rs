//! Following a file: its complete lines, once each, through growth, truncation and rotation.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::cri::Assembler;
use super::rotation;

/// A line that is longer is skipped.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// What is read at once; room for at least one line of full length.
const READ_BYTES: usize = 2 * MAX_LINE_BYTES;

/// A file is known again by its first bytes (at most so many), because inode numbers are used again.
const HEAD_BYTES: usize = 256;

/// After a rotation the old file is followed until nothing has been added to it for so long, for programs write to it until
/// they are told; and at most so many times as long, for one may never be told.
pub(super) const ROTATE_WAIT: Duration = Duration::from_secs(5);
const MOST_WAITS: u32 = 12;

/// A file that is being followed.
#[derive(Debug)]
pub(super) struct Follow {
    path: PathBuf,
    /// The file to open: the one of this path, or one that was rotated away and is to be read first.
    next: PathBuf,
    file: Option<Open>,
    rotate_wait: Duration,
    /// The file that is open has been rotated away.
    rotated: Option<Rotated>,
    /// Everything before it has been read: the start of a line, a place inside a line that is too long, or the end of a
    /// rotated file.
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

/// Since when.
#[derive(Debug, Clone, Copy)]
struct Rotated {
    seen: Instant,
    last_growth: Instant,
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
    pub(super) fn resume(path: PathBuf, position: Option<(u64, Vec<u8>)>, rotate_wait: Duration) -> Self {
        let (offset, head) = position.unwrap_or_default();
        let next = rotation::find(&path, offset, &head).unwrap_or_else(|| path.clone());
        Self { path, next, file: None, rotate_wait, rotated: None, offset, head, skipping: false }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Reads the lines that have been completed since the last look, and of a rotated file the last one in any case. A file
    /// that does not exist has none.
    pub(super) fn read(&mut self) -> io::Result<Read> {
        let Some(open) = self.file.take().map_or_else(|| self.open(), |open| Ok(Some(open)))? else {
            return Ok(Read::default());
        };
        let length = open.file.metadata()?.len();
        if length < self.offset || !self.begins_with_head(&open.file)? {
            self.restart();
        }
        let mut read = self.read_lines(&open.file, length)?;
        match self.successor(&open)? {
            // The old file is read to its end; the next look opens the new one.
            Some(next) if !read.moved && (next != self.path || self.has_waited()) => {
                read.more = true;
                read.pieces = self.take_rest(&open.file, length)?;
                if read.pieces.is_empty() {
                    self.next = next;
                    self.rotated = None;
                    self.restart();
                } else {
                    // Its position is that of the old file still.
                    read.moved = true;
                    self.file = Some(open);
                }
            }
            successor => {
                self.note_rotation(successor.is_some(), read.moved);
                self.file = Some(open);
            }
        }
        Ok(read)
    }

    fn note_rotation(&mut self, is_rotated: bool, has_grown: bool) {
        let now = Instant::now();
        self.rotated = match self.rotated {
            _ if !is_rotated => None,
            Some(rotated) if has_grown => Some(Rotated { last_growth: now, ..rotated }),
            Some(rotated) => Some(rotated),
            None => Some(Rotated { seen: now, last_growth: now }),
        };
    }

    fn has_waited(&self) -> bool {
        let wait = self.rotate_wait;
        let enough = |rotated: Rotated| {
            rotated.last_growth.elapsed() >= wait || rotated.seen.elapsed() >= wait * MOST_WAITS
        };
        wait.is_zero() || self.rotated.is_some_and(enough)
    }

    fn open(&mut self) -> io::Result<Option<Open>> {
        let file = match File::open(&self.next) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.next.clone_from(&self.path);
                return Ok(None);
            }
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

    /// The file to read after this one, if it has been rotated away and another one is there.
    fn successor(&self, open: &Open) -> io::Result<Option<PathBuf>> {
        match std::fs::metadata(&self.path) {
            Ok(now) if (now.dev(), now.ino()) == (open.device, open.inode) => Ok(None),
            Ok(_) => {
                let between = rotation::after(&self.path, open.device, open.inode);
                Ok(Some(between.unwrap_or_else(|| self.path.clone())))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
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
        let mut parts = Assembler::default();
        // Up to here everything is whole, and so many pieces are from there.
        let (mut used, mut whole) = (0, 0);
        let mut at = 0;
        for line in buffer.split_inclusive(|byte| *byte == b'\n') {
            at += line.len();
            if line.last() == Some(&b'\n') {
                match (std::mem::take(&mut self.skipping), line.len() > MAX_LINE_BYTES) {
                    (true, _) => {}
                    (false, true) => read.pieces.push(Piece::TooLong),
                    (false, false) => read.pieces.extend(parts.take(line)),
                }
                // Parts that fill all that is read at once will not come to an end.
                if parts.is_whole() || (used == 0 && at > READ_BYTES - MAX_LINE_BYTES) {
                    if !parts.is_whole() {
                        read.pieces.push(Piece::TooLong);
                        parts = Assembler::default();
                    }
                    (used, whole) = (at, read.pieces.len());
                }
            } else if self.skipping || line.len() > MAX_LINE_BYTES {
                if !std::mem::replace(&mut self.skipping, true) {
                    read.pieces.push(Piece::TooLong);
                }
                (used, whole) = (at, read.pieces.len());
            }
        }
        read.pieces.truncate(whole);
        self.advance(buffer.get(..used).unwrap_or_default());
        read.moved = used > 0;
        Ok(read)
    }

    /// Takes what waits for its end in a file to which nothing is added any more: the last line without a line break, and
    /// the parts of one of which the others are missing.
    ///
    /// All lines that are complete up to this length have been read.
    fn take_rest(&mut self, file: &File, length: u64) -> io::Result<Vec<Piece>> {
        let rest = usize::try_from(length.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; rest.min(READ_BYTES)];
        let length = read_at(file, &mut buffer, self.offset)?;
        buffer.truncate(length);
        self.advance(&buffer);
        if std::mem::take(&mut self.skipping) {
            return Ok(Vec::new());
        }
        let mut parts = Assembler::default();
        let lines = buffer.split_inclusive(|byte| *byte == b'\n');
        let mut pieces: Vec<Piece> = lines.filter_map(|line| parts.take(line)).collect();
        pieces.extend(parts.end());
        Ok(pieces)
    }

    /// Takes note that these bytes, which follow, have been read.
    fn advance(&mut self, taken: &[u8]) {
        if self.offset == self.head.len() as u64 {
            let wanted = HEAD_BYTES.saturating_sub(self.head.len()).min(taken.len());
            self.head.extend_from_slice(taken.get(..wanted).unwrap_or_default());
        }
        self.offset += taken.len() as u64;
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

    fn resume(path: &Path, position: Option<(u64, Vec<u8>)>) -> Follow {
        Follow::resume(path.to_owned(), position, Duration::ZERO)
    }

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
        let mut follow = resume(&path, None);
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
        let mut follow = resume(&path, None);
        check(&mut follow, &["one", "two"]);
        let position = Some((follow.offset(), follow.head().to_vec()));
        append(&path, b"ee\n");
        check(&mut resume(&path, position.clone()), &["three"]);

        // Another file by the same name, longer than the old one.
        write(&path, b"a\nb\nc\nd\ne\nf\ng\nh\ni\n").unwrap();
        check(&mut resume(&path, position), &["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    }

    #[test]
    fn a_truncated_file_is_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, b"one\ntwo\n");
        let mut follow = resume(&path, None);
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
        let mut follow = resume(&path, None);
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
    fn the_rest_of_a_rotated_file_is_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("0.log"), dir.path().join("0.log.20261126-031500"));
        for (rest, line) in [
            ("the end is miss", "the end is miss"),
            ("2026-11-26T03:15:00Z stdout P a part\n", "2026-11-26T03:15:00Z stdout F a part"),
        ] {
            write(&path, rest).unwrap();
            let mut follow = resume(&path, None);
            check(&mut follow, &[]);
            rename(&path, &rotated).unwrap();
            write(&path, "one\n").unwrap();
            let Read { pieces, moved, more } = follow.read().unwrap();
            assert_eq!((pieces, moved, more), (vec![Piece::Line(line.into())], true, true));
            // As the end of the old file is what is remembered, a restart finds the new one.
            let mut restarted = resume(&path, Some((follow.offset(), follow.head().to_vec())));
            for follow in [&mut follow, &mut restarted] {
                check(follow, &["one"]);
            }
        }
    }

    #[test]
    fn a_rotated_file_is_followed_until_nothing_is_added_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
        append(&path, b"one\n");
        let wait = Duration::from_millis(300);
        let mut follow = Follow::resume(path.clone(), None, wait);
        check(&mut follow, &["one"]);
        rename(&path, &rotated).unwrap();
        append(&path, b"four\n");
        for line in ["two", "three"] {
            // A program that has not been told to open the new file.
            check(&mut follow, &[]);
            std::thread::sleep(wait / 3);
            append(&rotated, format!("{line}\n").as_bytes());
            check(&mut follow, &[line]);
        }
        std::thread::sleep(wait);
        check(&mut follow, &["four"]);
    }

    #[test]
    fn two_rotations_between_two_looks_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let at = |name: &str| dir.path().join(name);
        append(&path, b"one\n");
        let mut follow = resume(&path, None);
        check(&mut follow, &["one"]);
        append(&path, b"two\n");
        rename(&path, at("log.1")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        append(&path, b"three\n");
        rename(at("log.1"), at("log.2")).unwrap();
        rename(&path, at("log.1")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        append(&path, b"four\n");
        let mut restarted = resume(&path, Some((follow.offset(), follow.head().to_vec())));
        check_all(&mut follow, &["two", "three", "four"]);
        check_all(&mut restarted, &["two", "three", "four"]);
    }

    #[track_caller]
    fn check_all(follow: &mut Follow, expected: &[&str]) {
        let mut lines = Vec::new();
        for _ in 0..10 {
            lines.extend(follow.read().unwrap().pieces.into_iter().map(|piece| match piece {
                Piece::Line(line) => String::from_utf8(line).unwrap().trim_end().to_owned(),
                Piece::TooLong => "TOO LONG".to_owned(),
            }));
        }
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_parts_of_a_line_count_when_they_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        append(&path, b"2026-11-22T23:00:00Z stdout F one\n2026-11-22T23:00:01Z stdout P tw\n");
        let mut follow = resume(&path, None);
        check(&mut follow, &["2026-11-22T23:00:00Z stdout F one"]);
        // What has been read of it is read again after a restart.
        let mut restarted = resume(&path, Some((follow.offset(), follow.head().to_vec())));
        append(&path, b"2026-11-22T23:00:02Z stdout F o\n");
        for follow in [&mut follow, &mut restarted] {
            check(follow, &["2026-11-22T23:00:01Z stdout F two"]);
        }
        let part =
            [b"2026-11-22T23:00:03Z stdout P ".to_vec(), vec![b'x'; 16 << 10], b"\n".to_vec()].concat();
        for _ in 0..200 {
            append(&path, &part);
        }
        append(&path, b"2026-11-22T23:00:04Z stdout F end\n2026-11-22T23:00:05Z stdout F next\n");
        let mut lines = Vec::new();
        for _ in 0..10 {
            lines.extend(follow.read().unwrap().pieces);
        }
        assert!(lines.contains(&Piece::TooLong));
        assert_eq!(lines.last(), Some(&Piece::Line(b"2026-11-22T23:00:05Z stdout F next\n".to_vec())));
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, b"one\n");
        append(&path, &vec![b'x'; 5 * MAX_LINE_BYTES]);
        append(&path, b"\ntwo\n");
        let mut follow = resume(&path, None);
        check(&mut follow, &["one", "TOO LONG", "two"]);
    }

    #[test]
    fn a_directory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(resume(dir.path(), None).read().is_err());
    }
}
