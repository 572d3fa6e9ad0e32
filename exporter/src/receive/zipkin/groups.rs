//! The converted spans of a list, grouped by service and scope.
//!
//! A service whose caller shares the id of the span gets a new id for its own span, which is derived from the shared one.
//! The calls below have the shared id as their parent, so they are moved to the new id if the service is the same.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::mem::size_of;

use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::span::{ZipkinSpan, string_attribute};
use crate::otlp::left_out::Reason;
use crate::otlp::shared_span::server_span_id;

#[derive(Default)]
pub(super) struct Groups<'a> {
    indexes: HashMap<Group<'a>, u32>,
    /// The spans in protobuf, without their parents.
    bytes: Vec<u8>,
    spans: Vec<Entry>,
    /// The spans of servers that share their id: the trace, the shared id and the service.
    shared: HashSet<(TraceId, SpanId, Cow<'a, str>)>,
}

#[derive(PartialEq, Eq, Hash)]
struct Group<'a> {
    service: Cow<'a, str>,
    scope: Cow<'a, str>,
    version: Cow<'a, str>,
}

/// A span in [`Groups::bytes`].
struct Entry {
    group: u32,
    start: usize,
    end: usize,
    trace_id: TraceId,
    parent: Option<SpanId>,
    is_shared_server: bool,
}

/// The size of a parent id with its key and its length.
const PARENT_BYTES: usize = 10;

impl<'a> Groups<'a> {
    /// Converts and adds a span.
    pub(super) fn push(&mut self, mut span: ZipkinSpan<'a>, now: u64) -> Result<(), Reason> {
        let ids = span.ids()?;
        let is_shared_server = span.is_shared_server();
        let service = span.local.service_name.take().unwrap_or_default();
        let (span_id, parent) = if is_shared_server {
            self.shared.insert((ids.trace_id, ids.span_id, service.clone()));
            (server_span_id(ids.span_id), Some(ids.span_id))
        } else {
            (ids.span_id, ids.parent)
        };
        let mut tag = |name: &str, old_name: &str| {
            span.tags.remove(name).or_else(|| span.tags.remove(old_name)).unwrap_or_default()
        };
        let scope = tag("otel.scope.name", "otel.library.name");
        let version = tag("otel.scope.version", "otel.library.version");
        let next = u32::try_from(self.indexes.len()).unwrap_or(u32::MAX);
        let group = *self.indexes.entry(Group { service, scope, version }).or_insert(next);
        let start = self.bytes.len();
        let converted = span.into_otlp(ids.trace_id, span_id, now);
        self.bytes.reserve(converted.encoded_len());
        converted.encode_raw(&mut self.bytes);
        let (end, trace_id) = (self.bytes.len(), ids.trace_id);
        self.spans.push(Entry { group, start, end, trace_id, parent, is_shared_server });
        Ok(())
    }

    /// Returns the memory that the groups take now, and when they are written.
    pub(super) fn bytes(&self) -> usize {
        2 * self.bytes.len()
            + self.spans.len() * size_of::<Entry>()
            + self.indexes.len() * 2 * size_of::<Group<'_>>()
            + self.shared.len() * 2 * size_of::<(TraceId, SpanId, Cow<'_, str>)>()
    }

    /// Writes an export request.
    pub(super) fn into_request(mut self) -> Vec<u8> {
        let mut groups: Vec<_> = self.indexes.drain().collect();
        groups.sort_unstable_by_key(|(_, index)| *index);
        self.spans.sort_by_key(|span| span.group);
        let mut out = Vec::with_capacity(self.bytes.len() + self.spans.len() * (PARENT_BYTES + 4));
        let mut rest = &self.spans[..];
        for (group, index) in &groups {
            let (spans, others) = rest.split_at(rest.partition_point(|span| span.group <= *index));
            rest = others;
            self.write(group, spans, &mut out);
        }
        out.shrink_to_fit();
        out
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
            out.extend_from_slice(self.bytes.get(span.start..span.end).unwrap_or_default());
            if let Some(parent) = self.parent(span, &group.service) {
                start(4, 8, out);
                out.extend_from_slice(&parent.to_bytes());
            }
        }
    }

    fn parent(&self, span: &Entry, service: &str) -> Option<SpanId> {
        let parent = span.parent?;
        let server = (span.trace_id, parent, Cow::Borrowed(service));
        let is_below_server = !span.is_shared_server && self.shared.contains(&server);
        Some(if is_below_server { server_span_id(parent) } else { parent })
    }
}

impl Entry {
    const fn bytes(&self) -> usize {
        let parent = if self.parent.is_some() { PARENT_BYTES } else { 0 };
        self.end - self.start + parent
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
