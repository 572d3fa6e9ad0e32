//! The OTLP bytes, decoded with the messages of `opentelemetry-proto`.

use expect_test::expect;
use logtracer_core::otlp::{self, Attributes, DroppedDetails, InstrumentationScope};
use logtracer_core::span::{Link, Span, SpanKind, SpanStatus};
use logtracer_core::{RemoteContext, Sampling, SpanId, TraceContext, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};
use opentelemetry_proto::tonic::trace::v1 as proto;
use proptest::prelude::*;
use prost::Message;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Typed values, events, links and dropped details, also beside the link of the span itself.
#[test]
fn details_read_back() {
    let context = RemoteContext::from(span().context);
    let link = Link { context, tracestate: "b=2" };
    let span = Span { link: Some(Link { context, tracestate: "" }), ..span() };
    let mut body = Vec::new();
    otlp::write_span_with(&mut body, &span, |details| {
        let (texts, numbers) = (["a".to_owned(), String::new()], [i64::MIN, 0]);
        for (key, value) in [
            ("text", otlp::Value::Text("")),
            ("integer", otlp::Value::Integer(-1)),
            ("float", otlp::Value::Float(0.)),
            ("boolean", otlp::Value::Boolean(false)),
            ("texts", otlp::Value::Texts(&texts)),
            ("integers", otlp::Value::Integers(&numbers)),
            ("floats", otlp::Value::Floats(&[0.5])),
            ("booleans", otlp::Value::Booleans(&[])),
        ] {
            details.attributes().value(key, value);
        }
        details.event("miss", 1_200, |attributes| attributes.value("tries", otlp::Value::Integer(2)));
        details.link(link, |attributes| attributes.text("id", "17"));
        details.dropped(DroppedDetails { attributes: 1, events: 0, links: 300 });
    });
    let spans = proto::ScopeSpans::decode(body.as_slice()).unwrap().spans;
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    let list = |values: &[Value]| {
        let values = values.iter().map(|value| AnyValue { value: Some(value.clone()) }).collect();
        Value::ArrayValue(ArrayValue { values })
    };
    let text = |text: &str| Value::StringValue(text.to_owned());
    let values: Vec<_> = span.attributes.iter().map(|it| it.value.clone().unwrap().value.unwrap()).collect();
    let expected = [
        text(""),
        Value::IntValue(-1),
        Value::DoubleValue(0.),
        Value::BoolValue(false),
        list(&[text("a"), text("")]),
        list(&[Value::IntValue(i64::MIN), Value::IntValue(0)]),
        list(&[Value::DoubleValue(0.5)]),
        list(&[]),
    ];
    assert_eq!(values, expected);
    let [event] = span.events.as_slice() else { panic!("{span:?}") };
    assert_eq!((event.name.as_str(), event.time_unix_nano, event.attributes.len()), ("miss", 1_200, 1));
    let [first, second] = span.links.as_slice() else { panic!("{span:?}") };
    assert_eq!((first.trace_state.as_str(), first.attributes.len()), ("b=2", 1));
    assert_eq!((second.trace_state.as_str(), second.attributes.len()), ("", 0));
    assert_eq!(first.span_id, span.span_id);
    let dropped = (span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count);
    assert_eq!(dropped, (1, 0, 300));
}

#[test]
fn responses_are_read() {
    let partial = |rejected_spans, error_message: &str| {
        let partial_success =
            Some(ExportTracePartialSuccess { rejected_spans, error_message: error_message.to_owned() });
        ExportTraceServiceResponse { partial_success }.encode_to_vec()
    };
    let long = "x".repeat(1000);
    for (body, expected) in [
        (vec![], Some((0, ""))),
        (partial(3, "no"), Some((3, "no"))),
        (partial(0, &long), Some((0, long.as_str()))),
        (partial(-7, ""), Some((0, ""))),
        (b"<html>".to_vec(), None),
        (b"accepted".to_vec(), None),
        (b"not found".to_vec(), None),
        (vec![0x0a, 3, 0x08], None), // longer than the body
        (vec![0x08, 0x80], None),    // the number has no end
        (vec![0x02, 1, b'a'], None), // field 0
        (vec![0x09, 1, 2], None),    // a fixed number without its end
    ] {
        let read = otlp::read_partial_success(&body);
        let read = read.map(|it| (it.rejected_spans, std::str::from_utf8(it.error_message).unwrap()));
        assert_eq!(read, expected, "{body:?}");
        // A truncated body is not another message.
        for length in 0..body.len() {
            let _ = otlp::read_partial_success(&body[..length]);
            let _ = otlp::read_error_message(&body[..length]);
        }
    }
}

