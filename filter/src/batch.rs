//! [`Batch`]: finished spans on their way out, bounded by bytes; the oldest go first when it is full.

use std::collections::VecDeque;

/// Encoded spans, oldest first.
///
/// Invariant: it never holds more bytes of spans than its bound; what does not fit pushes the oldest out. The memory
/// behind it can be up to four times that: gone spans lie before those that are held until they are as many, and a
/// vector doubles when it grows.
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

/// Spans that were dropped for a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// The oldest, which made room.
    pub oldest: usize,
    /// The new one itself, larger than the whole batch may be: 1 or 0.
    pub too_large: usize,
}

/// Spans taken out of the batch to be sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The encoded spans, one after the other.
    pub bytes: Vec<u8>,
    /// The length of each.
    lengths: Vec<usize>,
}

impl Taken {
    /// How many spans they are.
    pub fn spans(&self) -> usize {
        self.lengths.len()
    }

    /// The first half and the second; `None` for a single span.
    pub fn halves(mut self) -> Option<(Self, Self)> {
        let middle = self.lengths.len() / 2;
        if middle == 0 {
            return None;
        }
        let lengths = self.lengths.split_off(middle);
        let bytes = self.bytes.split_off(self.lengths.iter().sum::<usize>().min(self.bytes.len()));
        Some((self, Self { bytes, lengths }))
    }
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

    /// Adds the span that `write` appends; returns what was dropped for it.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Dropped {
        let before = self.bytes.len();
        write(&mut self.bytes);
        let length = self.bytes.len() - before;
        if length > self.bounds.bytes {
            self.bytes.truncate(before);
            return Dropped { oldest: 0, too_large: 1 };
        }
        self.lengths.push_back(length);
        let mut dropped = Dropped::default();
        while self.held() > self.bounds.bytes && self.drop_oldest() {
            dropped.oldest += 1;
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
        let lengths = self.lengths.drain(..spans).collect();
        let bytes = self.bytes.get(self.start..self.start + length).unwrap_or_default().to_vec();
        self.start += length;
        self.compact();
        Some(Taken { bytes, lengths })
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
    use proptest::prelude::*;

    use super::*;

    fn batch(bytes: usize, spans_together: usize) -> Batch {
        Batch::new(Bounds { bytes, spans_together })
    }

    /// Adds a span, and returns how many were dropped.
    fn push(batch: &mut Batch, span: &[u8]) -> usize {
        let dropped = batch.push(|out| out.extend_from_slice(span));
        dropped.oldest + dropped.too_large
    }

    fn taken(spans: &[&[u8]]) -> Taken {
        Taken { bytes: spans.concat(), lengths: spans.iter().map(|span| span.len()).collect() }
    }

    #[test]
    fn spans_leave_in_the_order_they_came() {
        let mut batch = batch(100, 2);
        for span in [b"aa".as_slice(), b"b", b"ccc"] {
            assert_eq!(push(&mut batch, span), 0);
        }
        assert_eq!(batch.take(), Some(taken(&[b"aa", b"b"])));
        assert_eq!(batch.take(), Some(taken(&[b"ccc"])));
        assert_eq!(batch.take(), None);
    }

    #[test]
    fn halves_are_cut_between_spans() {
        let (first, second) = taken(&[b"aa", b"b", b"ccc"]).halves().unwrap();
        assert_eq!((first, second.clone()), (taken(&[b"aa"]), taken(&[b"b", b"ccc"])));
        let (first, second) = second.halves().unwrap();
        assert_eq!((first.clone(), second), (taken(&[b"b"]), taken(&[b"ccc"])));
        assert_eq!(first.halves(), None);
    }

    /// Rule 72.
    #[test]
    fn the_oldest_are_dropped_when_it_is_full() {
        let mut batch = batch(10, 9);
        assert_eq!(push(&mut batch, b"aaaa"), 0);
        assert_eq!(push(&mut batch, b"bbbb"), 0);
        assert_eq!(push(&mut batch, b"cccc"), 1);
        assert_eq!(push(&mut batch, b"dddddddddd"), 2);
        let too_large = Dropped { oldest: 0, too_large: 1 };
        assert_eq!(batch.push(|out| out.extend_from_slice(b"eeeeeeeeeee")), too_large);
        assert_eq!(batch.take(), Some(taken(&[b"dddddddddd"])));
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
        assert_eq!(large.take().map(|taken| taken.spans()), Some(2));
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
                taken += batch.take().map_or(0, |taken| taken.spans());
            }
            assert!(batch.held() <= 1000);
            assert!(batch.bytes.capacity() <= 4096, "{}", batch.bytes.capacity());
        }
        assert_eq!(pushed, dropped + taken + batch.len());
    }

    proptest! {
        /// Whatever comes and goes: what is taken are the pushed spans in their order, the newest are never dropped
        /// before the oldest, and nothing is lost without being counted.
        #[test]
        fn the_newest_leave_in_order(
            steps in proptest::collection::vec((1usize..400, any::<bool>()), 1..300),
            bytes in 100usize..1000,
            spans_together in 1usize..20,
        ) {
            let mut batch = batch(bytes, spans_together);
            let (mut held, mut dropped, mut gone) = (VecDeque::new(), 0, 0);
            for (number, (length, takes)) in steps.iter().enumerate() {
                // Each span is told from the others by its first byte and its length.
                let span = [vec![number as u8], vec![b'x'; *length]].concat();
                let lost = batch.push(|out| out.extend_from_slice(&span));
                dropped += lost.oldest + lost.too_large;
                held.extend((lost.too_large == 0).then_some(span));
                held.drain(..lost.oldest);
                if *takes && let Some(taken) = batch.take() {
                    prop_assert!(taken.spans() <= spans_together);
                    prop_assert!(taken.bytes.len() <= bytes / 2 || taken.spans() == 1);
                    let expected: Vec<u8> = held.drain(..taken.spans()).flatten().collect();
                    prop_assert_eq!(&taken.bytes, &expected);
                    gone += taken.spans();
                }
                prop_assert_eq!(batch.len(), held.len());
                prop_assert_eq!(batch.held(), held.iter().map(Vec::len).sum::<usize>());
                prop_assert!(batch.held() <= bytes);
            }
            prop_assert_eq!(steps.len(), dropped + gone + batch.len());
        }
    }
}
