//! One line of the file `calls`: a call that is under way, or what was under way when the process died.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::super::{Chunk, Origin, Slice};

/// A range of batches or of dead letters of one sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::deliver) struct Record {
    pub(super) sink: u64,
    pub(in crate::deliver) state: State,
    pub(super) kind: Kind,
    /// The first and the last id.
    pub(super) first: i64,
    pub(super) last: i64,
    /// The indices of the items in the only batch. Empty: all items.
    pub(in crate::deliver) items: Range<u32>,
    /// The digest of the only item, so that an item of another outbox is never taken for it.
    pub(in crate::deliver) digest: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::deliver) enum State {
    /// A call is under way.
    Call,
    /// A call with a part of a suspect is under way, and no other call with a suspect.
    Trial,
    /// It was under way when the process died.
    Once,
    /// It was under way at two deaths of the process: it is tried in parts.
    Twice,
    /// A single item that was on trial when the process died.
    Killer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Batch,
    DeadLetter,
}

/// The length of a line.
pub(super) const LENGTH: usize = 16 + 1 + 1 + 2 * 20 + 2 * 10 + 16 + 7;

impl Record {
    /// Of a chunk with several slices, the batches are recorded.
    pub(super) fn of_call(sink: u64, chunk: &Chunk) -> Option<Self> {
        let ids = chunk.slices().iter().map(|slice| id(slice.origin));
        let (first, last) = (ids.clone().min()?, ids.max()?);
        let kind = Kind::of(chunk.slices().first()?.origin);
        Some(Self { sink, state: State::Call, kind, first, last, items: 0..0, digest: 0 })
    }

    pub(super) fn of_trial(sink: u64, chunk: &Chunk) -> Option<Self> {
        match chunk.slices() {
            [slice] => Some(Self::of_trial_of_slice(sink, slice)),
            _ => Self::of_call(sink, chunk).map(|record| Self { state: State::Trial, ..record }),
        }
    }

    /// A slice that cannot be split counts as a single item.
    fn of_trial_of_slice(sink: u64, slice: &Slice) -> Self {
        let items = slice.item_range().unwrap_or(0..1);
        let digest = if items.len() == 1 { digest(slice) } else { 0 };
        let (kind, id) = (Kind::of(slice.origin), id(slice.origin));
        Self { sink, state: State::Trial, kind, first: id, last: id, items, digest }
    }

    /// A record of the first batches.
    #[cfg(test)]
    pub(in crate::deliver) fn of_batches(state: State, last: i64, items: Range<u32>, digest: u64) -> Self {
        Self { sink: 0, state, kind: Kind::Batch, first: 1, last, items, digest }
    }

    pub(super) fn contains(&self, sink: u64, origin: Origin) -> bool {
        let ids = self.first..=self.last;
        self.sink == sink && self.kind == Kind::of(origin) && ids.contains(&id(origin))
    }

    /// Returns the number of batches or dead letters.
    pub(in crate::deliver) fn origins(&self) -> u64 {
        self.last.saturating_sub(self.first).unsigned_abs().saturating_add(1)
    }

    pub(super) fn with_ids(&self, first: i64, last: i64) -> Self {
        Self { first, last, ..self.clone() }
    }

    pub(super) fn text(&self) -> String {
        let Self { sink, state, kind, first, last, items, digest } = self;
        let (state, kind) = (state.letter(), kind.letter());
        let Range { start, end } = items;
        format!("{sink:016x} {state} {kind} {first:020} {last:020} {start:010} {end:010} {digest:016x}")
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(' ');
        let mut next = || fields.next();
        let record = Self {
            sink: u64::from_str_radix(next()?, 16).ok()?,
            state: State::parse(next()?)?,
            kind: Kind::parse(next()?)?,
            first: next()?.parse().ok()?,
            last: next()?.parse().ok()?,
            items: next()?.parse().ok()?..next()?.parse().ok()?,
            digest: u64::from_str_radix(next()?, 16).ok()?,
        };
        (record.text() == text && record.first <= record.last).then_some(record)
    }
}

impl State {
    const ALL: [Self; 5] = [Self::Call, Self::Trial, Self::Once, Self::Twice, Self::Killer];

    const fn letter(self) -> &'static str {
        match self {
            Self::Call => "c",
            Self::Trial => "t",
            Self::Once => "1",
            Self::Twice => "2",
            Self::Killer => "k",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.letter() == text)
    }

    pub(super) fn is_under_way(self) -> bool {
        matches!(self, Self::Call | Self::Trial)
    }
}

impl Kind {
    pub(super) fn of(origin: Origin) -> Self {
        match origin {
            Origin::Batch(_) => Self::Batch,
            Origin::DeadLetter(_) => Self::DeadLetter,
        }
    }

    const fn letter(self) -> &'static str {
        match self {
            Self::Batch => "b",
            Self::DeadLetter => "d",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Batch, Self::DeadLetter].into_iter().find(|kind| kind.letter() == text)
    }
}

pub(super) fn id(origin: Origin) -> i64 {
    match origin {
        Origin::Batch(id) | Origin::DeadLetter(id) => id,
    }
}

pub(in crate::deliver) fn digest(slice: &Slice) -> u64 {
    hash(&slice.body())
}

pub(super) fn hash(bytes: &[u8]) -> u64 {
    Sha256::digest(bytes).first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
