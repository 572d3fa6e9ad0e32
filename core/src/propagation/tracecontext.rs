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
use crate::{RemoteContext, Sampling, SpanId, TraceContext, TraceId, TraceparentError};

/// The length of a line of version 00.
const LENGTH: usize = 55;

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

/// Parses one line. The error is the first part that is invalid.
pub(crate) fn parse(line: &[u8]) -> Result<RemoteContext, TraceparentError> {
    if !(LENGTH..=MAX_LENGTH).contains(&line.len()) {
        return Err(TraceparentError::Length);
    }
    let version = field::<2>(line, 0).filter(|_| is_end(line, 2)).ok_or(TraceparentError::Version)?;
    // Section 3.2.4: ff is invalid.
    if version == 0xff {
        return Err(TraceparentError::Version);
    }
    let trace_id = field::<32>(line, 3).filter(|_| is_end(line, 35)).and_then(TraceId::new);
    let trace_id = trace_id.ok_or(TraceparentError::TraceId)?;
    let span_id = field::<16>(line, 36).filter(|_| is_end(line, 52));
    let span_id = span_id.and_then(|id| SpanId::new(u64::try_from(id).ok()?));
    let span_id = span_id.ok_or(TraceparentError::SpanId)?;
    let flags = field::<2>(line, 53).ok_or(TraceparentError::Flags)?;
    // Section 3.2.4: later versions may have more fields, version 00 may not.
    if line.len() > LENGTH && (version == 0 || !is_end(line, LENGTH)) {
        return Err(TraceparentError::MoreFields);
    }
    let sampling = Sampling::from_sampled(flags & u128::from(TraceContext::SAMPLED) != 0);
    let random_trace_id = flags & u128::from(TraceContext::RANDOM_TRACE_ID) != 0;
    Ok(RemoteContext { trace_id, span_id: Some(span_id), parent_span_id: None, sampling, random_trace_id })
}

/// Reads a field, whose digits must be lower-case.
fn field<const WIDTH: usize>(line: &[u8], start: usize) -> Option<u128> {
    let digits = line.get(start..start + WIDTH)?;
    hex::decode(digits).filter(|_| hex::is_lower_case(digits))
}

/// Returns true if a field ends here.
fn is_end(line: &[u8], position: usize) -> bool {
    line.get(position) == Some(&b'-')
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
