//! [`Batch`]: finished spans on their way out, bounded by bytes; the oldest go first when it is full.

use std::collections::VecDeque;

/// Encoded spans, oldest first.
///
/// Invariant: it never holds more than its bound in bytes; what does not fit pushes the oldest out.
#[derive(Debug)]
pub struct Batch {
    /// The spans, one after the other; those before `start` are gone.
    bytes: Vec<u8>,
    start: usize,
    lengths: VecDeque<usize>,
    bounds: Bounds,
}

/// How much is held, and how much is sent together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes that are held.
    pub bytes: usize,
    /// Spans that are sent together.
    pub spans_together: usize,
}

impl Bounds {
    /// Bytes that are sent together: half of what is held, so that there is room while they are on their way, and
    /// well below what exporters take in one request.
    fn bytes_together(self) -> usize {
        const MOST: usize = 2 << 20;
        (self.bytes / 2).min(MOST)
    }
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
    /// An empty batch.
    pub const fn new(bounds: Bounds) -> Self {
        Self { bytes: Vec::new(), start: 0, lengths: VecDeque::new(), bounds }
    }

    /// True where there is enough to be sent without waiting for more.
    pub fn is_due(&self) -> bool {
        self.len() >= self.bounds.spans_together || self.held() >= self.bounds.bytes_together()
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
        if length > self.bounds.bytes {
            self.bytes.truncate(before);
            return 1;
        }
        self.lengths.push_back(length);
        let mut dropped = 0;
        while self.held() > self.bounds.bytes && self.drop_oldest() {
            dropped += 1;
        }
        self.compact();
        dropped
    }

    /// Takes as many spans as are sent together, oldest first; `None` where there are none.
    pub fn take(&mut self) -> Option<Taken> {
        let most = self.bounds.bytes_together();
        let (mut spans, mut length) = (0, 0);
        for next in self.lengths.iter().take(self.bounds.spans_together) {
            // A span that is larger than all that goes together goes alone.
            if spans > 0 && length + next > most {
                break;
            }
            spans += 1;
            length += next;
        }
        if spans == 0 {
            return None;
        }
        self.lengths.drain(..spans);
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

    fn batch(bytes: usize, spans_together: usize) -> Batch {
        Batch::new(Bounds { bytes, spans_together })
    }

    fn push(batch: &mut Batch, span: &[u8]) -> usize {
        batch.push(|out| out.extend_from_slice(span))
    }

    #[test]
    fn spans_leave_in_the_order_they_came() {
        let mut batch = batch(100, 2);
        for span in [b"aa".as_slice(), b"b", b"ccc"] {
            assert_eq!(push(&mut batch, span), 0);
        }
        assert_eq!(batch.take(), Some(Taken { bytes: b"aab".to_vec(), spans: 2 }));
        assert_eq!(batch.take(), Some(Taken { bytes: b"ccc".to_vec(), spans: 1 }));
        assert_eq!(batch.take(), None);
    }

    /// Rule 72.
    #[test]
    fn the_oldest_are_dropped_when_it_is_full() {
        let mut batch = batch(10, 9);
        assert_eq!(push(&mut batch, b"aaaa"), 0);
        assert_eq!(push(&mut batch, b"bbbb"), 0);
        assert_eq!(push(&mut batch, b"cccc"), 1);
        assert_eq!(push(&mut batch, b"dddddddddd"), 2);
        assert_eq!(push(&mut batch, b"eeeeeeeeeee"), 1);
        assert_eq!(batch.take(), Some(Taken { bytes: b"dddddddddd".to_vec(), spans: 1 }));
    }

    #[test]
    fn it_is_due_by_spans_or_by_bytes() {
        let mut few = batch(100, 3);
        push(&mut few, b"a");
        push(&mut few, b"a");
        assert!(!few.is_due());
        push(&mut few, b"a");
        assert!(few.is_due());

        let mut large = batch(100, 1000);
        push(&mut large, &[b'a'; 49]);
        assert!(!large.is_due());
        push(&mut large, b"b");
        assert!(large.is_due());
        push(&mut large, b"c");
        assert_eq!(large.take().map(|taken| taken.spans), Some(2));
        assert!(!large.is_due());
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let mut batch = batch(1000, 3);
        let mut pushed = 0;
        let mut dropped = 0;
        let mut taken = 0;
        for round in 0..10_000usize {
            dropped += push(&mut batch, &vec![b'x'; round * 7 % 90 + 1]);
            pushed += 1;
            if round % 50 == 0 {
                taken += batch.take().map_or(0, |taken| taken.spans);
            }
            assert!(batch.held() <= 1000);
            assert!(batch.bytes.capacity() <= 8192, "{}", batch.bytes.capacity());
        }
        assert_eq!(pushed, dropped + taken + batch.len());
    }
}
