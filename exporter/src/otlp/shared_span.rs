//! Spans that share their id: the client's and the server's half of one call (`shared` in Zipkin's model).

use logtracer_core::SpanId;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::wire::read_field;

/// Returns the id of the server's half. The result is always the same, so a span that arrives twice is stored once, and
/// a reader recognizes the half: its parent is the shared id.
pub(crate) fn server_span_id(shared: SpanId) -> SpanId {
    const MARK: u64 = 0x5e4e_d50b_0a7a_11ed;
    SpanId::new(shared.get() ^ MARK).unwrap_or(shared)
}

/// Returns a span with another id, and with another parent if there is one.
pub(crate) fn with_ids(span: &[u8], id: SpanId, parent: Option<SpanId>) -> Vec<u8> {
    const SPAN_ID: u32 = 2;
    const PARENT: u32 = 4;
    let mut out = Vec::with_capacity(span.len() + 20);
    let mut rest = span;
    while !rest.is_empty() {
        let before = rest;
        // The span is valid, so the end is the only error.
        let Ok((number, _)) = read_field(&mut rest) else { break };
        if number != SPAN_ID && (number != PARENT || parent.is_none()) {
            out.extend_from_slice(before.get(..before.len() - rest.len()).unwrap_or_default());
        }
    }
    for (number, id) in [(SPAN_ID, Some(id)), (PARENT, parent)] {
        if let Some(id) = id {
            encode_key(number, WireType::LengthDelimited, &mut out);
            encode_varint(8, &mut out);
            out.extend_from_slice(&id.to_bytes());
        }
    }
    out
}
