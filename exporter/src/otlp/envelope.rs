//! [`Envelope`]: an OTLP request that is decoded down to its spans or log records, which stay bytes.
//!
//! The messages of both signals have the same structure and the same field numbers
//! (`opentelemetry/proto/{trace,logs}/v1`), so one type can split both without decoding the items.

use std::ops::Range;

use bytes::Bytes;
use prost::{DecodeError, Message};

/// `ExportTraceServiceRequest` or `ExportLogsServiceRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Envelope {
    #[prost(message, repeated, tag = "1")]
    pub(crate) resources: Vec<ResourceItems>,
}

/// `ResourceSpans` or `ResourceLogs`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ResourceItems {
    /// A `Resource`.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(crate) resource: Option<Bytes>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) scopes: Vec<ScopeItems>,
    /// Text, as bytes, because cloning them does not copy.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) schema_url: Bytes,
}

/// `ScopeSpans` or `ScopeLogs`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScopeItems {
    /// An `InstrumentationScope`.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(crate) scope: Option<Bytes>,
    /// Each a `Span` or a `LogRecord`.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) items: Vec<Bytes>,
    /// Text, as bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) schema_url: Bytes,
}

impl ResourceItems {
    pub(crate) fn has_items(&self) -> bool {
        self.scopes.iter().any(|scope| !scope.items.is_empty())
    }

    /// Returns the encoded size without the scopes.
    fn header_bytes(&self) -> usize {
        self.resource.as_ref().map_or(0, Bytes::len) + self.schema_url.len() + HEADER_OVERHEAD
    }
}

impl ScopeItems {
    /// Returns the encoded size without the items.
    fn header_bytes(&self) -> usize {
        self.scope.as_ref().map_or(0, Bytes::len) + self.schema_url.len() + HEADER_OVERHEAD
    }
}

impl Envelope {
    /// Decodes a body without copying the items.
    pub(crate) fn from_body(body: &Bytes) -> Result<Self, DecodeError> {
        Self::decode(body.clone())
    }

    pub(crate) fn to_body(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// Returns the number of spans or log records.
    pub(crate) fn items(&self) -> u32 {
        let scopes = self.resources.iter().flat_map(|resource| &resource.scopes);
        scopes.map(|scope| u32::try_from(scope.items.len()).unwrap_or(u32::MAX)).fold(0, u32::saturating_add)
    }

    /// Plans a split into parts of at most `max_items` items and about `max_bytes` bytes. A larger item gets a part of its
    /// own. Each item is in exactly one part; without items, there is no part.
    ///
    /// Each part repeats the resources and scopes of its items. If these use more than half of `max_bytes`, the items may
    /// use as many bytes as the resources and scopes. So `max_bytes` at most doubles the total size.
    pub(crate) fn parts(&self, max_items: u32, max_bytes: usize) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let (mut next, mut bytes, mut header_bytes) = (0, 0, 0);
        for resource_items in &self.resources {
            let resource_bytes = resource_items.header_bytes();
            let mut is_new_resource = true;
            for scope_items in &resource_items.scopes {
                let scope_bytes = scope_items.header_bytes();
                let mut is_new_scope = true;
                for item in &scope_items.items {
                    let max_item_bytes = max_bytes.saturating_sub(header_bytes).max(header_bytes);
                    let items = parts.last().map_or(0, |part| part.items.end - part.items.start);
                    let is_full = items >= max_items || bytes + item.len() > max_item_bytes;
                    if parts.is_empty() || (is_full && items > 0) {
                        parts.push(Part { items: next..next, bytes: 0 });
                        (bytes, header_bytes) = (0, 0);
                        (is_new_resource, is_new_scope) = (true, true);
                    }
                    if is_new_resource {
                        header_bytes += resource_bytes;
                        (is_new_resource, is_new_scope) = (false, true);
                    }
                    if is_new_scope {
                        header_bytes += scope_bytes;
                        is_new_scope = false;
                    }
                    bytes += item.len() + ITEM_OVERHEAD;
                    next += 1;
                    if let Some(part) = parts.last_mut() {
                        part.items.end = next;
                        part.bytes = header_bytes + bytes;
                    }
                }
            }
        }
        parts
    }

    /// Removes all items except these, and the resources and scopes that are left without items.
    pub(crate) fn retain_range(&mut self, range: &Range<u32>) {
        let mut index = 0;
        self.retain_items(|_| {
            index += 1;
            range.contains(&(index - 1))
        });
    }

