//! [`SpanBuffer`]: encoded spans waiting to be sent, bounded in bytes.

use std::collections::VecDeque;

/// A bounded buffer of encoded spans. When it is full, the oldest spans are dropped.
///
/// Invariant: between two calls, the buffered spans never exceed the limit, and the memory never exceeds four times
/// the limit. The memory can exceed the limit, because the bytes of removed spans stay in the vector until they are as
/// many as those of the buffered spans, and because a vector doubles when it grows.
///
/// ```
/// use logtracer_core::span_buffer::SpanBuffer;
///
/// let mut buffer = SpanBuffer::new(8);
/// for span in ["one", "two", "three"] {
///     buffer.push(|out| out.extend_from_slice(span.as_bytes()));
/// }
/// assert_eq!((buffer.spans(), buffer.bytes()), (2, 8)); // "one" was dropped
///
/// let batch = buffer.take_batch(10, 1000).unwrap();
/// assert_eq!((batch.spans(), batch.bytes.as_slice()), (2, b"twothree".as_slice()));
/// assert!(buffer.is_empty());
/// ```
#[derive(Debug)]
pub struct SpanBuffer {
    /// The spans in order, without separators. Those before `start` are removed.
    bytes: Vec<u8>,
    start: usize,
    lengths: VecDeque<usize>,
    max_bytes: usize,
}

/// The number of spans that a push dropped.
///
/// ```
/// use logtracer_core::span_buffer::{Dropped, SpanBuffer};
///
/// let mut buffer = SpanBuffer::new(4);
/// assert_eq!(buffer.push(|out| out.extend_from_slice(b"one")).total(), 0);
/// assert_eq!(buffer.push(|out| out.extend_from_slice(b"two")), Dropped { oldest: 1, too_large: 0 });
/// assert_eq!(buffer.push(|out| out.extend_from_slice(b"three")), Dropped { oldest: 0, too_large: 1 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// The oldest spans, which made space for the new one.
    pub oldest: usize,
    /// The new span itself if it exceeds the limit of the whole buffer: 1 or 0.
    pub too_large: usize,
}

impl Dropped {
    /// Returns the number of all dropped spans.
    pub const fn total(self) -> usize {
        self.oldest + self.too_large
    }
}

/// Encoded spans for one request.
///
/// ```
/// use logtracer_core::span_buffer::SpanBuffer;
///
/// let mut buffer = SpanBuffer::new(1000);
/// for span in ["one", "two", "three"] {
///     buffer.push(|out| out.extend_from_slice(span.as_bytes()));
/// }
/// let (first, second) = buffer.take_batch(3, 1000).unwrap().split_in_half().unwrap();
/// assert_eq!((first.bytes.as_slice(), second.bytes.as_slice()), (b"one".as_slice(), b"twothree".as_slice()));
/// assert_eq!(first.split_in_half(), None); // a single span
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The encoded spans in order, without separators.
    pub bytes: Vec<u8>,
    /// The length of each span.
    lengths: Vec<usize>,
}

