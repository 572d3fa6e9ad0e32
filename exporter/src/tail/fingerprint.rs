//! Identifies the content of a file up to an offset, because inode numbers are reused and files are rewritten in place.

use std::fs::File;
use std::io;

use super::file::read_at;

/// The number of bytes at the beginning, and before the offset, that identify the content.
const BYTES: u64 = 256;

/// The first bytes of a file, and a hash of the bytes before an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint {
    head: Box<[u8]>,
    /// `None` if an earlier version has saved the position.
    tail: Option<u64>,
}

impl Default for Fingerprint {
    /// The fingerprint of no content.
    fn default() -> Self {
        Self { head: Box::default(), tail: Some(hash(b"")) }
    }
}

/// Bytes of a file that begin at `start`: at most [`BYTES`] before the offset, and what follows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) start: u64,
    pub(super) bytes: &'a [u8],
}

impl Fingerprint {
    /// Continues with what the store has saved.
    pub(super) fn restore(head: &[u8], tail: &[u8]) -> Self {
        Self { head: head.into(), tail: tail.try_into().ok().map(u64::from_be_bytes) }
    }

    /// Returns where a window for this offset starts.
    pub(super) const fn window_start(offset: u64) -> u64 {
        offset.saturating_sub(BYTES)
    }

    /// Reads the fingerprint of a file up to this offset. Returns `None` if the file is shorter.
    pub(super) fn read(file: &File, offset: u64) -> io::Result<Option<Self>> {
        let length = offset.min(BYTES);
        let head = bytes_at(file, 0, length)?;
        let tail = bytes_at(file, Self::window_start(offset), length)?;
        Ok(head.zip(tail).map(|(head, tail)| Self { head: head.into(), tail: Some(hash(&tail)) }))
    }

    /// Returns whether the file has this content up to the offset.
    pub(super) fn matches(&self, file: &File, offset: u64) -> io::Result<bool> {
        Ok(Self::read(file, offset)?.is_some_and(|now| self.equals(&now)))
    }

    /// Returns whether a file of this length begins with the first bytes of this content.
    pub(super) fn begins(&self, file: &File, length: u64) -> io::Result<bool> {
        let length = length.min(self.head.len() as u64);
        let head = bytes_at(file, 0, length)?;
        Ok(head.is_some_and(|head| !head.is_empty() && self.head.starts_with(&head)))
    }

    /// Returns whether the content before the offset is unchanged in this window of the file.
    pub(super) fn is_before(&self, window: Window<'_>, offset: u64, file: &File) -> io::Result<bool> {
        let is_same = self.after(window, offset).is_some_and(|now| self.equals(&now));
        // Read after the window, so that the window is of the same content.
        Ok(is_same && (window.start == 0 || self.begins(file, offset)?))
    }

    /// Returns the fingerprint up to a later offset, which is in this window.
    pub(super) fn after(&self, window: Window<'_>, offset: u64) -> Option<Self> {
        let end = usize::try_from(offset.checked_sub(window.start)?).ok()?;
        let before = window.bytes.get(..end)?;
        let length = usize::try_from(offset.min(BYTES)).ok()?;
        let head = if window.start == 0 { before.get(..length)?.into() } else { self.head.clone() };
        Some(Self { head, tail: Some(hash(before.get(before.len().checked_sub(length)?..)?)) })
    }

    fn equals(&self, now: &Self) -> bool {
        self.head == now.head && (self.tail.is_none() || self.tail == now.tail)
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Returns the hash of the bytes before the offset, as the store saves it.
    pub(super) fn tail(&self) -> Vec<u8> {
        self.tail.map(|tail| tail.to_be_bytes().to_vec()).unwrap_or_default()
    }
}

/// Returns these bytes of a file, or `None` if it is shorter.
fn bytes_at(file: &File, start: u64, length: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let is_complete = read_at(file, &mut bytes, start)? == bytes.len();
    Ok(is_complete.then_some(bytes))
}

/// FNV-1a, which is the same in every version of the exporter.
fn hash(bytes: &[u8]) -> u64 {
    let seed = 0xcbf2_9ce4_8422_2325_u64;
    bytes.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
