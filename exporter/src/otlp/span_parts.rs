//! The parts of a span that was sent in several, such as its start and later its duration. They are merged as Zipkin
//! does (`zipkin2.Span.Builder.merge`).

use std::collections::HashSet;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;

use super::arrival::TIME_SOURCE;
use super::in_place::SpanRef;

/// The kinds of a span that does not state one.
const UNSPECIFIED: i32 = 0;
const INTERNAL: i32 = 1;

/// Returns whether two spans of one service with the same id can be parts of one span. What only one of them states is
/// no contradiction.
pub(crate) fn are_parts(first: &SpanRef<'_>, second: &SpanRef<'_>) -> bool {
    let is_open = |kind| matches!(kind, UNSPECIFIED | INTERNAL);
    let (parents, names) = ([first.parent_span_id, second.parent_span_id], [first.name, second.name]);
    (first.kind == second.kind || is_open(first.kind) || is_open(second.kind))
        && (parents[0] == parents[1] || parents.contains(&None))
        && (names[0] == names[1] || names.contains(&""))
}

/// Merges a later part into a span. A part that is merged already changes nothing, so parts can arrive twice and in any
/// order.
pub(crate) fn merge(mut span: Span, part: Span) -> Span {
    let (start, end) = interval(&span, &part);
    (span.start_time_unix_nano, span.end_time_unix_nano) = (start, end);
    if span.name.is_empty() {
        span.name = part.name;
    }
    if matches!(span.kind, UNSPECIFIED | INTERNAL) && part.kind != UNSPECIFIED {
        span.kind = part.kind;
    }
    if span.parent_span_id.iter().all(|byte| *byte == 0) && !part.parent_span_id.is_empty() {
        span.parent_span_id = part.parent_span_id;
    }
    if span.trace_state.is_empty() {
        span.trace_state = part.trace_state;
    }
    span.flags |= part.flags;
    let source = time_source(&span.attributes, &part.attributes);
    span.attributes.retain(|attribute| attribute.key != TIME_SOURCE);
    add_attributes(&mut span.attributes, part.attributes);
    span.attributes.extend(source);
    add_new(&mut span.events, part.events);
    add_new(&mut span.links, part.links);
    span.dropped_attributes_count = span.dropped_attributes_count.max(part.dropped_attributes_count);
    span.dropped_events_count = span.dropped_events_count.max(part.dropped_events_count);
    span.dropped_links_count = span.dropped_links_count.max(part.dropped_links_count);
    span.status = status(span.status, part.status);
    span
}

/// Returns the start and the end. A span with the time of its arrival has no start of its own, but its duration counts.
fn interval(span: &Span, part: &Span) -> (u64, u64) {
    let duration = |span: &Span| span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    let of = |stated: &Span| {
        let start = stated.start_time_unix_nano;
        (start, start.saturating_add(duration(span).max(duration(part))))
    };
    match (has_arrival_time(&span.attributes), has_arrival_time(&part.attributes)) {
        (false, true) => of(span),
        (true, false) => of(part),
        (true, true) => of(if span.start_time_unix_nano <= part.start_time_unix_nano { span } else { part }),
        (false, false) => (
            span.start_time_unix_nano.min(part.start_time_unix_nano),
            span.end_time_unix_nano.max(part.end_time_unix_nano),
        ),
    }
}

/// Returns what still says that a time is missing: nothing if one part has the start and the other the end.
fn time_source(first: &[KeyValue], second: &[KeyValue]) -> Option<KeyValue> {
    let of = |attributes: &[KeyValue]| attributes.iter().find(|it| it.key == TIME_SOURCE).cloned();
    let (first, second) = (of(first)?, of(second)?);
    if first == second || is_arrival(&second) {
        return Some(first);
    }
    is_arrival(&first).then_some(second)
}

fn has_arrival_time(attributes: &[KeyValue]) -> bool {
    attributes.iter().any(is_arrival)
}

fn is_arrival(attribute: &KeyValue) -> bool {
    let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
    attribute.key == TIME_SOURCE && matches!(value, Some(Any::StringValue(source)) if source == "arrival")
}

