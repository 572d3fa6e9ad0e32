//! One file on disk that is, or was, at the path of a log: reads its complete lines, each once.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::SeekFrom;

use super::context::Context;
use super::file::{FileId, FoundFile, metadata_of, open, read_at};
use super::fingerprint::{Fingerprint, Window};
use super::lines::{self, Extent, MAX_WINDOW_BYTES, State};
use super::record_id::Source;
use crate::store::ReadPosition;

/// The size of one read, unless a longer line needs [`MAX_WINDOW_BYTES`].
const READ_BYTES: usize = 512 << 10;

/// A container runtime writes the parts of a line at once. The rest of a line that has not come after this time does not come.
const PARTS_WAIT: Duration = Duration::from_secs(5);

/// A rotated file that has not grown for so long is closed, and looked at less often.
const DORMANT_AFTER: Duration = Duration::from_secs(60);

/// How often a dormant file is looked at.
const DORMANT_INTERVAL: Duration = Duration::from_secs(30);

/// A file with a read position.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) id: FileId,
    /// Where the file is.
    pub(super) location: PathBuf,
    /// Where the file was before it was rotated. Its rotated files are beside it.
    pub(super) target: PathBuf,
    /// It is at the path of the log.
    pub(super) is_current: bool,
    /// Everything before this offset has been read.
    offset: u64,
    /// Of the content before `offset`.
    fingerprint: Fingerprint,
    state: State,
    file: Option<File>,
    /// The metadata for which everything was read.
    read: Option<Stamp>,
    /// The metadata for which the parts of a line were read, whose rest does not come.
    read_parts: Option<Stamp>,
    /// When the file last changed.
    changed: Instant,
    /// When the file was last looked at.
    checked: Instant,
}

/// A file with the same stamp has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { length: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

/// The result of [`Generation::poll`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poll {
    /// There is nothing new.
    Idle,
    /// The read position has changed. The next poll may return more at once.
    Advanced { has_more: bool },
    /// The file has another content, or it is not there any more.
    Displaced,
    /// The file was deleted, and is read to its end.
    Finished,
}

impl Generation {
    /// Begins to read a file.
    pub(super) fn new(file: &FoundFile, target: PathBuf) -> Self {
        Self::resume(file, target, 0, Fingerprint::default())
    }

    /// Continues with a file whose lines have been read up to its end.
    pub(super) fn at_end(file: &FoundFile, target: PathBuf, open: &File) -> io::Result<Self> {
        let length = open.metadata()?.len();
        let (offset, fingerprint) = match Fingerprint::read(open, length)? {
            Some(fingerprint) => (length, fingerprint),
            None => (0, Fingerprint::default()),
        };
        Ok(Self::resume(file, target, offset, fingerprint))
    }

    /// Continues at a position that was saved.
    pub(super) fn restore(position: &ReadPosition) -> Self {
        let target = &position.target;
        let file = FoundFile {
            path: target.clone(),
            id: FileId { device: position.device, inode: position.inode },
            length: 0,
        };
        let fingerprint = Fingerprint::restore(&position.head, &position.tail);
        let mut restored = Self::resume(&file, target.clone(), position.offset, fingerprint);
        restored.is_current = position.is_current;
        restored
    }

    fn resume(file: &FoundFile, target: PathBuf, offset: u64, fingerprint: Fingerprint) -> Self {
        let now = Instant::now();
        Self {
            id: file.id,
            location: file.path.clone(),
            target,
            is_current: false,
            offset,
            fingerprint,
            state: State::default(),
            file: None,
            read: None,
            read_parts: None,
            changed: now,
            checked: now,
        }
    }

    pub(super) fn position(&self) -> ReadPosition {
        ReadPosition {
            target: self.target.clone(),
            device: self.id.device,
            inode: self.id.inode,
            offset: self.offset,
            head: self.fingerprint.head().to_vec(),
            tail: self.fingerprint.tail(),
            is_current: self.is_current,
        }
    }

    /// Returns whether this is the file that is open. The identity of an open file is not reused.
    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Returns how many bytes of the file were seen, but not read.
    pub(super) fn unread_bytes(&self) -> u64 {
        self.read.map_or(0, |read| read.length.saturating_sub(self.offset))
    }

    /// Sets where the file is now.
    pub(super) fn locate(&mut self, location: &Path) {
        location.clone_into(&mut self.location);
    }

    /// Returns whether a file continues the content that was read.
    pub(super) fn continues_in(&self, file: &File) -> io::Result<bool> {
        self.fingerprint.matches(file, self.offset)
    }

    /// Returns whether a file is a copy of the content that was read, which ends before the read position.
    pub(super) fn has_read_copy(&self, file: &File, length: u64) -> io::Result<bool> {
        Ok(self.offset > 0 && length <= self.offset && self.fingerprint.begins(file, length)?)
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.offset > 0
    }

    /// Continues with another file of the same content.
    pub(super) fn move_to(&mut self, file: &FoundFile, target: &Path) {
        self.id = file.id;
        self.location.clone_from(&file.path);
        target.clone_into(&mut self.target);
        self.read = None;
    }

    /// Sets whether the file is at the path of the log.
    pub(super) fn set_current(&mut self, is_current: bool) {
        if self.is_current && !is_current {
            // Programs write to a rotated file until they reopen their log.
            self.changed = Instant::now();
        }
        self.is_current = is_current;
    }

