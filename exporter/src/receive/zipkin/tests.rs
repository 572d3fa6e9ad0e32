//! Tests of the conversion of whole lists.

use super::super::span::string_attribute;
use super::*;
use crate::otlp::check::MAX_DECODED_BYTES;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;

const NOW: u64 = 1_700_000_000_000_000_000;

/// Converts a list.
#[track_caller]
fn read(body: &str) -> (ExportTraceServiceRequest, LeftOut) {
    let (bytes, left_out) = convert(body, NOW, MAX_DECODED_BYTES).unwrap();
    (ExportTraceServiceRequest::decode(&bytes[..]).unwrap(), left_out)
}

const SPAN: &str = r#"{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"00f067aa0ba902b7"}"#;

fn attributes(span: &Span) -> Vec<String> {
    let show = |a: &KeyValue| format!("{}={}", a.key, crate::otlp::any_value::text(a.value.as_ref()));
    span.attributes.iter().map(show).collect()
}

#[test]
fn every_field_is_converted() {
    let body = r#"[{"traceId":"48485a3953bb6124","id":"00f067aa0ba902b7","parentId":"1111111111111111",
        "name":"get /","kind":"CLIENT","timestamp":1500000,"duration":250,"debug":true,
        "localEndpoint":{"serviceName":"shop","ipv4":"10.0.0.1","port":80},
        "remoteEndpoint":{"serviceName":"stock","ipv6":"::1","port":0},
        "annotations":[{"timestamp":1500001,"value":"sent"}],
        "tags":{"http.method":"GET","otel.scope.name":"lib","otel.scope.version":"2","error":"gone"}}]"#;
    let (request, left_out) = read(body);
    assert!(left_out.is_empty());
    let [group] = &request.resource_spans[..] else { panic!("one service") };
    assert_eq!(group.resource.as_ref().unwrap().attributes, [string_attribute("service.name", "shop")]);
    let scope = group.scope_spans[0].scope.as_ref().unwrap();
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("lib", "2"));
    let span = &group.scope_spans[0].spans[0];
    assert_eq!(span.trace_id, 0x4848_5a39_53bb_6124_u128.to_be_bytes());
    assert_eq!((span.span_id[0], span.parent_span_id[0], span.kind), (0, 0x11, 3));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_500_000_000, 1_500_250_000));
    assert_eq!((span.name.as_str(), span.events[0].name.as_str()), ("get /", "sent"));
    assert_eq!(span.status, Some(Status { code: 2, message: "gone".to_owned() }));
    assert_eq!(
        attributes(span),
        [
            "error=gone",
            "http.method=GET",
            "network.local.address=10.0.0.1",
            "network.local.port=80",
            "peer.service=stock",
            "network.peer.address=::1",
        ]
    );
}

#[test]
fn spans_are_grouped_by_service() {
    let of = |service: &str, id: u8| {
        format!(
            r#"{{"traceId":"48485a3953bb6124","id":"{id:016x}","localEndpoint":{{"serviceName":"{service}"}}}}"#
        )
    };
    let body = format!("[{},{},{},{SPAN}]", of("a", 1), of("b", 2), of("a", 3));
    let request = read(&body).0;
    let counts: Vec<usize> = request.resource_spans.iter().map(|g| g.scope_spans[0].spans.len()).collect();
    assert_eq!(counts, [2, 1, 1]);
}

