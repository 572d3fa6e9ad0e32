//! A request of OTLP down to its spans or log records, which stay bytes.
//!
//! The messages of both signals have the same shape and the same field numbers
//! (`opentelemetry/proto/{trace,logs}/v1`), so that one type divides either without decoding what it holds.

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
    /// Text; as bytes a copy costs nothing.
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
}

impl Envelope {
    /// Reads a body as it is in the outbox; what is in it is not copied.
    pub(crate) fn open(body: &Bytes) -> Result<Self, DecodeError> {
        Self::decode(body.clone())
    }

    pub(crate) fn close(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// How many spans or log records there are.
    pub(crate) fn items(&self) -> u32 {
        let scopes = self.resources.iter().flat_map(|resource| &resource.scopes);
        scopes.map(|scope| u32::try_from(scope.items.len()).unwrap_or(u32::MAX)).fold(0, u32::saturating_add)
    }

    /// Cuts it into pieces of at most so many items and about so many bytes each; an item that is larger is a piece
    /// of its own. No item is in two pieces, and an envelope without items has none.
    ///
    /// What a resource and a scope say is in each piece that has items of theirs. Where that takes most of the bytes,
    /// a piece still gets as many bytes of items, so that all pieces together are not more than twice as large as the
    /// envelope because of `max_bytes`. The pieces share their bytes with the envelope until they are closed.
    pub(crate) fn slices(self, max_items: u32, max_bytes: usize) -> Vec<Self> {
        let mut slices: Vec<Self> = Vec::new();
        let (mut items, mut bytes, mut header_bytes) = (0, 0, 0);
        for of_resource in self.resources {
            let resource = ResourceItems { scopes: Vec::new(), ..of_resource };
            let resource_bytes = resource.encoded_len();
            let mut is_new_resource = true;
            for of_scope in of_resource.scopes {
                let scope = ScopeItems { items: Vec::new(), ..of_scope };
                let scope_bytes = scope.encoded_len();
                let mut is_new_scope = true;
                for item in of_scope.items {
                    let most = max_bytes.saturating_sub(header_bytes).max(header_bytes);
                    let is_full = items >= max_items || bytes + item.len() > most;
                    if slices.is_empty() || (is_full && items > 0) {
                        slices.push(Self::default());
                        (items, bytes, header_bytes) = (0, 0, 0);
                        (is_new_resource, is_new_scope) = (true, true);
                    }
                    let Some(slice) = slices.last_mut() else { continue };
                    if is_new_resource {
                        slice.resources.push(resource.clone());
                        header_bytes += resource_bytes;
                        (is_new_resource, is_new_scope) = (false, true);
                    }
                    let Some(resource) = slice.resources.last_mut() else { continue };
                    if is_new_scope {
                        resource.scopes.push(scope.clone());
                        header_bytes += scope_bytes;
                        is_new_scope = false;
                    }
                    let Some(scope) = resource.scopes.last_mut() else { continue };
                    items += 1;
                    bytes += item.len() + ITEM_OVERHEAD;
                    scope.items.push(item);
                }
            }
        }
        slices
    }
}

/// The tag and the length before an item.
const ITEM_OVERHEAD: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    /// Two resources with two scopes of three spans each.
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

    #[test]
    fn it_is_the_request() {
        let body = Bytes::from(request().encode_to_vec());
        let envelope = Envelope::open(&body).unwrap();
        assert_eq!(envelope.items(), 12);
        assert_eq!(envelope.close(), body);
    }

    #[test]
    fn pieces_are_the_whole() {
        let body = Bytes::from(request().encode_to_vec());
        for (max_items, max_bytes, count) in [
            (100, 1 << 20, 1),
            (12, 1 << 20, 1),
            (6, 1 << 20, 2),
            (5, 1 << 20, 3),
            (1, 1 << 20, 12),
            (100, 1, 12),
        ] {
            let slices = Envelope::open(&body).unwrap().slices(max_items, max_bytes);
            assert_eq!(slices.len(), count, "{max_items} items, {max_bytes} bytes");
            let mut names = Vec::new();
            for slice in slices {
                let chunk = ExportTraceServiceRequest::decode(slice.close()).unwrap();
                assert!(slice.items() <= max_items);
                for resource in chunk.resource_spans {
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
            let slices = Envelope::open(&body).unwrap().slices(u32::MAX, max_bytes);
            let bytes: usize = slices.iter().map(Message::encoded_len).sum();
            assert!(bytes <= 2 * body.len(), "{} slices, {bytes} bytes", slices.len());
            assert_eq!(slices.iter().map(Envelope::items).sum::<u32>(), 1000);
        }
    }

    #[test]
    fn nothing_has_no_pieces() {
        assert_eq!(Envelope::open(&Bytes::new()).unwrap().slices(1, 1), []);
        assert_eq!(Envelope { resources: vec![ResourceItems::default()] }.slices(1, 1), []);
    }
}
