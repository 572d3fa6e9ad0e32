//! The content of one call to a sink, and how it is split.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;

use super::slice::Slice;
use crate::otlp::Signal;
use crate::otlp::envelope::{Envelope, Part, ResourceItems};

/// The items of one call, in one or more slices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    signal: Signal,
    slices: Vec<Slice>,
}

/// The result of halving a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Halves {
    Two(Chunk, Chunk),
    /// The chunk has a single item, or cannot be read.
    One(Chunk),
}

impl Chunk {
    pub(crate) fn new(signal: Signal, slice: Slice) -> Self {
        Self { signal, slices: vec![slice] }
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    pub(crate) fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// Returns the requests. Their concatenation is one request.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = Bytes> {
        self.slices.iter().map(Slice::body)
    }

    /// Decodes the requests down to their items, one at a time.
    pub(crate) fn envelopes(&self) -> impl Iterator<Item = Result<Envelope, String>> {
        self.slices.iter().map(|slice| {
            if slice.is_too_large(self.signal) {
                return Err("it takes too much memory when decoded".to_owned());
            }
            slice.envelope().map_err(|error| error.to_string())
        })
    }

    /// Returns all requests as one.
    pub(crate) fn body(&self) -> Bytes {
        match &self.slices[..] {
            [slice] => slice.body(),
            _ => {
                let mut body = Vec::with_capacity(self.bytes());
                self.bodies().for_each(|of_slice| body.extend_from_slice(&of_slice));
                body.into()
            }
        }
    }

    pub(crate) fn items(&self) -> u32 {
        self.slices.iter().map(|slice| slice.items).fold(0, u32::saturating_add)
    }

    /// Returns about the size of the body.
    pub(crate) fn bytes(&self) -> usize {
        self.slices.iter().map(Slice::bytes).sum()
    }

    /// Adds a slice of the same signal.
    pub(super) fn push(&mut self, slice: Slice) {
        self.slices.push(slice);
    }

    /// Halves the chunk between its slices, and a single slice between its items.
    pub(super) fn halves(mut self) -> Halves {
        if self.slices.len() > 1 {
            let second = self.slices.split_off(self.slices.len() / 2);
            let second = Self { signal: self.signal, slices: second };
            return Halves::Two(self, second);
        }
        let Some(slice) = self.slices.first() else { return Halves::One(self) };
        let Some(mut split) = split(self.signal, slice, slice.items.div_ceil(2), usize::MAX) else {
            return Halves::One(self);
        };
        match (split.next(), split.next()) {
            (Some(first), Some(second)) => {
                Halves::Two(Self::new(self.signal, first), Self::new(self.signal, second))
            }
            _ => Halves::One(self),
        }
    }

    /// Groups the items by a key of their resource, a `Resource` as protobuf.
    pub(crate) fn by_resource<K: Ord + Clone>(&self, key: impl Fn(&[u8]) -> K) -> BTreeMap<K, Self> {
        self.group(|envelope, _| {
            let of_resource = |resource_items: &ResourceItems| {
                let key = key(resource_items.resource.as_deref().unwrap_or_default());
                let items = resource_items.scopes.iter().map(|scope_items| scope_items.items.len()).sum();
                std::iter::repeat_n(Some(key), items)
            };
            envelope.resources.iter().flat_map(of_resource).collect()
        })
    }

    /// Groups the items by a key of each item, a `Span` or `LogRecord` as protobuf.
    pub(crate) fn by_item<K: Ord>(&self, key: impl Fn(&[u8]) -> K) -> BTreeMap<K, Self> {
        self.group(|envelope, _| {
            let scopes = envelope.resources.iter().flat_map(|resource_items| &resource_items.scopes);
            scopes.flat_map(|scope_items| &scope_items.items).map(|item| Some(key(item))).collect()
        })
    }

    /// Groups the items by a key of their index in the chunk. Items without a key are left out.
    pub(crate) fn by_index<K: Ord>(&self, key: impl Fn(u32) -> Option<K>) -> BTreeMap<K, Self> {
        self.group(|envelope, start| (start..start + envelope.items()).map(&key).collect())
    }

    /// Groups the items of each slice by the keys that `keys` returns for them, in their order. It gets the index of the
    /// first item in the chunk.
    fn group<K: Ord>(&self, keys: impl Fn(&Envelope, u32) -> Vec<Option<K>>) -> BTreeMap<K, Self> {
        let mut chunks: BTreeMap<K, Self> = BTreeMap::new();
        let mut start = 0;
        for slice in &self.slices {
            let first = start;
            start += slice.items;
            let Some(envelope) = decode_slice(self.signal, slice) else { continue };
            let mut indices: BTreeMap<K, Vec<u32>> = BTreeMap::new();
            for (index, key) in (0..).zip(keys(&envelope, first)) {
                if let Some(key) = key {
                    indices.entry(key).or_default().push(index);
                }
            }
            for (key, indices) in indices {
                let picked = slice.pick(&envelope, &indices);
                match chunks.entry(key) {
                    Entry::Occupied(mut chunk) => chunk.get_mut().push(picked),
                    Entry::Vacant(free) => drop(free.insert(Self::new(self.signal, picked))),
                }
            }
        }
        chunks
    }
}

/// The smaller slices of a slice.
#[derive(Debug)]
pub(super) struct Split {
    slice: Slice,
    parts: std::vec::IntoIter<Part>,
}

impl Iterator for Split {
    type Item = Slice;

    fn next(&mut self) -> Option<Slice> {
        self.parts.next().map(|part| self.slice.part(part))
    }
}

