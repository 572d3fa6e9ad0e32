//! Tests of reading in place: equal to what prost decodes.

use super::*;
use crate::otlp::any_value;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span};
use prost::Message;

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

fn attributes() -> Vec<KeyValue> {
    let array =
        ArrayValue { values: vec![AnyValue { value: Some(Any::BoolValue(true)) }, AnyValue::default()] };
    vec![
        attribute("text", Any::StringValue("a\"\n\u{1}ä".to_owned())),
        attribute("int", Any::IntValue(-3)),
        attribute("double", Any::DoubleValue(0.5)),
        attribute("nan", Any::DoubleValue(f64::NAN)),
        attribute("infinite", Any::DoubleValue(f64::NEG_INFINITY)),
        attribute("bytes", Any::BytesValue(vec![0, 255])),
        attribute("array", Any::ArrayValue(array)),
        attribute(
            "object",
            Any::KvlistValue(KeyValueList { values: vec![attribute("b", Any::IntValue(1))] }),
        ),
        KeyValue { key: "none".to_owned(), value: None, key_strindex: 0 },
    ]
}

#[test]
fn a_span_reads_as_its_decoded_form() {
    let event = span::Event {
        time_unix_nano: 7,
        name: "e".to_owned(),
        attributes: attributes(),
        ..Default::default()
    };
    let link = span::Link {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        attributes: attributes(),
        ..Default::default()
    };
    let sent = Span {
        parent_span_id: vec![3; 8],
        trace_state: "a=b".to_owned(),
        name: "name".to_owned(),
        kind: 3,
        start_time_unix_nano: 5,
        end_time_unix_nano: 9,
        attributes: attributes(),
        dropped_attributes_count: 4,
        events: vec![event; 2],
        links: vec![link; 2],
        status: Some(Status { code: 2, message: "no".to_owned() }),
        ..Default::default()
    };
    let body = sent.encode_to_vec();
    let read = SpanRef::new(&body);
    assert_eq!((read.name, read.kind, read.trace_state, read.duration_nano()), ("name", 3, "a=b", 4));
    assert_eq!((read.status(), read.status_message), (StatusCode::Error, "no"));
    assert_eq!((read.parent_span_id, read.dropped_attributes_count), (SpanId::from_bytes([3; 8]), 4));
    let expected = serde_json::to_value(any_value::JsonObject(&sent.attributes)).unwrap();
    let all = read.events().map(|event| event.attributes()).chain(read.links().map(|link| link.attributes()));
    for attributes in all.chain([read.attributes()]) {
        assert_eq!(serde_json::to_value(attributes).unwrap(), expected);
    }
    for ((key, value), sent) in read.attributes().iter().zip(&sent.attributes) {
        let (text, is_all) = value.text_within(100);
        assert_eq!((key, text, is_all), (&sent.key[..], any_value::text(sent.value.as_ref()), true));
        let (start, is_all) = value.text_within(1);
        assert!(start.len() <= 1 && (is_all || value.json_within(1).is_none()), "{key} {start}");
    }
    assert_eq!((read.events().count(), read.links().count()), (2, 2));
}

#[test]
fn an_attribute_is_read_whatever_its_form() {
    let long = "k".repeat(200);
    for key in ["", "k", &"k".repeat(127), &"k".repeat(128), &long] {
        let sent = attribute(key, Any::IntValue(7));
        let key_first = sent.encode_to_vec();
        let value_at = KeyValue { value: None, ..sent }.encoded_len();
        let (of_key, of_value) = key_first.split_at(value_at);
        for body in [key_first.clone(), [of_value, of_key].concat()] {
            let read = Attribute::new(&body);
            assert_eq!((read.key, matches!(read.value(), AnyRef::Int(7))), (key.as_bytes(), true), "{key}");
        }
        let without_value = Attribute::new(of_key);
        assert_eq!(without_value.key, key.as_bytes());
        assert!(matches!(without_value.value(), AnyRef::Null));
        for end in 0..key_first.len() {
            let damaged = Attribute::new(&key_first[..end]);
            assert!(key.as_bytes() == damaged.key || damaged.key.is_empty(), "{key} {end}");
        }
    }
}

#[test]
fn an_event_without_a_time_is_at_the_start_of_its_span() {
    let at = |time_unix_nano| span::Event { time_unix_nano, ..Default::default() };
    let body =
        Span { start_time_unix_nano: 5, events: vec![at(0), at(7)], ..Default::default() }.encode_to_vec();
    let times: Vec<u64> = SpanRef::new(&body).events().map(|event| event.time_unix_nano).collect();
    assert_eq!(times, [5, 7]);
}

#[test]
fn damaged_bytes_read_as_absent() {
    let body =
        Span { attributes: attributes(), name: "name".to_owned(), ..Default::default() }.encode_to_vec();
    for end in 0..body.len() {
        let span = SpanRef::new(&body[..end]);
        serde_json::to_string(&span.attributes()).unwrap();
    }
    let mut deep = Vec::new();
    for _ in 0..10_000 {
        let array = [&[0x0a][..], &length(deep.len()), &deep].concat();
        deep = [&[0x2a][..], &length(array.len()), &array].concat();
    }
    serde_json::to_string(&AnyRef::new(&deep, 0)).unwrap();
    assert_eq!(text(b"ab\xff"), "ab");
}

fn length(bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(bytes as u64, &mut out);
    out
}