impl SpanBuffer {
    /// Creates an empty buffer for at most `max_bytes` of encoded spans.
    pub const fn new(max_bytes: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, lengths: VecDeque::new(), max_bytes }
    }

    /// Returns the number of buffered spans.
    pub fn spans(&self) -> usize {
        self.lengths.len()
    }

    /// Returns the length of the buffered spans in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len().saturating_sub(self.start)
    }

    /// Returns the number of buffered bytes at which a pause that starts now must end, so that spans are not dropped
    /// during it: half of the way to the limit, but at most seven eighths of the limit.
    ///
    /// ```
    /// use logtracer_core::span_buffer::SpanBuffer;
    ///
    /// let mut buffer = SpanBuffer::new(1000);
    /// assert_eq!(buffer.retry_mark(), 500);
    /// buffer.push(|out| out.extend_from_slice(&[0; 500]));
    /// assert_eq!(buffer.retry_mark(), 750);
    /// buffer.push(|out| out.extend_from_slice(&[0; 400]));
    /// assert_eq!(buffer.retry_mark(), 875); // exceeded already
    /// ```
    pub fn retry_mark(&self) -> usize {
        let half_way = usize::midpoint(self.bytes(), self.max_bytes);
        half_way.min(self.max_bytes - self.max_bytes / 8)
    }

    /// Returns true if no span is buffered.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Adds the span that `write` appends to the vector, and returns what was dropped for it.
    ///
    /// The vector also holds the other spans: `write` must only append.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Dropped {
        let before = self.bytes.len();
        write(&mut self.bytes);
        let length = self.bytes.len().saturating_sub(before);
        let mut dropped = Dropped::default();
        if length > self.max_bytes {
            self.bytes.truncate(before);
            dropped.too_large = 1;
        } else {
            self.lengths.push_back(length);
            while self.bytes() > self.max_bytes && self.drop_oldest() {
                dropped.oldest += 1;
            }
        }
        self.compact();
        dropped
    }

    /// Removes and returns the oldest spans: at most `max_spans` of at most `max_bytes` together. A single span that
    /// exceeds `max_bytes` is returned alone.
    ///
    /// Returns `None` if no span is buffered.
    pub fn take_batch(&mut self, max_spans: usize, max_bytes: usize) -> Option<Batch> {
        let (mut spans, mut length) = (0, 0);
        for next in self.lengths.iter().take(max_spans) {
            if spans > 0 && length + next > max_bytes {
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
        Some(Batch { bytes, lengths })
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(length) = self.lengths.pop_front() else {
            return false;
        };
        self.start += length;
        true
    }

    /// Reclaims the bytes of removed spans once they are as many as those of the buffered spans, so that it never moves
    /// more bytes than were removed.
    fn compact(&mut self) {
        if self.start >= self.bytes() {
            self.bytes.drain(..self.start.min(self.bytes.len()));
            self.start = 0;
        }
        // Only large spans make it grow beyond this.
        self.bytes.shrink_to(self.max_bytes.saturating_mul(4));
    }
}

impl Batch {
    /// Returns the number of spans.
    pub fn spans(&self) -> usize {
        self.lengths.len()
    }

    /// Iterates over the encoded spans.
    ///
    /// ```
    /// use logtracer_core::span_buffer::SpanBuffer;
    ///
    /// let mut buffer = SpanBuffer::new(1000);
    /// for span in ["one", "two", "three"] {
    ///     buffer.push(|out| out.extend_from_slice(span.as_bytes()));
    /// }
    /// let batch = buffer.take_batch(2, 1000).unwrap();
    /// assert_eq!(batch.iter().collect::<Vec<_>>(), [b"one", b"two"]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map(move |length| {
            let (span, after) = rest.split_at_checked(*length).unwrap_or((rest, &[]));
            rest = after;
            span
        })
    }

    /// Splits the batch between two spans, or returns `None` for a single span.
    pub fn split_in_half(mut self) -> Option<(Self, Self)> {
        let middle = self.lengths.len() / 2;
        if middle == 0 {
            return None;
        }
        let lengths = self.lengths.split_off(middle);
        let bytes = self.bytes.split_off(self.lengths.iter().sum::<usize>().min(self.bytes.len()));
        Some((self, Self { bytes, lengths }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn push(buffer: &mut SpanBuffer, span: &[u8]) -> usize {
        buffer.push(|out| out.extend_from_slice(span)).total()
    }

    fn batch(spans: &[&[u8]]) -> Batch {
        Batch { bytes: spans.concat(), lengths: spans.iter().map(|span| span.len()).collect() }
    }

    #[test]
    fn spans_leave_in_the_order_they_came() {
        let mut buffer = SpanBuffer::new(100);
        for span in [b"aa".as_slice(), b"b", b"ccc"] {
            assert_eq!(push(&mut buffer, span), 0);
        }
        assert!(!buffer.is_empty());
        assert_eq!(buffer.take_batch(2, 50), Some(batch(&[b"aa", b"b"])));
        assert!(!buffer.is_empty());
        assert_eq!(buffer.take_batch(2, 50), Some(batch(&[b"ccc"])));
        assert!(buffer.is_empty());
        assert_eq!(buffer.take_batch(2, 50), None);
    }

    #[test]
    fn the_spans_of_a_batch_in_order() {
        for spans in [vec![], vec![b"aa".as_slice()], vec![b"aa", b"b", b"", b"ccc"]] {
            assert_eq!(batch(&spans).iter().collect::<Vec<_>>(), spans);
        }
    }

    /// Half of the way to the limit, and at most seven eighths.
    #[test]
    fn the_mark_of_a_retry() {
        for (bytes, expected) in
            [(0, 500), (1, 500), (2, 501), (500, 750), (750, 875), (752, 875), (1000, 875)]
        {
            let mut buffer = SpanBuffer::new(1000);
            push(&mut buffer, &vec![b'a'; bytes]);
            assert_eq!(buffer.retry_mark(), expected, "{bytes} bytes");
        }
    }

    #[test]
    fn a_batch_is_bounded_in_bytes() {
        let mut buffer = SpanBuffer::new(200);
        for length in [49, 1, 1, 60] {
            push(&mut buffer, &vec![b'a'; length]);
        }
        let lengths = std::iter::from_fn(|| buffer.take_batch(1000, 50)).map(|batch| batch.lengths);
        assert_eq!(lengths.collect::<Vec<_>>(), [vec![49, 1], vec![1], vec![60]]);
    }

    #[test]
    fn a_batch_is_split_between_spans() {
        let (first, second) = batch(&[b"aa", b"b", b"ccc"]).split_in_half().unwrap();
        assert_eq!((first, second.clone()), (batch(&[b"aa"]), batch(&[b"b", b"ccc"])));
        let (first, second) = second.split_in_half().unwrap();
        assert_eq!((first.clone(), second), (batch(&[b"b"]), batch(&[b"ccc"])));
        assert_eq!(first.split_in_half(), None);
    }

    /// Rule 72.
    #[test]
    fn the_oldest_are_dropped_when_it_is_full() {
        let mut buffer = SpanBuffer::new(10);
        assert_eq!(push(&mut buffer, b"aaaa"), 0);
        assert_eq!(push(&mut buffer, b"bbbb"), 0);
        assert_eq!(push(&mut buffer, b"cccc"), 1);
        assert_eq!(push(&mut buffer, b"dddddddddd"), 2);
        let too_large = Dropped { oldest: 0, too_large: 1 };
        assert_eq!(buffer.push(|out| out.extend_from_slice(b"eeeeeeeeeee")), too_large);
        assert_eq!(buffer.take_batch(9, 5), Some(batch(&[b"dddddddddd"])));
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let mut buffer = SpanBuffer::new(1000);
        let (mut dropped, mut taken, mut warm) = (0, 0, 0);
        for round in 0..10_000usize {
            dropped += push(&mut buffer, &vec![b'x'; round * 7 % 90 + 1]);
            if round % 50 == 0 {
                taken += buffer.take_batch(3, 500).map_or(0, |batch| batch.spans());
            }
            assert!(buffer.bytes() <= 1000);
            assert!(buffer.bytes.capacity() <= 4000, "{}", buffer.bytes.capacity());
            if round == 1000 {
                warm = buffer.bytes.capacity();
            }
        }
        assert_eq!(buffer.bytes.capacity(), warm);
        assert_eq!(10_000, dropped + taken + buffer.spans());
    }

    proptest! {
        /// For any pushes and takes: batches are the pushed spans in order, no span is dropped before an older one,
        /// each dropped span is counted, and the memory is bounded.
        #[test]
        fn the_newest_leave_in_order(
            steps in proptest::collection::vec((1usize..400, any::<bool>()), 1..300),
            max_bytes in 100usize..1000,
            batch_spans in 1usize..20,
        ) {
            let mut buffer = SpanBuffer::new(max_bytes);
            let (mut expected, mut dropped, mut taken) = (VecDeque::new(), 0, 0);
            for (number, (length, takes)) in steps.iter().enumerate() {
                // The first byte and the length identify a span.
                let span = [vec![number as u8], vec![b'x'; *length]].concat();
                let lost = buffer.push(|out| out.extend_from_slice(&span));
                dropped += lost.total();
                expected.extend((lost.too_large == 0).then_some(span));
                expected.drain(..lost.oldest);
                if let Some(batch) = takes.then(|| buffer.take_batch(batch_spans, max_bytes / 2)).flatten() {
                    prop_assert!(batch.spans() <= batch_spans);
                    prop_assert!(batch.bytes.len() <= max_bytes / 2 || batch.spans() == 1);
                    let bytes: Vec<u8> = expected.drain(..batch.spans()).flatten().collect();
                    prop_assert_eq!(&batch.bytes, &bytes);
                    taken += batch.spans();
                }
                prop_assert_eq!(buffer.spans(), expected.len());
                prop_assert_eq!(buffer.bytes(), expected.iter().map(Vec::len).sum::<usize>());
                prop_assert!(buffer.bytes() <= max_bytes);
                prop_assert!(buffer.bytes.capacity() <= 4 * max_bytes);
            }
            prop_assert_eq!(steps.len(), dropped + taken + buffer.spans());
        }
    }
}
