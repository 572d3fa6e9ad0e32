//! `grpc-trace-bin`: the binary trace context of OpenCensus, in Base64 like all binary gRPC metadata.
//!
//! ```text
//! 00 | 00 trace-id (16 bytes) | 01 span-id (8 bytes) | 02 options (1 byte; bit 0: sampled)
//! ```
//!
//! <https://github.com/census-instrumentation/opencensus-specs/blob/master/encodings/BinaryEncoding.md>

use super::text::Buffer;
use super::{Found, Header, TraceHeaders};
use crate::{RemoteContext, Sampling, SpanId, TraceContext, TraceId};

const LENGTH: usize = 29;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn extract(headers: &TraceHeaders<'_>) -> Found {
    Found::first_valid(headers, Header::GrpcTraceBin, parse)
}

fn parse(value: &[u8]) -> Option<Found> {
    let bytes = decode(value)?;
    let (&[version, trace_field], rest) = bytes.split_first_chunk::<2>()?;
    let (trace, rest) = rest.split_first_chunk::<16>()?;
    let (&span_field, rest) = rest.split_first()?;
    let (span, rest) = rest.split_first_chunk::<8>()?;
    let &[options_field, options] = rest else {
        return None;
    };
    if (version, trace_field, span_field, options_field) != (0, 0, 1, 2) {
        return None;
    }
    let context = RemoteContext {
        trace_id: TraceId::from_bytes(*trace)?,
        span_id: Some(SpanId::from_bytes(*span)?),
        parent_span_id: None,
        sampling: Sampling::from_sampled(options & 1 != 0),
        random_trace_id: false,
    };
    Some(context.into())
}

pub(super) fn inject(context: &TraceContext, set: &mut impl FnMut(Header, &str)) {
    let mut bytes = [0u8; LENGTH];
    let options = u8::from(context.sampling.is_sampled());
    let fields = [0, 0]
        .into_iter()
        .chain(context.trace_id.to_bytes())
        .chain([1])
        .chain(context.span_id.to_bytes())
        .chain([2, options]);
    for (byte, field) in bytes.iter_mut().zip(fields) {
        *byte = field;
    }
    set(Header::GrpcTraceBin, encode(&bytes).as_str());
}

/// Decodes [`LENGTH`] bytes from Base64, with or without padding. gRPC writes none and accepts both.
fn decode(text: &[u8]) -> Option<[u8; LENGTH]> {
    let text = text.strip_suffix(b"=").unwrap_or(text);
    if text.len() != (LENGTH * 8).div_ceil(6) {
        return None;
    }
    let mut bytes = [0u8; LENGTH];
    let mut out = bytes.iter_mut();
    let mut bits = 0u32;
    let mut bit_count = 0;
    for &character in text {
        bits = bits << 6 | u32::from(sextet(character)?);
        bit_count += 6;
        if bit_count >= 8 {
            bit_count -= 8;
            *out.next()? = (bits >> bit_count) as u8;
            bits &= (1 << bit_count) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

fn sextet(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

fn encode(bytes: &[u8; LENGTH]) -> Buffer<39> {
    let mut text = Buffer::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for position in 0..=group.len() {
            let index = bits >> (18 - 6 * position) & 0x3f;
            let character = ALPHABET.get(index as usize).copied().unwrap_or(b'A');
            text.push(char::from(character).encode_utf8(&mut [0; 4]));
        }
    }
    text
}
