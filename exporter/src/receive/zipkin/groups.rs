//! The converted spans of a list, grouped by service and scope.
//!
//! A service whose caller shares the id of the span gets a new id for its own span, which is derived from the shared one.
//! The calls below have the shared id as their parent, so they are moved to the new id if the service is the same.
//!
//! Some clients do not send `shared`, so the span of a server is also the shared half if a client's span has its id, as
//! in Zipkin (`zipkin2.internal.Trace.merge`).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::mem::size_of;

use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::span::{Ids, ZipkinSpan, string_attribute};
use crate::otlp::left_out::Reason;
use crate::otlp::shared_span::server_span_id;

#[derive(Default)]
pub(super) struct Groups<'a> {
    indexes: HashMap<Group<'a>, u32>,
    /// The spans in protobuf, without their own ids and those of their parents, in pieces: adding a span does not copy the others.
    pieces: Vec<Vec<u8>>,
    /// The capacity of all pieces, and the bytes in them.
    pieces_bytes: usize,
    spans_bytes: usize,
    spans: Vec<Entry>,
    /// The spans of servers that share their id: the trace, the shared id and the service.
    shared: HashSet<SharedSpan<'a>>,
    /// The spans of clients.
    clients: HashSet<(TraceId, SpanId)>,
    /// The texts in `indexes` and `shared`: as they are written, and as copies if they had escapes.
    texts_bytes: usize,
}

type SharedSpan<'a> = (TraceId, SpanId, Cow<'a, str>);

#[derive(PartialEq, Eq, Hash)]
struct Group<'a> {
    service: Cow<'a, str>,
    scope: Cow<'a, str>,
    version: Cow<'a, str>,
}

/// A span in [`Groups::pieces`].
struct Entry {
    group: u32,
    piece: u32,
    start: u32,
    end: u32,
    trace_id: TraceId,
    /// As it was received.
    span_id: SpanId,
    parent: Option<SpanId>,
    half: Half,
}

/// What is known of the other half of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    None,
    /// The span of a server. The client's can have the same id.
    Server,
    /// The span of a server with the id of the client's.
    SharedServer,
}

/// The size of a span id with its key and its length.
const ID_BYTES: usize = 10;

/// The usual size of a piece. A larger span gets one of its own.
const PIECE_BYTES: usize = 64 << 10;

/// What the keys and the lengths around a span or a group take at most.
const FRAME_BYTES: usize = 64;

impl<'a> Groups<'a> {
    /// Converts and adds a span.
    pub(super) fn push(&mut self, mut span: ZipkinSpan<'a>, now: u64) -> Result<(), Reason> {
        let ids = span.ids()?;
        let half = if span.is_shared_server() {
            Half::SharedServer
        } else if span.kind() == SpanKind::Server {
            Half::Server
        } else {
            Half::None
        };
        if span.kind() == SpanKind::Client {
            self.clients.insert((ids.trace_id, ids.span_id));
        }
        let service = span.local.service_name.take().unwrap_or_default();
        if half == Half::SharedServer {
            self.shared.insert((ids.trace_id, ids.span_id, service.clone()));
        }
        let mut tag = |name: &str, old_name: &str| {
            span.tags.remove(name).or_else(|| span.tags.remove(old_name)).unwrap_or_default()
        };
        let scope = tag("otel.scope.name", "otel.library.name");
        let version = tag("otel.scope.version", "otel.library.version");
        // Once when written, and a copy for each of the two maps.
        self.texts_bytes += 3 * (service.len() + scope.len() + version.len());
        let next = u32::try_from(self.indexes.len()).unwrap_or(u32::MAX);
        let group = *self.indexes.entry(Group { service, scope, version }).or_insert(next);
        let (piece, start, end) = self.encode(&span.into_otlp(ids.trace_id, now));
        let Ids { trace_id, span_id, parent } = ids;
        self.spans.push(Entry { group, piece, start, end, trace_id, span_id, parent, half });
        Ok(())
    }

    /// Encodes a span. Returns the index of its piece, its start and its end.
    fn encode(&mut self, span: &Span) -> (u32, u32, u32) {
        let bytes = span.encoded_len();
        if self.pieces.last().is_none_or(|piece| piece.capacity() - piece.len() < bytes) {
            self.pieces.push(Vec::with_capacity(bytes.max(PIECE_BYTES)));
            self.pieces_bytes += bytes.max(PIECE_BYTES);
        }
        self.spans_bytes += bytes;
        let index = self.pieces.len() - 1;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let Some(piece) = self.pieces.last_mut() else { return (0, 0, 0) };
        let start = piece.len();
        span.encode_raw(piece);
        (number(index), number(start), number(piece.len()))
    }

