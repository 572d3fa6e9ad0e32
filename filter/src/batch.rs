//! [`Batch`]: finished spans on their way out, bounded by bytes; the oldest go first when it is full.

use std::collections::VecDeque;

/// Encoded spans, oldest first.
///
/// Invariant: it never holds more than `max_bytes`; what does not fit pushes the oldest out.
#[derive(Debug)]
pub struct Batch {
    /// The spans, one after the other; those before `start` are gone.
    bytes: Vec<u8>,
    start: usize,
    lengths: VecDeque<usize>,
    max_bytes: usize,
}

/// Spans taken out of the batch to be sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The encoded spans, one after the other.
    pub bytes: Vec<u8>,
    /// How many they are.
    pub spans: usize,
}

impl Batch {
    /// An empty batch that holds at most `max_bytes`.
    pub const fn new(max_bytes: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, lengths: VecDeque::new(), max_bytes }
    }

    /// How many spans are held.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// True where no span is held.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Adds the span that `write` appends; returns how many spans were dropped for it (the span itself, where it
    /// is larger than the whole batch may be).
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.bytes.len();
        write(&mut self.bytes);
        let length = self.bytes.len() - before;
        if length > self.max_bytes {
            self.bytes.truncate(before);
            return 1;
        }
        self.lengths.push_back(length);
        let mut dropped = 0;
        while self.held() > self.max_bytes && self.drop_oldest() {
            dropped += 1;
        }
        self.compact();
        dropped
    }

    /// Takes up to `max_spans` spans, oldest first; `None` where there are none.
    pub fn take(&mut self, max_spans: usize) -> Option<Taken> {
        let spans = self.lengths.len().min(max_spans);
        if spans == 0 {
            return None;
        }
        let length: usize = self.lengths.drain(..spans).sum();
        let bytes = self.bytes.get(self.start..self.start + length).unwrap_or_default().to_vec();
        self.start += length;
        self.compact();
        Some(Taken { bytes, spans })
    }

    fn held(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(length) = self.lengths.pop_front() else {
            return false;
        };
        self.start += length;
        true
    }

    /// Gives the room of spans that are gone back once it is as large as what is held, so that each byte moves at
    /// most once.
    fn compact(&mut self) {
        if self.start >= self.held() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(batch: &mut Batch, span: &[u8]) -> usize {
        batch.push(|out| out.extend_from_slice(span))
    }

    #[test]
    fn spans_leave_in_the_order_they_came() {
        let mut batch = Batch::new(100);
        for span in [b"aa".as_slice(), b"b", b"ccc"] {
            assert_eq!(push(&mut batch, span), 0);
        }
        assert_eq!(batch.take(2), Some(Taken { bytes: b"aab".to_vec(), spans: 2 }));
        assert_eq!(batch.take(2), Some(Taken { bytes: b"ccc".to_vec(), spans: 1 }));
        assert_eq!(batch.take(2), None);
    }

    /// Rule 72.
    #[test]
    fn the_oldest_are_dropped_when_it_is_full() {
        let mut batch = Batch::new(10);
        assert_eq!(push(&mut batch, b"aaaa"), 0);
        assert_eq!(push(&mut batch, b"bbbb"), 0);
        assert_eq!(push(&mut batch, b"cccc"), 1);
        assert_eq!(push(&mut batch, b"dddddddddd"), 2);
        assert_eq!(push(&mut batch, b"eeeeeeeeeee"), 1);
        assert_eq!(batch.take(9), Some(Taken { bytes: b"dddddddddd".to_vec(), spans: 1 }));
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let mut batch = Batch::new(1000);
        let mut pushed = 0;
        let mut dropped = 0;
        let mut taken = 0;
        for round in 0..10_000usize {
            dropped += push(&mut batch, &vec![b'x'; round * 7 % 90 + 1]);
            pushed += 1;
            if round % 50 == 0 {
                taken += batch.take(3).map_or(0, |taken| taken.spans);
            }
            assert!(batch.held() <= 1000);
            assert!(batch.bytes.capacity() <= 8192, "{}", batch.bytes.capacity());
        }
        assert_eq!(pushed, dropped + taken + batch.len());
    }
}
