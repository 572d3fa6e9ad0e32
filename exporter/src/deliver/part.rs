//! What one call to a sink carries, and how it is divided.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::envelope::{Envelope, OfResource};
use crate::outbox::Signal;
use crate::receive;

/// Spans or log records for one call: whole batches, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    signal: Signal,
    pieces: Vec<Piece>,
}

/// A request, or a piece of one, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) place: Place,
    pub(crate) items: u32,
    /// The request of the signal as protobuf.
    pub(crate) body: Bytes,
}

/// Where a piece waits until it is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the outbox.
    Batch(i64),
    /// Among the dead letters, and it has been asked to try it again.
    DeadLetter(i64),
}

/// A part that was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Halves {
    Two(Part, Part),
    /// A single item, or something that cannot be divided.
    One(Part),
}

impl Part {
    pub(crate) fn new(signal: Signal, piece: Piece) -> Self {
        Self { signal, pieces: vec![piece] }
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The requests; put one after the other they are one request.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter().map(|piece| &piece.body)
    }

    /// All requests as one.
    pub(crate) fn body(&self) -> Bytes {
        match &self.pieces[..] {
            [piece] => piece.body.clone(),
            pieces => {
                let mut body = Vec::with_capacity(self.bytes());
                pieces.iter().for_each(|piece| body.extend_from_slice(&piece.body));
                body.into()
            }
        }
    }

    /// How many spans or log records it has.
    pub(crate) fn items(&self) -> u32 {
        self.pieces.iter().map(|piece| piece.items).fold(0, u32::saturating_add)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bodies().map(Bytes::len).sum()
    }

    /// Adds a piece of the same signal.
    pub(super) fn push(&mut self, piece: Piece) {
        self.pieces.push(piece);
    }

    /// Halves it by its pieces, and a single piece by what is in it.
    pub(super) fn halves(mut self) -> Halves {
        if self.pieces.len() > 1 {
            let second = self.pieces.split_off(self.pieces.len() / 2);
            let second = Self { signal: self.signal, pieces: second };
            return Halves::Two(self, second);
        }
        let Some(piece) = self.pieces.first() else { return Halves::One(self) };
        let Some(mut cut) = cut(self.signal, piece, piece.items.div_ceil(2), usize::MAX) else {
            return Halves::One(self);
        };
        match (cut.next(), cut.next()) {
            (Some(first), Some(second)) => {
                Halves::Two(Self::new(self.signal, first), Self::new(self.signal, second))
            }
            _ => Halves::One(self),
        }
    }

    /// Divides it by something that is told by the resource; the resource is a `Resource` as protobuf.
    pub(crate) fn by_resource<K: Ord>(&self, key: impl Fn(&[u8]) -> K) -> BTreeMap<K, Self> {
        let mut parts: BTreeMap<K, Self> = BTreeMap::new();
        for piece in &self.pieces {
            let Some(envelope) = open(self.signal, piece) else { continue };
            let mut by_key: BTreeMap<K, Envelope> = BTreeMap::new();
            for of_resource in envelope.resources {
                let key = key(of_resource.resource.as_deref().unwrap_or_default());
                by_key.entry(key).or_default().resources.push(of_resource);
            }
            for (key, envelope) in by_key {
                self.put_under(key, &mut parts, piece.place, &envelope);
            }
        }
        parts
    }

    /// Divides it by something that is told by each span or log record, which are bytes of protobuf.
    pub(crate) fn by_item<K: Ord>(&self, key: impl Fn(&[u8]) -> K) -> BTreeMap<K, Self> {
        let mut parts: BTreeMap<K, Self> = BTreeMap::new();
        for piece in &self.pieces {
            let Some(envelope) = open(self.signal, piece) else { continue };
            let items = envelope.resources.iter().flat_map(|of_resource| &of_resource.scopes);
            let keys: BTreeSet<K> =
                items.flat_map(|of_scope| &of_scope.items).map(|item| key(item)).collect();
            for wanted in keys {
                let mut envelope = envelope.clone();
                for of_scope in envelope.resources.iter_mut().flat_map(|of_resource| &mut of_resource.scopes)
                {
                    of_scope.items.retain(|item| key(item) == wanted);
                }
                envelope.resources.iter_mut().for_each(|of_resource| {
                    of_resource.scopes.retain(|of_scope| !of_scope.items.is_empty());
                });
                envelope.resources.retain(OfResource::has_items);
                self.put_under(wanted, &mut parts, piece.place, &envelope);
            }
        }
        parts
    }