    /// Returns the memory that the groups take at most, also when they are written, or when they grow by one span.
    pub(super) fn bytes(&self) -> usize {
        /// A table that is full is copied to one of twice its size. A hash table has room for an eighth more.
        const TABLE: usize = 4;
        self.pieces_bytes
            + self.spans_bytes
            + (self.spans.len() + self.indexes.len()) * FRAME_BYTES
            + self.texts_bytes
            + TABLE
                * (self.spans.capacity() * size_of::<Entry>()
                    + self.indexes.capacity() * size_of::<(Group<'_>, u32)>()
                    + self.shared.capacity() * size_of::<SharedSpan<'_>>()
                    + self.clients.capacity() * size_of::<(TraceId, SpanId)>()
                    + self.pieces.capacity() * size_of::<Vec<u8>>())
    }

    /// Writes an export request.
    pub(super) fn into_request(mut self) -> Vec<u8> {
        let mut groups: Vec<_> = self.indexes.drain().collect();
        groups.sort_unstable_by_key(|(_, index)| *index);
        self.find_shared(&groups);
        self.spans.sort_by_key(|span| span.group);
        let frames = (self.spans.len() + groups.len()) * FRAME_BYTES;
        let mut out = Vec::with_capacity(self.spans_bytes + frames + self.texts_bytes / 3);
        let mut rest = &self.spans[..];
        for (group, index) in &groups {
            let (spans, others) = rest.split_at(rest.partition_point(|span| span.group <= *index));
            rest = others;
            self.write(group, spans, &mut out);
        }
        out.shrink_to_fit();
        out
    }

    /// Finds the spans of servers that have the id of a client's.
    fn find_shared(&mut self, groups: &[(Group<'a>, u32)]) {
        for span in &mut self.spans {
            if span.half == Half::Server && self.clients.contains(&(span.trace_id, span.span_id)) {
                span.half = Half::SharedServer;
                if let Some((group, _)) = groups.get(span.group as usize) {
                    self.shared.insert((span.trace_id, span.span_id, group.service.clone()));
                }
            }
        }
    }

    fn write(&self, group: &Group<'_>, spans: &[Entry], out: &mut Vec<u8>) {
        let name = (!group.service.is_empty()).then(|| string_attribute("service.name", &group.service));
        let resource = Resource { attributes: name.into_iter().collect(), ..Default::default() };
        let scope = InstrumentationScope {
            name: group.scope.clone().into_owned(),
            version: group.version.clone().into_owned(),
            ..Default::default()
        };
        let resource_spans = ResourceSpans { resource: Some(resource), ..Default::default() };
        let scope_spans = ScopeSpans { scope: Some(scope), ..Default::default() };
        let scope_bytes =
            scope_spans.encoded_len() + spans.iter().map(|span| field_bytes(span.bytes())).sum::<usize>();

        start(1, resource_spans.encoded_len() + field_bytes(scope_bytes), out);
        resource_spans.encode_raw(out);
        start(2, scope_bytes, out);
        scope_spans.encode_raw(out);
        for span in spans {
            start(2, span.bytes(), out);
            let piece = self.pieces.get(span.piece as usize).map(Vec::as_slice).unwrap_or_default();
            out.extend_from_slice(piece.get(span.start as usize..span.end as usize).unwrap_or_default());
            let (span_id, parent) = self.ids(span, &group.service);
            for (number, id) in [(2, Some(span_id)), (4, parent)] {
                if let Some(id) = id {
                    start(number, 8, out);
                    out.extend_from_slice(&id.to_bytes());
                }
            }
        }
    }

    /// Returns the id of a span and that of its parent.
    fn ids(&self, span: &Entry, service: &str) -> (SpanId, Option<SpanId>) {
        if span.half == Half::SharedServer {
            return (server_span_id(span.span_id), Some(span.span_id));
        }
        let is_below_server = |parent| self.shared.contains(&(span.trace_id, parent, Cow::Borrowed(service)));
        let parent =
            span.parent.map(|parent| if is_below_server(parent) { server_span_id(parent) } else { parent });
        (span.span_id, parent)
    }
}

impl Entry {
    const fn bytes(&self) -> usize {
        let has_parent = self.parent.is_some() || matches!(self.half, Half::SharedServer);
        let ids = if has_parent { 2 * ID_BYTES } else { ID_BYTES };
        (self.end - self.start) as usize + ids
    }
}

/// Writes the key and the length of a message or of bytes.
fn start(number: u32, length: usize, out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

/// Returns the size of a field of this length, whose number is below 16.
const fn field_bytes(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}
