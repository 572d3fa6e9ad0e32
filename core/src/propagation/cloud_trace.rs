//! Google's `X-Cloud-Trace-Context`, sent by its load balancers, App Engine and Cloud Run.
//!
//! ```text
//! value   = trace-id [ "/" [ span-id ] ] [ ";o=" [ options ] ]
//! trace-id = 32 digits, any case        span-id = decimal, unsigned 64 bits; 0 means "none"
//! options = decimal bit field; bit 0: sampled; absent: deferred
//! ```
//!
//! Parsing is lenient, writing is strict. The span id is *decimal* only in this header.
//!
//! <https://cloud.google.com/trace/docs/trace-context#legacy-http-header>

use super::text::Buffer;
use super::{Found, Header, Ids, TraceHeaders};
use crate::decimal;
use crate::{RemoteContext, Sampling, SpanId, TraceContext, TraceId};

/// The maximum length of a value, more than any valid one has. A longer value is invalid.
const MAX_LENGTH: usize = 128;

pub(super) fn extract(headers: &TraceHeaders<'_>) -> Found {
    Found::first_valid(headers, Header::XCloudTraceContext, parse)
}

fn parse(value: &[u8]) -> Option<Found> {
    if value.len() > MAX_LENGTH {
        return None;
    }
    let (ids, options) = split_once(value, b';');
    let (trace, span) = split_once(ids, b'/');
    if trace.len() != 32 {
        return None;
    }
    let trace_id = TraceId::from_hex(trace).ok()?;
    // An invalid span id only drops the parent, not the trace.
    let (span_id, span_invalid) = match span {
        None | Some(b"") => (None, false),
        Some(digits) => decimal::parse(digits).map_or((None, true), |number| (SpanId::new(number), false)),
    };
    let (sampling, options_invalid) = match options {
        None => (Sampling::Defer, false),
        Some(options) => parse_options(options),
    };
    let context = RemoteContext { trace_id, span_id, parent_span_id: None, sampling, random_trace_id: false };
    Some(Found { invalid: span_invalid || options_invalid, ..context.into() })
}

/// Parses `o=1`. Malformed options defer the decision.
fn parse_options(options: &[u8]) -> (Sampling, bool) {
    match options.strip_prefix(b"o=") {
        Some(b"") => (Sampling::Defer, false),
        Some(digits) => match decimal::parse(digits) {
            Some(bits) => (Sampling::from_sampled(bits & 1 != 0), false),
            None => (Sampling::Defer, true),
        },
        None => (Sampling::Defer, true),
    }
}

fn split_once(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = text.splitn(2, |&byte| byte == separator);
    (parts.next().unwrap_or_default(), parts.next())
}

pub(super) fn inject(context: &TraceContext, ids: Ids<'_>, set: &mut impl FnMut(Header, &str)) {
    let mut value = Buffer::<57>::new(); // 32 + 1 + 20 digits + ";o=1"
    value.push(ids.trace_id);
    value.push("/");
    value.push(decimal::Digits::of(context.span_id.get()).as_str());
    match context.sampling {
        Sampling::Accept | Sampling::Debug => value.push(";o=1"),
        Sampling::Deny => value.push(";o=0"),
        Sampling::Defer => {}
    }
    set(Header::XCloudTraceContext, value.as_str());
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// Rule 39: zeros before a span id make a value as long as the limit, or longer.
    #[test]
    fn the_limit_of_a_value() {
        for (length, expected) in [(128, Some(SpanId::new(74))), (129, None)] {
            let value = format!("463ac35c9f6413ad48485a3953bb6124/{:0>1$};o=1", 74, length - 37);
            assert_eq!(value.len(), length);
            let parent = parse(value.as_bytes()).map(|found| found.context.unwrap().span_id);
            assert_eq!(parent, expected, "{length} bytes");
        }
    }
}