/// Splits a slice into smaller ones. Returns `None` if it cannot be read, or has another number of items than it states.
pub(super) fn split(signal: Signal, slice: &Slice, max_items: u32, max_bytes: usize) -> Option<Split> {
    let parts = decode_slice(signal, slice)?.parts(max_items, max_bytes).into_iter();
    Some(Split { slice: slice.clone(), parts })
}

/// Returns the items of a slice, each as a part of its own. Returns `None` in the same cases as [`split`].
pub(super) fn single_items(signal: Signal, slice: &Slice) -> Option<Vec<Part>> {
    Some(decode_slice(signal, slice)?.parts(1, usize::MAX))
}

/// Decodes a slice down to its items. Returns `None` if it is unreadable: the receivers put only readable requests into
/// the outbox, but its file can contain anything.
fn decode_slice(signal: Signal, slice: &Slice) -> Option<Envelope> {
    if slice.is_too_large(signal) {
        return None;
    }
    slice.envelope().ok().filter(|envelope| envelope.items() == slice.items)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::slice::Origin;
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    /// Returns a request with spans of these names, each in a resource that is marked with the first letter of the name.
    pub(crate) fn body(names: &[&str]) -> Bytes {
        let of = |name: &&str| ResourceSpans {
            resource: Some(Resource {
                dropped_attributes_count: u32::from(name.as_bytes()[0]),
                ..Default::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans: vec![Span {
                    trace_id: vec![1; 16],
                    span_id: vec![1; 8],
                    name: (*name).to_owned(),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        ExportTraceServiceRequest { resource_spans: names.iter().map(of).collect() }.encode_to_vec().into()
    }

    /// Returns the names of the spans of a chunk.
    pub(crate) fn names(chunk: &Chunk) -> Vec<String> {
        let request = ExportTraceServiceRequest::decode(chunk.body()).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).map(|span| span.name).collect()
    }

    fn slice(id: i64, names: &[&str]) -> Slice {
        let items = u32::try_from(names.len()).unwrap();
        Slice::new(Origin::Batch(id), items, body(names))
    }

    #[test]
    fn a_chunk_is_halved_down_to_single_items() {
        let mut chunk = Chunk::new(Signal::Traces, slice(1, &["a", "b", "c"]));
        chunk.push(slice(2, &["d"]));
        chunk.push(slice(3, &["e", "f"]));
        assert_eq!(
            (chunk.items(), names(&chunk)),
            (6, ["a", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec())
        );
        let mut open = vec![chunk];
        let mut singles = Vec::new();
        while let Some(chunk) = open.pop() {
            match chunk.halves() {
                Halves::Two(first, second) => open.extend([second, first]),
                Halves::One(chunk) => {
                    singles.push((chunk.slices[0].origin, chunk.items(), names(&chunk).join(" ")));
                }
            }
        }
        let expected = [(1, "a"), (1, "b"), (1, "c"), (2, "d"), (3, "e"), (3, "f")];
        assert_eq!(singles, expected.map(|(id, name)| (Origin::Batch(id), 1, name.to_owned())));
    }

    #[test]
    fn an_unreadable_chunk_is_not_halved() {
        for body in [Bytes::from_static(b"\xff\xff"), body(&["a", "b", "c"])] {
            let chunk = Chunk::new(Signal::Traces, Slice::new(Origin::Batch(1), 2, body));
            assert_eq!(chunk.clone().halves(), Halves::One(chunk));
        }
    }

    #[test]
    fn items_are_grouped() {
        use opentelemetry_proto::tonic::trace::v1::Span;
        let mut chunk = Chunk::new(Signal::Traces, slice(1, &["a1", "b1", "a2"]));
        chunk.push(slice(2, &["b2", "c1"]));
        let key = |span: &[u8]| Span::decode(span).unwrap().name.starts_with('a');
        let chunks = chunk.by_item(key);
        assert_eq!(names(&chunks[&true]), ["a1", "a2"]);
        assert_eq!(names(&chunks[&false]), ["b1", "b2", "c1"]);
        assert_eq!(chunks[&false].items(), 3);
    }

    #[test]
    fn items_are_picked_by_their_index() {
        let mut chunk = Chunk::new(Signal::Traces, slice(1, &["a", "b", "c"]));
        chunk.push(slice(2, &["d", "e"]));
        let key = |index| match index {
            0 | 4 => Some("first"),
            2 => Some("second"),
            _ => None,
        };
        let chunks = chunk.by_index(key);
        let shown: Vec<_> = chunks
            .iter()
            .map(|(key, chunk)| {
                let origins: Vec<_> = chunk.slices().iter().map(|slice| slice.origin).collect();
                (*key, names(chunk).join(" "), origins)
            })
            .collect();
        let batch = Origin::Batch;
        let first = ("first", "a e".to_owned(), vec![batch(1), batch(2)]);
        assert_eq!(shown, [first, ("second", "c".to_owned(), vec![batch(1)])]);
    }

    #[test]
    fn resources_are_grouped() {
        let mut chunk = Chunk::new(Signal::Traces, slice(1, &["a1", "b1", "a2"]));
        chunk.push(slice(2, &["b2", "c1"]));
        let key = |resource: &[u8]| Resource::decode(resource).unwrap().dropped_attributes_count;
        let chunks: Vec<_> = chunk.by_resource(key).values().map(names).collect();
        assert_eq!(chunks, [vec!["a1", "a2"], vec!["b1", "b2"], vec!["c1"]]);
    }
}
