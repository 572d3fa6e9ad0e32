//! W3C Trace Context: `traceparent`, and writing `tracestate` beside it.
//!
//! ```text
//! traceparent = version "-" trace-id "-" parent-id "-" flags   ; 2, 32, 16, 2 lower-case digits
//! ```
//!
//! <https://www.w3.org/TR/trace-context-2/>

use super::text::Buffer;
use super::{Found, Header, Ids, TraceHeaders, TraceState};
use crate::hex;
use crate::{RemoteContext, Sampling, SpanId, TraceContext, TraceId};

/// The maximum length of a line, enough for fields of a later version. A longer line is invalid.
const MAX_LENGTH: usize = 256;

pub(super) fn extract(headers: &TraceHeaders<'_>) -> Found {
    let mut lines = headers.lines(Header::Traceparent);
    match (lines.next(), lines.next()) {
        (None, _) => Found::default(),
        (Some(line), None) => parse(line).map_or(Found::INVALID, Found::from),
        // Section 3.2 allows one line. With more, it is unknown which one the caller wrote.
        (Some(_), Some(_)) => Found::INVALID,
    }
}

/// Parses one line.
pub(crate) fn parse(line: &[u8]) -> Option<RemoteContext> {
    // Upper-case digits are invalid. Dashes pass.
    if line.len() > MAX_LENGTH || !hex::is_lower_case(line.get(..55)?) {
        return None;
    }
    let mut fields = line.splitn(5, |&byte| byte == b'-');
    let version = field::<2>(fields.next())?;
    let trace_id = TraceId::new(field::<32>(fields.next())?)?;
    let span_id = SpanId::new(u64::try_from(field::<16>(fields.next())?).ok()?)?;
    let flags = field::<2>(fields.next())?;
    let more = fields.next().is_some();
    // Section 3.2.4: later versions may have more fields, version 00 may not, and ff is invalid.
    if version == 0xff || (version == 0 && more) {
        return None;
    }
    let sampling = Sampling::from_sampled(flags & u128::from(TraceContext::SAMPLED) != 0);
    let random_trace_id = flags & u128::from(TraceContext::RANDOM_TRACE_ID) != 0;
    Some(RemoteContext { trace_id, span_id: Some(span_id), parent_span_id: None, sampling, random_trace_id })
}

fn field<const WIDTH: usize>(digits: Option<&[u8]>) -> Option<u128> {
    digits.filter(|digits| digits.len() == WIDTH).and_then(hex::decode)
}

pub(super) fn inject(
    context: &TraceContext,
    ids: Ids<'_>,
    tracestate: &TraceState<'_>,
    set: &mut impl FnMut(Header, &str),
) {
    let mut value = Buffer::<55>::new();
    value.push("00-");
    value.push(ids.trace_id);
    value.push("-");
    value.push(ids.span_id);
    value.push("-0");
    value.push(match context.flags() {
        0 => "0",
        1 => "1",
        2 => "2",
        _ => "3",
    });
    set(Header::Traceparent, value.as_str());
    let _ = tracestate.with_line(|line| set(Header::Tracestate, line));
}
