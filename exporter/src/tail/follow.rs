//! Reads the complete lines of a file, each once, through growth, truncation and rotation.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

use super::cri::Assembler;
use super::rotation::{self, FileId, RotationWait};

/// Longer lines are skipped.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// The size of one read, in which at least one line of the maximum length fits.
const READ_BYTES: usize = 2 * MAX_LINE_BYTES;

/// The maximum number of first bytes that identify a file. Inode numbers are reused, so they do not identify it.
const HEAD_BYTES: usize = 256;

/// A file that is being followed.
#[derive(Debug)]
pub(super) struct Follower {
    path: PathBuf,
    /// The file to open next: the one at `path`, or a rotated file that is read first.
    next: PathBuf,
    file: Option<OpenFile>,
    /// Decides when to leave the open file after its rotation.
    rotation_wait: RotationWait,
    /// Everything before this offset has been read. It is the start of a line, a position in a line that is too long,
    /// or the end of a rotated file.
    offset: u64,
    /// The first bytes of the file, as far as they are before `offset`.
    head: Vec<u8>,
    /// The bytes up to the next line break belong to a line that is too long.
    is_skipping: bool,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    id: FileId,
}

/// A line as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RawLine {
    /// The line with its line break, if it has one.
    Bytes(Vec<u8>),
    /// A line longer than [`MAX_LINE_BYTES`].
    TooLong,
}

/// The result of [`Follower::read`].
#[derive(Debug, Default)]
pub(super) struct NewLines {
    pub(super) lines: Vec<RawLine>,
    /// The read position has changed.
    pub(super) has_advanced: bool,
    /// The next read returns more at once.
    pub(super) has_more: bool,
}

impl Follower {
    /// Continues at this offset of the file that begins with this head.
    ///
    /// That is the file at `path`, or a rotated file beside it. After a rotated file, the later files are read. If
    /// there is no such file, the file at `path` is read from its beginning. `rotation_wait` is how long a rotated file
    /// has to be unchanged before the next one is read.
    pub(super) fn resume(path: PathBuf, position: Option<(u64, Vec<u8>)>, rotation_wait: Duration) -> Self {
        let (offset, head) = position.unwrap_or_default();
        let next = rotation::find(&path, offset, &head).unwrap_or_else(|| path.clone());
        let rotation_wait = RotationWait::new(rotation_wait);
        Self { path, next, file: None, rotation_wait, offset, head, is_skipping: false }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Reads the lines that were completed since the last read. The last line of a rotated file is read even if it is
    /// incomplete. A file that does not exist has no lines.
    pub(super) fn read(&mut self) -> io::Result<NewLines> {
        let Some(open) = self.file.take().map_or_else(|| self.open(), |open| Ok(Some(open)))? else {
            return Ok(NewLines::default());
        };
        let length = open.file.metadata()?.len();
        if length < self.offset || !self.begins_with_head(&open.file)? {
            self.restart();
        }
        let mut new = self.read_lines(&open.file, length)?;
        match rotation::successor(&self.path, open.id)? {
            // The rotated file is read to its end. The next read opens its successor.
            Some(next) if !new.has_advanced && (next != self.path || self.rotation_wait.is_over()) => {
                new.has_more = true;
                new.lines = self.read_rest(&open.file, length)?;
                if new.lines.is_empty() {
                    self.next = next;
                    self.rotation_wait.reset();
                    self.restart();
                } else {
                    // These lines are committed with a position in the rotated file.
                    new.has_advanced = true;
                    self.file = Some(open);
                }
            }
            successor => {
                self.rotation_wait.update(successor.is_some(), new.has_advanced);
                self.file = Some(open);
            }
        }
        Ok(new)
    }

    fn open(&mut self) -> io::Result<Option<OpenFile>> {
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
            return Err(io::Error::other("is a directory"));
        }
        Ok(Some(OpenFile { file, id: FileId { device: metadata.dev(), inode: metadata.ino() } }))
    }

    fn restart(&mut self) {
        self.offset = 0;
        self.head.clear();
        self.is_skipping = false;
    }

    fn begins_with_head(&self, file: &File) -> io::Result<bool> {
        let mut start = vec![0; self.head.len()];
        let length = read_at(file, &mut start, 0)?;
        Ok(start.get(..length) == Some(&self.head[..]))
    }

    fn read_lines(&mut self, file: &File, length: u64) -> io::Result<NewLines> {
        let buffer = self.read_buffer(file, length)?;
        let mut new = NewLines { has_more: buffer.len() == READ_BYTES, ..NewLines::default() };
        let mut assembler = Assembler::default();
        // The bytes before `consumed` and the first `complete` lines need nothing that follows.
        let (mut consumed, mut complete) = (0, 0);
        let mut end = 0;
        for line in buffer.split_inclusive(|byte| *byte == b'\n') {
            end += line.len();
            if line.last() == Some(&b'\n') {
                match (std::mem::take(&mut self.is_skipping), line.len() > MAX_LINE_BYTES) {
                    (true, _) => {}
                    (false, true) => new.lines.push(RawLine::TooLong),
                    (false, false) => new.lines.extend(assembler.push(line)),
                }
                // Parts that fill the whole buffer are a line that is too long.
                if assembler.is_empty() || (consumed == 0 && end > READ_BYTES - MAX_LINE_BYTES) {
                    if !assembler.is_empty() {
                        new.lines.push(RawLine::TooLong);
                        assembler = Assembler::default();
                    }
                    (consumed, complete) = (end, new.lines.len());
                }
            } else if self.is_skipping || line.len() > MAX_LINE_BYTES {
                if !std::mem::replace(&mut self.is_skipping, true) {
                    new.lines.push(RawLine::TooLong);
                }
                (consumed, complete) = (end, new.lines.len());
            }
        }
        new.lines.truncate(complete);
        self.advance(buffer.get(..consumed).unwrap_or_default());
        new.has_advanced = consumed > 0;
        Ok(new)
    }

    /// Reads the rest of a file that is complete: the last line without a line break, and the parts of an incomplete
    /// line.
    ///
    /// All lines that are complete up to `length` have been read.
    fn read_rest(&mut self, file: &File, length: u64) -> io::Result<Vec<RawLine>> {
        let buffer = self.read_buffer(file, length)?;
        self.advance(&buffer);
        if std::mem::take(&mut self.is_skipping) {
            return Ok(Vec::new());
        }
        let mut assembler = Assembler::default();
        let split = buffer.split_inclusive(|byte| *byte == b'\n');
        let mut lines: Vec<RawLine> = split.filter_map(|line| assembler.push(line)).collect();
        lines.extend(assembler.finish());
        Ok(lines)
    }

    /// Reads from the offset up to `length`, at most [`READ_BYTES`].
    fn read_buffer(&self, file: &File, length: u64) -> io::Result<Vec<u8>> {
        let unread = usize::try_from(length.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; unread.min(READ_BYTES)];
        let length = read_at(file, &mut buffer, self.offset)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Moves the offset past these bytes, which start at the offset.
    fn advance(&mut self, bytes: &[u8]) {
        if self.offset == self.head.len() as u64 {
            let missing = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
            self.head.extend_from_slice(bytes.get(..missing).unwrap_or_default());
        }
        self.offset += bytes.len() as u64;
    }
}

/// Fills the buffer from this offset, or up to the end of the file, and returns the number of bytes.
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
