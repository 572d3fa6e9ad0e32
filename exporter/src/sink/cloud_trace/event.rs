//! Events as annotations and message events, within Google's limits.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Event as OtlpEvent;

use super::super::google::Time;
use super::model::{Event, TimeEvent, TimeEvents};
use super::text::{Limits, attributes, truncated};

const MAX_MESSAGE_EVENTS: usize = 128;
const MAX_ATTRIBUTES: usize = 4;

/// How long before its span an event can be, in nanoseconds.
const MAX_BEFORE_SPAN: u64 = 365 * 24 * 3600 * 1_000_000_000;

/// Returns the events of a span, sorted by time. If there are too many, exceptions are kept first, then the first
/// events of the span.
pub(super) fn of(span: &Span, limits: &Limits) -> Option<TimeEvents> {
    if span.events.is_empty() && span.dropped_events_count == 0 {
        return None;
    }
    let (messages, others): (Vec<_>, Vec<_>) =
        span.events.iter().partition(|event| message_type(event).is_some());
    let (exceptions, others): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|event| event.name == "exception");
    let kept: Vec<&OtlpEvent> = exceptions.iter().chain(&others).copied().take(limits.annotations).collect();
    let dropped = exceptions.len() + others.len() - kept.len();
    let mut events = TimeEvents {
        dropped_annotations_count: count(dropped)
            .saturating_add(span.dropped_events_count)
            .min(i32::MAX as u32),
        dropped_message_events_count: count(messages.len().saturating_sub(MAX_MESSAGE_EVENTS)),
        time_event: Vec::new(),
    };
    let mut kept: Vec<&OtlpEvent> =
        kept.into_iter().chain(messages.into_iter().take(MAX_MESSAGE_EVENTS)).collect();
    kept.sort_by_key(|event| event.time_unix_nano);
    events.time_event = kept.into_iter().map(|event| convert(event, span, limits)).collect();
    Some(events)
}

fn convert(event: &OtlpEvent, span: &Span, limits: &Limits) -> TimeEvent {
    // An event without a time that Cloud Trace accepts is put at the start of its span.
    let earliest = span.start_time_unix_nano.saturating_sub(MAX_BEFORE_SPAN);
    let is_known = event.time_unix_nano > 0 && event.time_unix_nano >= earliest;
    let time = if is_known { event.time_unix_nano } else { span.start_time_unix_nano };
    let value = match message_type(event) {
        Some(r#type) => Event::MessageEvent {
            r#type,
            id: integer(event, "message.id"),
            uncompressed_size_bytes: integer(event, "message.uncompressed_size"),
            compressed_size_bytes: integer(event, "message.compressed_size"),
        },
        None => {
            // The type and the message of an exception precede its stack trace.
            let (first, others): (Vec<_>, Vec<_>) = event.attributes.iter().partition(|attribute| {
                matches!(attribute.key.as_str(), "exception.type" | "exception.message")
            });
            let given = first.into_iter().chain(others);
            Event::Annotation {
                description: truncated(&event.name, limits.description),
                attributes: attributes(given, MAX_ATTRIBUTES, event.dropped_attributes_count, limits),
            }
        }
    };
    TimeEvent { time: Time(time), value }
}

/// Returns the message type of an event that follows the RPC conventions.
fn message_type(event: &OtlpEvent) -> Option<&'static str> {
    if event.name != "message" && event.name != "rpc.message" {
        return None;
    }
    match any(event, "message.type").or_else(|| any(event, "rpc.message.type"))? {
        Any::StringValue(text) if text.eq_ignore_ascii_case("SENT") => Some("SENT"),
        Any::StringValue(text) if text.eq_ignore_ascii_case("RECEIVED") => Some("RECEIVED"),
        _ => None,
    }
}

/// Reads an integer attribute by this key, or by the key of the later conventions.
fn integer(event: &OtlpEvent, key: &str) -> i64 {
    match any(event, key).or_else(|| any(event, &format!("rpc.{key}"))) {
        Some(Any::IntValue(number)) => *number,
        _ => 0,
    }
}

fn any<'e>(event: &'e OtlpEvent, key: &str) -> Option<&'e Any> {
    event.attributes.iter().rfind(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
