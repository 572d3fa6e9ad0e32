//! Spans of Zipkin that share their id: the client's and the server's half of one call (`shared` in Zipkin's model).

use logtracer_core::SpanId;

/// Returns the id of the server's half. The result is always the same, so a span that arrives twice is stored once, and
/// a reader recognizes the half: its parent is the shared id.
pub(crate) fn server_span_id(shared: SpanId) -> SpanId {
    const MARK: u64 = 0x5e4e_d50b_0a7a_11ed;
    SpanId::new(shared.get() ^ MARK).unwrap_or(shared)
}