    /// Reads what is new. `metadata` is that of the file at its location, if the caller knows it.
    pub(super) fn poll(
        &mut self,
        metadata: Option<&Metadata>,
        context: &mut Context<'_>,
    ) -> io::Result<Poll> {
        let is_dormant = !self.is_current && self.changed.elapsed() >= DORMANT_AFTER;
        if is_dormant && self.checked.elapsed() < DORMANT_INTERVAL {
            return Ok(Poll::Idle);
        }
        self.checked = Instant::now();
        let found;
        let metadata = match (metadata, &self.file) {
            (Some(known), _) => known,
            (None, Some(file)) => {
                found = file.metadata()?;
                &found
            }
            (None, None) => {
                let Some(now) = metadata_of(&self.location)? else { return Ok(Poll::Displaced) };
                found = now;
                &found
            }
        };
        let stamp = Stamp::of(metadata);
        if FileId::of(metadata) != self.id {
            return Ok(Poll::Displaced);
        }
        let is_quiet = self.read == Some(stamp);
        let mut last = None;
        if is_quiet {
            let is_over = !self.is_current && self.changed.elapsed() >= context.rotation_wait;
            if stamp.length > self.offset {
                let has_waited = self.changed.elapsed() >= PARTS_WAIT && self.read_parts != Some(stamp);
                last = if is_over { Some(Extent::All) } else { has_waited.then_some(Extent::Broken) };
            }
            if last.is_none() {
                if is_dormant || (context.is_short_of_files() && self.changed.elapsed() >= DORMANT_AFTER) {
                    self.close(context);
                }
                let is_deleted = is_over && metadata.nlink() == 0;
                return Ok(if is_deleted { Poll::Finished } else { Poll::Idle });
            }
        } else {
            self.changed = self.checked;
        }
        let (file, keeps_open) = match self.file.take() {
            Some(file) => (file, true),
            None => {
                let Some(file) = open(&self.location)? else { return Ok(Poll::Displaced) };
                if FileId::of(&file.metadata()?) != self.id {
                    return Ok(Poll::Displaced);
                }
                (file, context.reserve_open_file())
            }
        };
        if last == Some(Extent::Broken) {
            self.read_parts = Some(stamp);
        }
        let result = self.read(&file, stamp, last, context);
        if matches!(result, Ok(Poll::Displaced)) {
            context.closed(keeps_open);
        } else if keeps_open {
            self.file = Some(file);
        }
        result
    }

    /// Closes the file, if it is open.
    pub(super) fn close(&mut self, context: &mut Context<'_>) {
        context.closed(self.file.take().is_some());
    }

    /// Reads the complete lines from the offset, or if there is none, up to the last extent.
    fn read(
        &mut self,
        file: &File,
        stamp: Stamp,
        last: Option<Extent>,
        context: &mut Context<'_>,
    ) -> io::Result<Poll> {
        if stamp.length < self.offset {
            return Ok(Poll::Displaced);
        }
        let start = Fingerprint::window_start(self.offset);
        for size in [READ_BYTES, MAX_WINDOW_BYTES] {
            let before = self.offset - start;
            let unread = usize::try_from(stamp.length - self.offset).unwrap_or(usize::MAX);
            let length = usize::try_from(before).unwrap_or(0) + unread.min(size);
            context.window.resize(length, 0);
            let length = read_at(file, context.window, start)?;
            context.window.truncate(length);
            let window = Window { start, bytes: context.window };
            if !self.fingerprint.is_before(window, self.offset, file)? {
                return Ok(Poll::Displaced);
            }
            let (old, new) = window.bytes.split_at(usize::try_from(before).unwrap_or(0));
            self.state.is_inside_line = old.last().is_some_and(|last| ![b'\n', 0].contains(last));
            let is_full = new.len() == size;
            let (path, head) = (self.target.as_os_str().as_bytes(), self.fingerprint.head());
            let mut split = |extent| {
                lines::split(new, &mut self.state, extent, |line, end| {
                    let source = Source { path, head, offset: self.offset + end as u64 };
                    context.batch.push(line, source);
                })
            };
            let mut consumed = split(Extent::Complete);
            if consumed == 0 {
                match size {
                    READ_BYTES if is_full => continue,
                    _ if is_full => consumed = split(Extent::Some),
                    _ => consumed = last.map_or(0, &mut split),
                }
            }
            let is_hole = is_full && consumed == new.len() && new.iter().all(|byte| *byte == 0);
            let offset = self.offset + consumed as u64;
            if let Some(fingerprint) = self.fingerprint.after(window, offset) {
                (self.offset, self.fingerprint) = (offset, fingerprint);
            }
            if is_hole {
                self.skip_hole(file)?;
            }
            let has_more = is_full && consumed > 0;
            self.read = (!has_more).then_some(stamp);
            return Ok(if consumed > 0 { Poll::Advanced { has_more } } else { Poll::Idle });
        }
        Ok(Poll::Idle)
    }

    /// Skips zeros that take no space on the disk.
    fn skip_hole(&mut self, file: &File) -> io::Result<()> {
        let Ok(data) = rustix::fs::seek(file, SeekFrom::Data(self.offset)) else { return Ok(()) };
        if data > self.offset
            && let Some(fingerprint) = Fingerprint::read(file, data)?
        {
            (self.offset, self.fingerprint) = (data, fingerprint);
        }
        Ok(())
    }
}
