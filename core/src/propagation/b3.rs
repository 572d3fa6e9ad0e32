//! B3, the format of Zipkin: one header (`b3`) or several (`x-b3-*`).
//!
//! ```text
//! b3                = sampling / ids / ids "-" sampling / ids "-" sampling "-" parent
//! ids               = trace-id "-" span-id       ; 32 or 16 digits, 16 digits, any case
//! sampling          = "0" / "1" / "d"
//! ```
//!
//! <https://github.com/openzipkin/b3-propagation>

use super::headers::FirstValid;
use super::text::Buffer;
use super::{Found, Header, Ids, TraceHeaders};
use crate::{RemoteContext, Sampling, SpanId, TraceContext, TraceId};

/// The maximum length of a valid `b3`. A longer value is invalid.
const MAX_LENGTH: usize = 68;

pub(super) fn extract_single(headers: &TraceHeaders<'_>) -> Found {
    Found::first_valid(headers, Header::B3, parse_single)
}

fn parse_single(value: &[u8]) -> Option<Found> {
    if let Some(sampling) = parse_state(value) {
        return Some(Found { sampling: Some(sampling), ..Found::default() });
    }
    if value.len() > MAX_LENGTH {
        return None;
    }
    let mut fields = value.split(|&byte| byte == b'-');
    let trace_id = TraceId::from_hex(fields.next()?).ok()?;
    let span_id = SpanId::from_hex(fields.next()?).ok()?;
    let sampling = match fields.next() {
        Some(state) => parse_state(state)?,
        None => Sampling::Defer,
    };
    let parent_span_id = match fields.next() {
        Some(parent) => parse_parent(parent)?,
        None => None,
    };
    if fields.next().is_some() {
        return None;
    }
    Some(
        RemoteContext { trace_id, span_id: Some(span_id), parent_span_id, sampling, random_trace_id: false }
            .into(),
    )
}

pub(super) fn extract_multi(headers: &TraceHeaders<'_>) -> Found {
    let trace = first_valid(headers, Header::XB3TraceId, |value| TraceId::from_hex(value).ok());
    let span = first_valid(headers, Header::XB3SpanId, |value| SpanId::from_hex(value).ok());
    let parent = first_valid(headers, Header::XB3ParentSpanId, parse_parent);
    let sampled = first_valid(headers, Header::XB3Sampled, parse_sampled);
    let flags = first_valid(headers, Header::XB3Flags, |value| (value == b"1").then_some(()));

    let decided = match (flags.value, sampled.value) {
        (Some(()), _) => Some(Sampling::Debug),
        (None, decided) => decided,
    };
    let context = trace.value.zip(span.value).map(|(trace_id, span_id)| RemoteContext {
        trace_id,
        span_id: Some(span_id),
        parent_span_id: parent.value.flatten(),
        sampling: decided.unwrap_or_default(),
        random_trace_id: false,
    });
    // One id without the other makes no context, but the decision still applies.
    let is_half = trace.value.is_some() != span.value.is_some();
    Found {
        context,
        sampling: if context.is_some() { None } else { decided },
        // `x-b3-flags` is never invalid: all values except "1" are ignored.
        invalid: is_half || trace.invalid || span.invalid || parent.invalid || sampled.invalid,
        conflict: trace.conflict || span.conflict || parent.conflict || sampled.conflict,
    }
}

fn first_valid<T: PartialEq>(
    headers: &TraceHeaders<'_>,
    header: Header,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> FirstValid<T> {
    headers.first_valid(header, parse, T::eq)
}

fn parse_state(value: &[u8]) -> Option<Sampling> {
    match value {
        b"1" => Some(Sampling::Accept),
        b"0" => Some(Sampling::Deny),
        b"d" => Some(Sampling::Debug),
        _ => None,
    }
}

/// Parses `x-b3-sampled`. Early tracers write `true` and `false`.
fn parse_sampled(value: &[u8]) -> Option<Sampling> {
    if value == b"1" || value.eq_ignore_ascii_case(b"true") {
        Some(Sampling::Accept)
    } else if value == b"0" || value.eq_ignore_ascii_case(b"false") {
        Some(Sampling::Deny)
    } else {
        None
    }
}

/// Parses a parent id. Some tracers write zeros for "no parent".
fn parse_parent(value: &[u8]) -> Option<Option<SpanId>> {
    match SpanId::from_hex(value) {
        Ok(parent) => Some(Some(parent)),
        Err(_) if value == b"0000000000000000" => Some(None),
        Err(_) => None,
    }
}

pub(super) fn inject_single(context: &TraceContext, ids: Ids<'_>, set: &mut impl FnMut(Header, &str)) {
    let mut value = Buffer::<MAX_LENGTH>::new();
    value.push(ids.trace_id);
    value.push("-");
    value.push(ids.span_id);
    match context.sampling {
        Sampling::Accept => value.push("-1"),
        Sampling::Deny => value.push("-0"),
        Sampling::Debug => value.push("-d"),
        // The parent id follows the decision, so it needs one.
        Sampling::Defer => return set(Header::B3, value.as_str()),
    }
    if let Some(parent) = context.parent_span_id {
        value.push("-");
        value.push(&parent.to_hex());
    }
    set(Header::B3, value.as_str());
}

pub(super) fn inject_multi(context: &TraceContext, ids: Ids<'_>, set: &mut impl FnMut(Header, &str)) {
    set(Header::XB3TraceId, ids.trace_id);
    set(Header::XB3SpanId, ids.span_id);
    if let Some(parent) = context.parent_span_id {
        set(Header::XB3ParentSpanId, &parent.to_hex());
    }
    match context.sampling {
        Sampling::Accept => set(Header::XB3Sampled, "1"),
        Sampling::Deny => set(Header::XB3Sampled, "0"),
        Sampling::Debug => set(Header::XB3Flags, "1"),
        Sampling::Defer => {}
    }
}