    fn put_under<K: Ord>(&self, key: K, parts: &mut BTreeMap<K, Self>, place: Place, envelope: &Envelope) {
        if let Some(piece) = piece_of(place, envelope) {
            match parts.entry(key) {
                Entry::Occupied(mut part) => part.get_mut().push(piece),
                Entry::Vacant(free) => drop(free.insert(Self::new(self.signal, piece))),
            }
        }
    }
}

/// What a piece is cut into. Each takes memory only once it is asked for: all together can be far larger than the
/// piece, for each says again what its resource says.
#[derive(Debug)]
pub(super) struct Cut {
    place: Place,
    envelopes: std::vec::IntoIter<Envelope>,
}

impl Iterator for Cut {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let place = self.place;
        self.envelopes.find_map(|envelope| piece_of(place, &envelope))
    }
}

/// Cuts a piece into smaller ones; `None` if it cannot be read, or does not hold what it says.
pub(super) fn cut(signal: Signal, piece: &Piece, max_items: u32, max_bytes: usize) -> Option<Cut> {
    let envelopes = open(signal, piece)?.pieces(max_items, max_bytes).into_iter();
    Some(Cut { place: piece.place, envelopes })
}

/// The outbox gets nothing from the receivers that cannot be read, but its file can hold anything.
fn open(signal: Signal, piece: &Piece) -> Option<Envelope> {
    if receive::is_too_large(signal, &piece.body) {
        return None;
    }
    Envelope::open(&piece.body).ok().filter(|envelope| envelope.items() == piece.items)
}

fn piece_of(place: Place, envelope: &Envelope) -> Option<Piece> {
    let items = envelope.items();
    (items > 0).then(|| Piece { place, items, body: envelope.close() })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    /// A request with spans of these names, each in a resource of its own that its first letter stands for.
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

    /// The names of the spans of a part.
    pub(crate) fn names(part: &Part) -> Vec<String> {
        let request = ExportTraceServiceRequest::decode(part.body()).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).map(|span| span.name).collect()
    }

    fn piece(id: i64, names: &[&str]) -> Piece {
        let items = u32::try_from(names.len()).unwrap();
        Piece { place: Place::Batch(id), items, body: body(names) }
    }

    #[test]
    fn it_is_halved_down_to_single_items() {
        let mut part = Part::new(Signal::Traces, piece(1, &["a", "b", "c"]));
        part.push(piece(2, &["d"]));
        part.push(piece(3, &["e", "f"]));
        assert_eq!(
            (part.items(), names(&part)),
            (6, ["a", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec())
        );
        let mut open = vec![part];
        let mut singles = Vec::new();
        while let Some(part) = open.pop() {
            match part.halves() {
                Halves::Two(first, second) => open.extend([second, first]),
                Halves::One(part) => {
                    singles.push((part.pieces[0].place, part.items(), names(&part).join(" ")));
                }
            }
        }
        let expected = [(1, "a"), (1, "b"), (1, "c"), (2, "d"), (3, "e"), (3, "f")];
        assert_eq!(singles, expected.map(|(id, name)| (Place::Batch(id), 1, name.to_owned())));
    }

    #[test]
    fn what_cannot_be_read_stays_whole() {
        for body in [Bytes::from_static(b"\xff\xff"), body(&["a", "b", "c"])] {
            let part = Part::new(Signal::Traces, Piece { place: Place::Batch(1), items: 2, body });
            assert_eq!(part.clone().halves(), Halves::One(part));
        }
    }

    #[test]
    fn it_is_divided_by_item() {
        use opentelemetry_proto::tonic::trace::v1::Span;
        let mut part = Part::new(Signal::Traces, piece(1, &["a1", "b1", "a2"]));
        part.push(piece(2, &["b2", "c1"]));
        let key = |span: &[u8]| Span::decode(span).unwrap().name.starts_with('a');
        let parts = part.by_item(key);
        assert_eq!(names(&parts[&true]), ["a1", "a2"]);
        assert_eq!(names(&parts[&false]), ["b1", "b2", "c1"]);
        assert_eq!(parts[&false].items(), 3);
    }

    #[test]
    fn it_is_divided_by_resource() {
        let mut part = Part::new(Signal::Traces, piece(1, &["a1", "b1", "a2"]));
        part.push(piece(2, &["b2", "c1"]));
        let key = |resource: &[u8]| Resource::decode(resource).unwrap().dropped_attributes_count;
        let parts: Vec<_> = part.by_resource(key).values().map(names).collect();
        assert_eq!(parts, [vec!["a1", "a2"], vec!["b1", "b2"], vec!["c1"]]);
    }
}