#[test]
fn a_shared_id_becomes_two_ids() {
    let shared = SPAN.replace('}', r#","kind":"SERVER","shared":true}"#);
    let request = read(&format!("[{SPAN},{shared}]")).0;
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    assert_ne!(spans[0].span_id, spans[1].span_id);
    assert_eq!(spans[1].parent_span_id, spans[0].span_id);
}

#[test]
fn a_server_with_the_id_of_a_client_shares_it_without_saying_so() {
    let span = |service: &str, id: u8, parent: u8, rest: &str| {
        format!(
            r#"{{"traceId":"1","id":"{id:016x}","parentId":"{parent:016x}","localEndpoint":{{"serviceName":"{service}"}}{rest}}}"#
        )
    };
    let server = 2 ^ 0x5e4e_d50b_0a7a_11ed;
    for of_server in [r#","kind":"SERVER""#, r#","shared":true"#, r#","kind":"SERVER","shared":false"#] {
        let spans = [
            span("a", 2, 1, r#","kind":"CLIENT""#),
            span("b", 2, 1, of_server),
            span("b", 3, 2, r#","kind":"CLIENT""#),
        ];
        for rotation in 0..spans.len() {
            let mut spans = spans.clone();
            spans.rotate_left(rotation);
            let request = read(&format!("[{}]", spans.join(","))).0;
            let id = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
            let all = request.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
            let mut links: Vec<_> = all.map(|span| (id(&span.span_id), id(&span.parent_span_id))).collect();
            links.sort_unstable();
            assert_eq!(links, [(2, 1), (3, server), (server, 2)], "{of_server}");
        }
    }
    // Without a client's span in the list, it is not known.
    let request = read(&format!("[{}]", span("b", 2, 1, r#","kind":"SERVER""#))).0;
    assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].span_id, 2_u64.to_be_bytes());
}

#[test]
fn what_is_left_out_is_counted_in_the_span() {
    for (members, attributes, events) in [
        (r#""tags":{"a":"1"},"annotations":[{"timestamp":1,"value":"x"}]"#, 0, 0),
        (r#""tags":{"a":{},"b":null,"c":[1],"d":"x"}"#, 3, 0),
        (r#""tags":7,"annotations":{"a":1}"#, 1, 1),
        // PHP and Lua write an empty container as the other one.
        (r#""tags":[],"annotations":{},"localEndpoint":[],"remoteEndpoint":[]"#, 0, 0),
        (r#""localEndpoint":{"ipv4":"shop.local","ipv6":"::1"}"#, 1, 0),
        (r#""tags":null,"annotations":null,"localEndpoint":null"#, 0, 0),
        (
            r#""annotations":[{"value":"no time"},7,null,{"timestamp":"x","value":{}},{"timestamp":1,"value":"x"}]"#,
            0,
            4,
        ),
        (r#""localEndpoint":{"port":70000,"serviceName":{}},"remoteEndpoint":7"#, 3, 0),
        (r#""localEndpoint":{"ipv4":"10.0.0.1","ipv6":"::1"}"#, 1, 0),
        (r#""timestamp":"yesterday""#, 0, 0),
    ] {
        let (span, left_out) = read_beside_a_good_one(members);
        let span = span.unwrap();
        assert_eq!(
            (span.dropped_attributes_count, span.dropped_events_count),
            (attributes, events),
            "{members}"
        );
        let counted: u32 = left_out.parts.values().sum();
        let has_two_addresses = members.contains("10.0.0.1");
        assert!(has_two_addresses || counted >= attributes + events, "{members}");
    }
}

#[test]
fn a_status_description_without_an_error_stays_a_tag() {
    let (span, _) = read_beside_a_good_one(r#""timestamp":1,"tags":{"otel.status_description":"slow"}"#);
    let span = span.unwrap();
    assert_eq!((attributes(&span), span.status), (vec!["otel.status_description=slow".to_owned()], None));
}

#[test]
fn a_list_of_version_1_is_refused() {
    for members in
        [r#""binaryAnnotations":[{"key":"http.method","value":"GET"}]"#, r#""binaryAnnotations":null"#]
    {
        let body = format!("[{SPAN},{}]", SPAN.replace('}', &format!(",{members}}}")));
        let error = convert(&body, NOW, MAX_DECODED_BYTES);
        assert!(
            matches!(&error, Err(ConvertError::Malformed(reason)) if reason.contains("Zipkin v1")),
            "{members}: {error:?}"
        );
    }
}

/// Converts a good span and one with these members, which come after the ids. Returns the second one if it is there.
#[track_caller]
fn read_beside_a_good_one(members: &str) -> (Option<Span>, LeftOut) {
    let span = SPAN.replace("00f067aa0ba902b7", "0000000000000002").replace('}', &format!(",{members}}}"));
    let (request, left_out) = read(&format!("[{SPAN},{span}]"));
    let mut spans: Vec<Span> =
        request.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect();
    assert_eq!(spans[0].span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes(), "the good span is kept: {members}");
    assert!(spans.len() + left_out.items() as usize == 2, "{members}");
    (if spans.len() > 1 { spans.pop() } else { None }, left_out)
}

#[test]
fn values_are_read_as_zipkin_reads_them() {
    for (members, expected) in [
        (r#""tags":{"otel.status_code":2}"#, "otel.status_code=2"),
        (r#""tags":{"a":1.5,"b":true,"d":"x"}"#, "a=1.5 b=true d=x"),
        (r#""tags":{"a":NaN,"b":-Infinity}"#, "a=NaN b=-Infinity"),
        (r#""localEndpoint":{"ipv4":"::1"}"#, "network.local.address=::1"),
        (r#""tags":null,"annotations":null,"remoteEndpoint":null,"kind":null,"shared":null,"name":null"#, ""),
        (r#""remoteEndpoint":{"serviceName":"x","port":"443"}"#, "peer.service=x network.peer.port=443"),
        (r#""localEndpoint":{"port":80.0,"ipv4":null}"#, "network.local.port=80"),
        (r#""localEndpoint":{"port":-1}"#, ""),
        (r#""tags":{"cut":"\ud83d","\ude00":"x"}"#, "cut=\u{fffd} \u{fffd}=x"),
        (r#""tags":{"a":"1","a":"2"},"unknown":[{"a":{}}]"#, "a=2"),
        (r#""annotations":[{"timestamp":1,"value":"ws","endpoint":{"serviceName":"a"}}]"#, ""),
        ("\"tags\":{\"a\":\"1\t2\"}", "a=1\t2"),
    ] {
        let (span, left_out) = read_beside_a_good_one(&format!("\"timestamp\":1,{members}"));
        assert_eq!(attributes(&span.unwrap()).join(" "), expected, "{members}");
        assert!(left_out.is_empty(), "{members}");
    }
}

#[test]
fn times_are_read_as_zipkin_reads_them() {
    for (members, start, nanos) in [
        (r#""timestamp":1.58266276796031e+15"#, 1_582_662_767_960_310_000, 0),
        (r#""timestamp":"1572849988488551","duration":"7""#, 1_572_849_988_488_551_000, 7000),
        (r#""timestamp":5,"duration":-1431"#, 5000, 0),
        (r#""timestamp":5.0,"duration":1.9"#, 5000, 1000),
        (r#""timestamp":"5","duration":null"#, 5000, 0),
        (r#""annotations":[{"timestamp":"7","value":"a"},{"timestamp":6.0,"value":3}]"#, 6000, 0),
        (r#""annotations":[{"timestamp":0,"value":"a"},{"timestamp":6,"value":"b"}]"#, 6000, 0),
        (r#""annotations":[{"timestamp":0,"value":"a"}]"#, NOW, 0),
        (r#""name":"none""#, NOW, 0),
        (r#""timestamp":0,"duration":3"#, NOW, 3000),
        (r#""timestamp":-5"#, NOW, 0),
        (r#""timestamp":null"#, NOW, 0),
    ] {
        let (span, left_out) = read_beside_a_good_one(members);
        let span = span.unwrap();
        assert_eq!(span.start_time_unix_nano, start, "{members}");
        assert_eq!(span.end_time_unix_nano - start, nanos, "{members}");
        let is_marked = attributes(&span).contains(&"logtracer.time_source=arrival".to_owned());
        assert_eq!(is_marked, start == NOW, "{members}");
        // An annotation without a time says nothing.
        let has_bad_annotation = members.contains(r#"{"timestamp":0,"#);
        assert_eq!(left_out.is_empty(), !has_bad_annotation, "{members}");
    }
}

#[test]
fn a_parent_of_zeros_or_the_span_itself_is_absent_and_short_ids_are_padded() {
    for (id, expected) in [
        ("0000000000000000", None),
        ("0", None),
        ("", None),
        ("7", Some(7)),
        ("000000000000000A", Some(10)),
        // The span itself.
        ("2", None),
        ("0000000000000002", None),
    ] {
        let (span, _) = read_beside_a_good_one(&format!("\"parentId\":\"{id}\""));
        let expected: Vec<u8> = expected.map(|id: u64| id.to_be_bytes().to_vec()).unwrap_or_default();
        assert_eq!(span.unwrap().parent_span_id, expected, "{id:?}");
    }
}

#[test]
fn an_invalid_part_costs_only_itself() {
    for (members, expected) in [
        (r#""tags":{"a":{"b":1},"d":"x"}"#, Reason::WrongType),
        (r#""tags":{"a":[1],"d":"x"}"#, Reason::WrongType),
        (r#""tags":{"d":"x"},"timestamp":"yesterday""#, Reason::WrongType),
        (r#""tags":{"d":"x"},"duration":[]"#, Reason::WrongType),
        (r#""tags":{"d":"x"},"localEndpoint":7"#, Reason::WrongType),
        (r#""tags":{"d":"x"},"localEndpoint":{"port":70000}"#, Reason::OutOfRange),
        (r#""tags":{"d":"x"},"localEndpoint":{"port":"http"}"#, Reason::WrongType),
        (r#""tags":{"d":"x"},"annotations":[{"value":"no time"}]"#, Reason::Malformed),
        (r#""tags":{"d":"x"},"annotations":{"a":[]}"#, Reason::WrongType),
        (r#""tags":{"d":"x"},"remoteEndpoint":{"ipv4":"shop.local"}"#, Reason::Malformed),
        // Nanoseconds instead of microseconds.
        (r#""tags":{"d":"x"},"timestamp":1582662767960310000"#, Reason::OutOfRange),
        (r#""tags":{"d":"x"},"timestamp":1e300"#, Reason::OutOfRange),
        (r#""tags":{"d":"x"},"shared":[true]"#, Reason::WrongType),
    ] {
        let (span, left_out) = read_beside_a_good_one(members);
        assert!(attributes(&span.unwrap()).contains(&"d=x".to_owned()), "{members}");
        assert_eq!((left_out.items(), left_out.parts), (0, [(expected, 1)].into()), "{members}");
    }
}

#[test]
fn an_invalid_span_costs_only_itself() {
    for (bad, expected) in [
        ("7".to_owned(), Reason::WrongType),
        ("null".to_owned(), Reason::WrongType),
        ("[[]]".to_owned(), Reason::WrongType),
        ("{}".to_owned(), Reason::TraceIdLength),
        (r#"{"id":"00f067aa0ba902b7"}"#.to_owned(), Reason::TraceIdLength),
        (SPAN.replace("463a", "463a4"), Reason::TraceIdLength),
        (SPAN.replace("463a", "463x"), Reason::IdNotHex),
        (SPAN.replace("463ac35c9f6413ad48485a3953bb6124", "0"), Reason::TraceIdZero),
        (SPAN.replace("00f067aa0ba902b7", "0000000000000000"), Reason::SpanIdZero),
        (SPAN.replace("00f067aa0ba902b7", "100f067aa0ba902b7"), Reason::SpanIdLength),
        (SPAN.replace('}', r#","parentId":"x"}"#), Reason::IdNotHex),
        (SPAN.replace('}', r#","parentId":"10000000000000000"}"#), Reason::ParentSpanIdLength),
    ] {
        let (request, left_out) = read(&format!("[{bad},{SPAN},{bad}]"));
        assert_eq!(request.resource_spans[0].scope_spans[0].spans.len(), 1, "{bad}");
        assert_eq!(left_out.items, [(expected, 2)].into(), "{bad}");
    }
}

#[test]
fn a_call_below_a_shared_id_is_below_the_span_of_the_server() {
    let span = |service: &str, id: u8, parent: u8, rest: &str| {
        format!(
            r#"{{"traceId":"48485a3953bb6124","id":"{id:016x}","parentId":"{parent:016x}","localEndpoint":{{"serviceName":"{service}"}}{rest}}}"#
        )
    };
    let spans = [
        span("a", 2, 1, r#","kind":"CLIENT""#),
        span("b", 2, 1, r#","kind":"SERVER","shared":true"#),
        span("b", 3, 2, r#","kind":"CLIENT""#),
        // A span of the client itself, and one whose parent shares no id.
        span("a", 4, 2, ""),
        span("b", 5, 3, ""),
    ];
    // In any order.
    for rotation in 0..spans.len() {
        let mut spans = spans.clone();
        spans.rotate_left(rotation);
        let request = read(&format!("[{}]", spans.join(","))).0;
        let mut links: Vec<(u64, u64)> = Vec::new();
        let id = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
        for span in request.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans) {
            links.push((id(&span.span_id), id(&span.parent_span_id)));
        }
        links.sort_unstable();
        let server = 2 ^ 0x5e4e_d50b_0a7a_11ed;
        assert_eq!(links, [(2, 1), (3, server), (4, 2), (5, 3), (server, 2)]);
    }
}

#[test]
fn a_body_that_is_no_list_is_malformed() {
    for body in ["", "{}", "7", "null", "[", "[{]", SPAN] {
        assert!(
            matches!(convert(body, NOW, MAX_DECODED_BYTES), Err(ConvertError::Malformed(error)) if !error.is_empty()),
            "{body}"
        );
    }
    assert_eq!(convert("[]", NOW, MAX_DECODED_BYTES), Ok((Vec::new(), LeftOut::default())));
}

#[test]
fn the_memory_is_bounded() {
    let list = |element: &str, count: usize| vec![element; count].join(",");
    let with = |members: String| format!("[{}]", SPAN.replace('}', &format!(",{members}}}")));
    let annotation = r#"{"timestamp":1,"value":""}"#;
    assert_eq!(
        convert(&with(format!("\"annotations\":[{}]", list(annotation, 300_000))), NOW, MAX_DECODED_BYTES),
        Err(ConvertError::TooLarge)
    );
    let tags: Vec<String> = (0..300_000).map(|n| format!("\"{n:x}\":1")).collect();
    assert_eq!(
        convert(&with(format!("\"tags\":{{{}}}", tags.join(","))), NOW, MAX_DECODED_BYTES),
        Err(ConvertError::TooLarge)
    );
    assert_eq!(
        convert(&format!("[{}]", list("{}", 50_001)), NOW, MAX_DECODED_BYTES),
        Err(ConvertError::TooManySpans)
    );
    assert!(convert(&format!("[{}]", list("{}", 50_000)), NOW, MAX_DECODED_BYTES).is_ok());
}
