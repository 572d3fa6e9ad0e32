//! A request of the outbox or of the dead letters, or some of its items.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use prost::{DecodeError, Message};

use crate::otlp::envelope::{Envelope, Part};
use crate::otlp::{Signal, check};

/// A request or a part of one, and its origin.
///
/// A part shares the bytes of its request, and is encoded when it is sent: the parts of a request can be far larger
/// than the request, because each repeats its resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) origin: Origin,
    pub(crate) items: u32,
    /// About the size of the body.
    bytes: usize,
    /// The request of the signal as protobuf.
    request: Bytes,
    /// The items of the request that the slice has. `None` is the whole request.
    selection: Option<Selection>,
}

/// The place where a slice is stored until it is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// A batch in the outbox, by id.
    Batch(i64),
    /// A dead letter for which a retry was requested, by id.
    DeadLetter(i64),
}

/// Items of a request, by their indices in it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selection {
    Range(Range<u32>),
    /// In ascending order.
    Indices(Arc<[u32]>),
}

impl Slice {
    pub(crate) fn new(origin: Origin, items: u32, request: Bytes) -> Self {
        Self { origin, items, bytes: request.len(), request, selection: None }
    }

    /// Returns the request of the signal with the items of the slice, as protobuf.
    pub(crate) fn body(&self) -> Bytes {
        match &self.selection {
            None => self.request.clone(),
            Some(_) => self.envelope().map_or_else(|_| self.request.clone(), |envelope| envelope.to_body()),
        }
    }

    /// Returns about the size of the body.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Decodes the request with all its items, also those that the slice does not have.
    pub(crate) fn whole_request(&self) -> Result<Envelope, DecodeError> {
        Envelope::from_body(&self.request)
    }

    /// Returns true if the slice has the item with this index in the request.
    pub(crate) fn has(&self, index: u32) -> bool {
        match &self.selection {
            None => index < self.items,
            Some(Selection::Range(range)) => range.contains(&index),
            Some(Selection::Indices(indices)) => indices.binary_search(&index).is_ok(),
        }
    }

    /// Returns the indices of its items in the request, from the first to the last, or `None` if they cannot be read.
    pub(super) fn item_range(&self) -> Option<Range<u32>> {
        match &self.selection {
            None => self.envelope().is_ok_and(|it| it.items() == self.items).then_some(0..self.items),
            Some(Selection::Range(range)) => Some(range.clone()),
            Some(Selection::Indices(indices)) => Some(*indices.first()?..*indices.last()? + 1),
        }
    }

    /// Decodes the request down to the items of the slice.
    pub(super) fn envelope(&self) -> Result<Envelope, DecodeError> {
        let mut envelope = self.whole_request()?;
        match &self.selection {
            None => {}
            Some(Selection::Range(range)) => envelope.retain_range(range),
            Some(Selection::Indices(indices)) => retain(&mut envelope, indices),
        }
        Ok(envelope)
    }

    /// Returns true if decoding it takes too much memory. A part was checked with its request.
    pub(super) fn is_too_large(&self, signal: Signal) -> bool {
        self.selection.is_none() && check::is_too_large(signal, &self.request)
    }

    pub(super) fn part(&self, part: Part) -> Self {
        let Part { items: Range { start, end }, bytes } = part;
        let selection = match &self.selection {
            None => Selection::Range(start..end),
            Some(Selection::Range(range)) => Selection::Range(range.start + start..range.start + end),
            Some(Selection::Indices(indices)) => {
                Selection::Indices(indices.get(start as usize..end as usize).unwrap_or_default().into())
            }
        };
        Self { items: end - start, bytes, selection: Some(selection), ..self.clone() }
    }

    /// Returns the slice with only these of its items, by their indices in it, in ascending order. `envelope` is its own.
    pub(super) fn pick(&self, envelope: &Envelope, indices: &[u32]) -> Self {
        if indices.len() == self.items as usize {
            return self.clone();
        }
        let mut picked = envelope.clone();
        retain(&mut picked, indices);
        let in_request = indices.iter().filter_map(|index| match &self.selection {
            None => Some(*index),
            Some(Selection::Range(range)) => Some(range.start + index),
            Some(Selection::Indices(indices)) => indices.get(*index as usize).copied(),
        });
        let selection = Some(Selection::Indices(in_request.collect()));
        Self { items: picked.items(), bytes: picked.encoded_len(), selection, ..self.clone() }
    }
}

/// Removes all items except those with these indices, which are in ascending order.
fn retain(envelope: &mut Envelope, indices: &[u32]) {
    let (mut next, mut wanted) = (0, indices.iter().peekable());
    envelope.retain_items(|_| {
        let is_wanted = wanted.next_if_eq(&&next).is_some();
        next += 1;
        is_wanted
    });
}

#[cfg(test)]
mod tests {
    use super::super::chunk::tests::{body, names};
    use super::super::chunk::{Chunk, Halves, single_items};
    use super::*;

    #[test]
    fn a_part_of_a_part_knows_its_items_in_the_request() {
        let slice = Slice::new(Origin::Batch(1), 6, body(&["a", "b", "c", "d", "e", "f"]));
        let part = |slice: &Slice, items| slice.part(Part { items, bytes: 0 });
        let pick = |slice: &Slice, indices: &[u32]| slice.pick(&slice.envelope().unwrap(), indices);
        let range = part(&slice, 1..5);
        let indices = pick(&range, &[0, 2, 3]);
        for (slice, expected, has, in_request) in [
            (slice, "a b c d e f", vec![0, 1, 2, 3, 4, 5], 0..6),
            (range.clone(), "b c d e", vec![1, 2, 3, 4], 1..5),
            (part(&range, 2..4), "d e", vec![3, 4], 3..5),
            (indices.clone(), "b d e", vec![1, 3, 4], 1..5),
            (part(&indices, 1..3), "d e", vec![3, 4], 3..5),
            (pick(&indices, &[0, 2]), "b e", vec![1, 4], 1..5),
            (pick(&indices, &[0, 1, 2]), "b d e", vec![1, 3, 4], 1..5),
        ] {
            let chunk = Chunk::new(Signal::Traces, slice.clone());
            assert_eq!((names(&chunk).join(" ").as_str(), slice.item_range()), (expected, Some(in_request)));
            assert_eq!((0..7).filter(|index| slice.has(*index)).collect::<Vec<_>>(), has, "{expected}");
            assert_eq!(slice.items as usize, has.len());
        }
        let of_three = single_items(Signal::Traces, &indices).unwrap();
        assert_eq!(of_three.len(), 3);
        let Halves::Two(first, second) = Chunk::new(Signal::Traces, indices).halves() else { panic!() };
        assert_eq!((names(&first).join(" "), names(&second).join(" ")), ("b d".to_owned(), "e".to_owned()));
    }

    #[test]
    fn picked_items_share_the_bytes_of_the_request() {
        let request = body(&["a", "b", "c"]);
        let slice = Slice::new(Origin::Batch(1), 3, request.clone());
        let picked = slice.pick(&slice.envelope().unwrap(), &[0, 2]);
        assert_eq!(picked.request.as_ptr(), request.as_ptr());
        assert_eq!(picked.bytes(), picked.body().len());
    }
}