#[test]
fn a_span_reads_back() {
    let request = export(&span(), |attributes| {
        attributes.text("http.request.method", "GET");
        attributes.number("http.response.status_code", 503);
        attributes.number_as_text("error.type", 503);
        attributes.boolean("late", false);
        attributes.text("empty", "");
        attributes.number("zero", 0);
    });
    expect![[r#"
        {
          "resourceSpans": [
            {
              "resource": {
                "attributes": [
                  {
                    "key": "service.name",
                    "value": {
                      "stringValue": "shop"
                    }
                  }
                ],
                "droppedAttributesCount": 0,
                "entityRefs": []
              },
              "scopeSpans": [
                {
                  "scope": {
                    "name": "logtracer",
                    "version": "0.1.0",
                    "attributes": [],
                    "droppedAttributesCount": 0
                  },
                  "spans": [
                    {
                      "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
                      "spanId": "00f067aa0ba902b7",
                      "traceState": "a=1",
                      "parentSpanId": "0000000000000042",
                      "flags": 1,
                      "name": "GET /basket",
                      "kind": 2,
                      "startTimeUnixNano": "1000",
                      "endTimeUnixNano": "2500",
                      "attributes": [
                        {
                          "key": "http.request.method",
                          "value": {
                            "stringValue": "GET"
                          }
                        },
                        {
                          "key": "http.response.status_code",
                          "value": {
                            "intValue": "503"
                          }
                        },
                        {
                          "key": "error.type",
                          "value": {
                            "stringValue": "503"
                          }
                        },
                        {
                          "key": "late",
                          "value": {
                            "boolValue": false
                          }
                        }
                      ],
                      "droppedAttributesCount": 0,
                      "events": [],
                      "droppedEventsCount": 0,
                      "links": [],
                      "droppedLinksCount": 0,
                      "status": {
                        "message": "",
                        "code": 2
                      }
                    }
                  ],
                  "schemaUrl": ""
                }
              ],
              "schemaUrl": ""
            }
          ]
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&request).unwrap());
}

/// Rule 41: a link to a trace that was not continued.
#[test]
fn a_link_reads_back() {
    let context = RemoteContext { parent_span_id: None, ..span().context.into() };
    let link = Link { context, tracestate: "a=1" };
    let request = export(&Span { link: Some(link), ..span() }, |attributes| {
        attributes.texts("http.request.header.x-tag", [b"a".as_slice(), b"\xff"].into_iter());
        attributes.texts("none", core::iter::empty());
    });
    let read = only_span(&request);
    assert_eq!(read.links[0].trace_id, context.trace_id.to_bytes());
    assert_eq!(read.links[0].span_id, context.span_id.unwrap().to_bytes());
    assert_eq!(read.links[0].trace_state, "a=1");
    assert_eq!(read.attributes.len(), 1);
    let Some(Value::ArrayValue(values)) = &read.attributes[0].value.as_ref().unwrap().value else {
        panic!("a list");
    };
    let values: Vec<_> = values.values.iter().map(|value| value.value.clone().unwrap()).collect();
    assert_eq!(values, [Value::StringValue("a".into()), Value::StringValue("\u{fffd}".into())]);
}

#[test]
fn rejected_spans_are_read() {
    let response = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 300,
            error_message: "too old".into(),
        }),
    };
    assert_eq!(otlp::rejected_spans(&response.encode_to_vec()), 300);
    assert_eq!(otlp::rejected_spans(&ExportTraceServiceResponse::default().encode_to_vec()), 0);

    let with = |rejected_spans: i64, message: usize| {
        let error_message = "x".repeat(message);
        let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message });
        ExportTraceServiceResponse { partial_success }.encode_to_vec()
    };
    // A long error message can be truncated; the number precedes it.
    let long = with(5, 10_000);
    assert_eq!(otlp::rejected_spans(&long), 5);
    for length in 5..100 {
        assert_eq!(otlp::rejected_spans(&long[..length]), 5, "{length} bytes");
    }
    for number in [1, 127, 128, 129, 16_384, i64::MAX] {
        assert_eq!(otlp::rejected_spans(&with(number, 3)), number as u64);
    }
    // Fields of a later version come before: a number, eight bytes, a text, four bytes.
    let unknown = [0x10, 1, 0x19, 0, 0, 0, 0, 0, 0, 0, 0, 0x22, 1, b'x', 0x2d, 0, 0, 0, 0];
    let inner = [&unknown[..], &[0x08, 7]].concat();
    let outer = [&unknown[..], &[0x0a, inner.len() as u8], &inner].concat();
    assert_eq!(otlp::rejected_spans(&outer), 7);
    for negative in [-1, -7, i64::MIN] {
        assert_eq!(otlp::rejected_spans(&with(negative, 0)), 0, "{negative}");
    }
}