    /// Removes the items for which `is_kept` returns false, and the resources and scopes that are left without items.
    pub(crate) fn retain_items(&mut self, mut is_kept: impl FnMut(&Bytes) -> bool) {
        for resource_items in &mut self.resources {
            for scope_items in &mut resource_items.scopes {
                scope_items.items.retain(&mut is_kept);
            }
            resource_items.scopes.retain(|scope_items| !scope_items.items.is_empty());
        }
        self.resources.retain(ResourceItems::has_items);
    }
}

/// A part of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The indices of its items in the request.
    pub(crate) items: Range<u32>,
    /// About its encoded size.
    pub(crate) bytes: usize,
}

/// The tag and the length in front of an item.
const ITEM_OVERHEAD: usize = 4;

/// The tags and the lengths of a resource or a scope.
const HEADER_OVERHEAD: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    /// Returns two resources with two scopes of three spans each.
    fn request() -> ExportTraceServiceRequest {
        let span = |n: u8| Span { span_id: vec![n; 8], name: format!("span {n}"), ..Default::default() };
        let scope = |n: u8| ScopeSpans {
            spans: (n..n + 3).map(span).collect(),
            schema_url: format!("scope {n}"),
            ..Default::default()
        };
        let resource = |n: u8| ResourceSpans {
            resource: Some(Resource { dropped_attributes_count: n.into(), ..Default::default() }),
            scope_spans: vec![scope(n), scope(n + 3)],
            schema_url: "schema".to_owned(),
        };
        ExportTraceServiceRequest { resource_spans: vec![resource(1), resource(7)] }
    }

    fn split(body: &Bytes, max_items: u32, max_bytes: usize) -> Vec<Envelope> {
        let whole = Envelope::from_body(body).unwrap();
        let of = |part: Part| {
            let mut envelope = whole.clone();
            envelope.retain_range(&part.items);
            let bytes = envelope.encoded_len();
            let overhead = 30 + 4 * envelope.items() as usize;
            assert!((bytes..=bytes + overhead).contains(&part.bytes), "{bytes}, not {}", part.bytes);
            envelope
        };
        whole.parts(max_items, max_bytes).into_iter().map(of).collect()
    }

    #[test]
    fn encoding_returns_the_same_request() {
        let body = Bytes::from(request().encode_to_vec());
        let envelope = Envelope::from_body(&body).unwrap();
        assert_eq!(envelope.items(), 12);
        assert_eq!(envelope.to_body(), body);
    }

    #[test]
    fn a_split_keeps_all_items_in_order() {
        let body = Bytes::from(request().encode_to_vec());
        for (max_items, max_bytes, count) in [
            (100, 1 << 20, 1),
            (12, 1 << 20, 1),
            (6, 1 << 20, 2),
            (5, 1 << 20, 3),
            (1, 1 << 20, 12),
            (100, 1, 12),
        ] {
            let envelopes = split(&body, max_items, max_bytes);
            assert_eq!(envelopes.len(), count, "{max_items} items, {max_bytes} bytes");
            let mut names = Vec::new();
            for envelope in envelopes {
                let request = ExportTraceServiceRequest::decode(envelope.to_body()).unwrap();
                assert!(envelope.items() <= max_items);
                for resource in request.resource_spans {
                    let number = resource.resource.unwrap().dropped_attributes_count;
                    for scope in resource.scope_spans {
                        for span in scope.spans {
                            names.push((number, scope.schema_url.clone(), span.name));
                        }
                    }
                }
            }
            let expected: Vec<_> = (1..=12)
                .map(|n: u32| {
                    (if n < 7 { 1 } else { 7 }, format!("scope {}", (n - 1) / 3 * 3 + 1), format!("span {n}"))
                })
                .collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn a_large_resource_is_not_copied_for_each_item() {
        let spans = (0..1000).map(|_| Span { span_id: vec![1; 8], ..Default::default() }).collect();
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
                schema_url: "x".repeat(100_000),
                ..Default::default()
            }],
        };
        let body = Bytes::from(request.encode_to_vec());
        for max_bytes in [1000, 100_000, 105_000] {
            let envelopes = split(&body, u32::MAX, max_bytes);
            let bytes: usize = envelopes.iter().map(Message::encoded_len).sum();
            assert!(bytes <= 2 * body.len(), "{} envelopes, {bytes} bytes", envelopes.len());
            assert_eq!(envelopes.iter().map(Envelope::items).sum::<u32>(), 1000);
        }
    }

    #[test]
    fn a_split_without_items_is_empty() {
        assert_eq!(Envelope::from_body(&Bytes::new()).unwrap().parts(1, 1), []);
        assert_eq!(Envelope { resources: vec![ResourceItems::default()] }.parts(1, 1), []);
    }
}