/// Adds the attributes whose keys are new.
fn add_attributes(attributes: &mut Vec<KeyValue>, part: Vec<KeyValue>) {
    let known: HashSet<&str> = attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    let is_new = |attribute: &KeyValue| !known.contains(&attribute.key[..]) && attribute.key != TIME_SOURCE;
    let new: Vec<KeyValue> = part.into_iter().filter(is_new).collect();
    attributes.extend(new);
}

/// Adds the elements that are not in the list.
fn add_new<T: Message>(list: &mut Vec<T>, part: Vec<T>) {
    let known: HashSet<Vec<u8>> = list.iter().map(Message::encode_to_vec).collect();
    list.extend(part.into_iter().filter(|element| !known.contains(&element.encode_to_vec())));
}

/// Returns the graver status: an error, then success. Of equal ones, the one with a message.
fn status(first: Option<Status>, second: Option<Status>) -> Option<Status> {
    let (Some(mut first), Some(second)) = (first.clone(), second.clone()) else { return first.or(second) };
    if second.code > first.code {
        return Some(second);
    }
    if second.code == first.code && first.message.is_empty() {
        first.message = second.message;
    }
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::AnyValue;
    use opentelemetry_proto::tonic::trace::v1::span::Event;

    fn attribute(key: &str, value: &str) -> KeyValue {
        let value = Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) });
        KeyValue { key: key.to_owned(), value, key_strindex: 0 }
    }

    fn at(start: u64, end: u64) -> Span {
        Span { start_time_unix_nano: start, end_time_unix_nano: end, ..Default::default() }
    }

    #[test]
    fn parts_become_one_span_in_any_order() {
        let event = |name: &str| Event { name: name.to_owned(), ..Default::default() };
        let first = Span {
            name: "get".to_owned(),
            kind: 2,
            attributes: vec![attribute("a", "1")],
            events: vec![event("x")],
            ..at(100, 100)
        };
        let second = Span {
            kind: INTERNAL,
            attributes: vec![attribute(TIME_SOURCE, "arrival"), attribute("b", "2")],
            events: vec![event("x"), event("y")],
            status: Some(Status { code: 2, message: "no".to_owned() }),
            ..at(5000, 5007)
        };
        for (first, second) in [(first.clone(), second.clone()), (second, first)] {
            let merged = merge(first.clone(), second.clone());
            assert_eq!((merged.start_time_unix_nano, merged.end_time_unix_nano), (100, 107));
            assert_eq!((merged.name.as_str(), merged.kind), ("get", 2));
            let mut keys: Vec<&str> = merged.attributes.iter().map(|a| a.key.as_str()).collect();
            keys.sort_unstable();
            assert_eq!((keys, merged.events.len()), (vec!["a", "b"], 2));
            assert_eq!(merged.status.as_ref().map(|status| status.code), Some(2));
            // Each again changes nothing.
            assert_eq!(merge(merge(merged.clone(), first), second), merged);
        }
    }

    #[test]
    fn two_stated_times_are_the_earliest_and_the_latest() {
        let merged = merge(at(10, 20), at(5, 15));
        assert_eq!((merged.start_time_unix_nano, merged.end_time_unix_nano), (5, 20));
    }

    #[test]
    fn a_contradiction_is_another_span() {
        let base = Span { name: "get".to_owned(), kind: 2, parent_span_id: vec![1; 8], ..at(1, 2) };
        for (other, expected) in [
            (Span::default(), true),
            (base.clone(), true),
            (Span { kind: 3, ..base.clone() }, false),
            (Span { name: "put".to_owned(), ..base.clone() }, false),
            (Span { parent_span_id: vec![2; 8], ..base.clone() }, false),
            (Span { parent_span_id: vec![], ..base.clone() }, true),
        ] {
            let (base, other) = (base.encode_to_vec(), other.encode_to_vec());
            assert_eq!(are_parts(&SpanRef::new(&base), &SpanRef::new(&other)), expected);
            assert_eq!(are_parts(&SpanRef::new(&other), &SpanRef::new(&base)), expected);
        }
    }
}