/// Rule 81.
#[test]
fn the_end_is_never_before_the_start() {
    let request = export(&Span { end_unix_nanos: 5, ..span() }, |_| ());
    let read = only_span(&request);
    assert_eq!(read.end_time_unix_nano, read.start_time_unix_nano);
}

/// Rule 58.
#[test]
fn long_texts_are_truncated_at_a_character() {
    let even = "ä".repeat(otlp::MAX_TEXT_BYTES);
    let odd = format!("x{even}");
    for (text, expected) in [(&even, otlp::MAX_TEXT_BYTES), (&odd, otlp::MAX_TEXT_BYTES - 1)] {
        let request = export(&span(), |attributes| attributes.text("k", text));
        let Some(Value::StringValue(read)) = &only_span(&request).attributes[0].value.as_ref().unwrap().value
        else {
            panic!("a text");
        };
        assert!(text.starts_with(read));
        assert_eq!(read.len(), expected);
    }
}

proptest! {
    /// Lengths of every width and any bytes.
    #[test]
    fn any_bytes_read_back(
        name in proptest::collection::vec(any::<u8>(), 0..300),
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..5000), 0..8),
    ) {
        let request = export(&Span { name: &name, ..span() }, |attributes| {
            for value in &values {
                attributes.text("k", value);
            }
        });
        let read = only_span(&request);
        prop_assert_eq!(read.attributes.len(), values.len());
        if let Ok(name) = core::str::from_utf8(&name) {
            prop_assert_eq!(&read.name, name);
        }
    }
}

proptest! {
    /// An exporter can respond with any bytes.
    #[test]
    fn no_response_panics(response in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = otlp::rejected_spans(&response);
    }
}

/// The lengths of attributes are varints of one to three bytes, also with a byte of zeros.
#[test]
fn excluded_attributes_are_left_out_whatever_their_length() {
    for length in (0..300).chain(16_250..16_400) {
        let value = "v".repeat(length);
        let (mut except, mut alone) = (Vec::new(), Vec::new());
        otlp::write_span_with(&mut except, &span(), |details| {
            details.attributes_except(
                |key| key == "out",
                |attributes| {
                    for key in ["a", "out", "b"] {
                        attributes.text(key, &value);
                    }
                },
            );
        });
        otlp::write_span_with(&mut alone, &span(), |details| {
            details.attributes().text("a", &value);
            details.attributes().text("b", &value);
        });
        assert!(except == alone, "{length}");
    }
}

// === helpers ===

fn span() -> Span<'static> {
    Span {
        context: TraceContext {
            trace_id: TraceId::new(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736).unwrap(),
            span_id: SpanId::new(0x00f0_67aa_0ba9_02b7).unwrap(),
            parent_span_id: SpanId::new(0x42),
            sampling: Sampling::Accept,
            random_trace_id: false,
        },
        tracestate: "a=1",
        name: b"GET /basket",
        kind: SpanKind::Server,
        start_unix_nanos: 1_000,
        end_unix_nanos: 2_500,
        status: SpanStatus::Error,
        link: None,
    }
}

fn export(span: &Span<'_>, attributes: impl FnOnce(&mut Attributes<'_>)) -> ExportTraceServiceRequest {
    let mut spans = Vec::new();
    otlp::write_span(&mut spans, span, attributes);
    let mut out = Vec::new();
    let resource = |resource: &mut Attributes<'_>| resource.text("service.name", "shop");
    otlp::write_request(
        &mut out,
        resource,
        InstrumentationScope { name: "logtracer", version: "0.1.0" },
        &spans,
    );
    ExportTraceServiceRequest::decode(out.as_slice()).expect("valid protobuf")
}

fn only_span(request: &ExportTraceServiceRequest) -> &proto::Span {
    let [resource] = &request.resource_spans[..] else { panic!("one resource") };
    let [scope] = &resource.scope_spans[..] else { panic!("one scope") };
    let [span] = &scope.spans[..] else { panic!("one span") };
    span
}
