//! ProtoJSON for every field of every message, by a walk through the schema.

use super::*;
use crate::otlp::check::tests::{log_request, request};
use crate::otlp::check::{CheckResult, check};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

#[test]
fn names_and_numbers_are_those_of_the_messages() {
    let spans = request(2);
    let (bytes, left_out) = to_protobuf(Signal::Traces, &serde_json::to_string(&spans).unwrap()).unwrap();
    assert_eq!(ExportTraceServiceRequest::decode(&bytes[..]).unwrap(), spans);
    assert!(left_out.is_empty());
    let logs = log_request(2);
    let (bytes, left_out) = to_protobuf(Signal::Logs, &serde_json::to_string(&logs).unwrap()).unwrap();
    assert_eq!(ExportLogsServiceRequest::decode(&bytes[..]).unwrap(), logs);
    assert!(left_out.is_empty());
}

/// The members that make a message valid.
fn required(message: &MessageType) -> String {
    let unknown = r#""unknownField":[{"a":null}]"#;
    match message.role {
        Role::Span => {
            r#""traceId":"463ac35c9f6413ad48485a3953bb6124","spanId":"00f067aa0ba902b7""#.to_owned()
        }
        Role::Envelope => {
            let list = message.fields.iter().find(|field| field.has_items()).unwrap();
            format!("{unknown},\"{}\":[]", list.name)
        }
        _ => unknown.to_owned(),
    }
}

/// Calls `check` for every message type, with a function that puts the members of one into a request.
#[allow(clippy::type_complexity, reason = "the types say what the closures get")]
fn walk(
    message: &'static MessageType,
    path: &str,
    into_request: &dyn Fn(&str) -> String,
    check: &mut dyn FnMut(&'static MessageType, &str, &dyn Fn(&str) -> String),
) {
    check(message, path, into_request);
    for field in message.fields {
        let Kind::Message(inner) = field.kind else { continue };
        // Values contain values.
        if path.matches("value").count() > 4 {
            continue;
        }
        let name: String = field.json_name().map(char::from).collect();
        let wrap = |members: &str| {
            let object = format!("{{{},{members}}}", required(inner));
            let value = if field.is_repeated { format!("[{object}]") } else { object };
            let own = match message.role {
                Role::Span => required(message),
                _ => "\"unknownField\":1".to_owned(),
            };
            into_request(&format!("{own},\"{name}\":{value}"))
        };
        walk(inner, &format!("{path}.{}", field.name), &wrap, check);
    }
}

#[allow(clippy::type_complexity, reason = "the types say what the closures get")]
fn walk_all(check: &mut dyn FnMut(Signal, &'static MessageType, &str, &dyn Fn(&str) -> String)) {
    for signal in [Signal::Traces, Signal::Logs] {
        walk(signal.request_type(), "", &|members| format!("{{{members}}}"), &mut |message, path, wrap| {
            check(signal, message, path, wrap);
        });
    }
}

/// Forms of a value, and what they mean.
fn forms(field: &Field) -> Vec<(String, String)> {
    let of = |forms: &[(&str, &str)]| {
        forms.iter().map(|(form, canonical)| ((*form).to_owned(), (*canonical).to_owned())).collect()
    };
    let integers =
        [("\"3\"", "3"), ("3.0", "3"), ("3e0", "3"), ("\"0.3e1\"", "3"), ("30E-1", "3"), (" 3", "3")];
    let forms: Vec<(String, String)> = match field.kind {
        Kind::Bool => of(&[("\"true\"", "true")]),
        Kind::Int32 | Kind::Int64 => {
            let mut forms: Vec<(String, String)> = of(&integers);
            forms.extend(of(&[("\"-1e1\"", "-10"), ("-0", "0")]));
            forms
        }
        Kind::Uint32 | Kind::Fixed32 | Kind::Fixed64 => of(&integers),
        Kind::Double => of(&[("\"1.5\"", "1.5"), ("15e-1", "1.5"), ("\"15E-1\"", "1.5"), ("3", "3.0")]),
        Kind::Enum(names) => {
            let named = names.iter().enumerate();
            let mut forms: Vec<_> = named.map(|(n, name)| (format!("\"{name}\""), n.to_string())).collect();
            forms.extend(of(&[("\"1\"", "1"), ("1.0", "1"), ("\"A_NEW_NAME\"", "0"), ("\"CODE_OK\"", "0")]));
            forms
        }
        Kind::Text => of(&[(r#""cut \ud83d""#, "\"cut \u{fffd}\""), (r#""\ude00\u0041""#, "\"\u{fffd}A\"")]),
        Kind::Bytes => of(&[("\"-_8\"", "\"+/8=\""), ("\"-_8=\"", "\"+/8=\""), ("\"+/8\"", "\"+/8=\"")]),
        Kind::Id if field.name == "trace_id" => {
            of(&[("\"463AC35C9F6413AD48485A3953BB6124\"", "\"463ac35c9f6413ad48485a3953bb6124\"")])
        }
        Kind::Id => of(&[("\"00F067AA0BA902B7\"", "\"00f067aa0ba902b7\"")]),
        Kind::Message(inner) => {
            let mut forms: Vec<_> = of(&[("{}", "{ }"), ("[ ]", "{}")]);
            if inner.role != Role::Envelope {
                forms.extend(of(&[("{\"unknown\":[null]}", "{}")]));
            }
            forms
        }
        Kind::Any => Vec::new(),
    };
    if field.is_repeated {
        let list = |(form, canonical): (String, String)| (format!("[{form}]"), format!("[{canonical}]"));
        return forms.into_iter().map(list).chain(of(&[("[]", "[]"), ("{}", "[]"), ("{ }", "[]")])).collect();
    }
    forms
}

#[test]
fn every_field_is_read_by_the_rules_of_protojson() {
    let mut checked = 0;
    walk_all(&mut |signal, message, path, into_request| {
        // A request without its only field is an error, see below.
        if path.is_empty() {
            return;
        }
        let convert = |members: &str| {
            to_protobuf(signal, &into_request(members))
                .unwrap_or_else(|error| panic!("{path} {members}: {error}"))
        };
        let absent = convert(&required(message));
        for field in message.fields.iter().filter(|field| !field.name.is_empty()) {
            let name: String = field.json_name().map(char::from).collect();
            let with =
                |name: &str, value: &str| convert(&format!("{},\"{name}\":{value}", required(message)));
            // An id of a span is in `required`, and `null` is none.
            assert_eq!(with(&name, "null"), absent, "{path}.{name}");
            for (form, canonical) in forms(field) {
                let expected = with(&name, &canonical);
                assert_eq!(with(&name, &form), expected, "{path}.{name}: {form}");
                assert_eq!(with(field.name, &form), expected, "{path}.{}: {form}", field.name);
                checked += 1;
            }
        }
    });
    assert!(checked > 1000, "{checked}");
}

#[test]
fn names_of_enums_need_no_prefix() {
    let span = |members: &str| {
        let own = r#""traceId":"463ac35c9f6413ad48485a3953bb6124","spanId":"00f067aa0ba902b7""#;
        let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{own},{members}}}]}}]}}]}}"#);
        let (bytes, left_out) = to_protobuf(Signal::Traces, &text).unwrap();
        assert!(left_out.is_empty());
        let mut request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
        request.resource_spans[0].scope_spans[0].spans.remove(0)
    };
    assert_eq!(span(r#""kind":"SERVER""#).kind, 2);
    assert_eq!(span(r#""status":{"code":"ERROR"}"#).status.unwrap().code, 2);
    for unknown in ["", "R", "ROR", "CODE_ERROR", "error"] {
        assert_eq!(span(&format!(r#""status":{{"code":"{unknown}"}}"#)).status.unwrap().code, 0, "{unknown}");
    }
}

/// As OTLP named them before version 0.15.
#[test]
fn earlier_names_are_read() {
    let spans = request(2);
    let text = serde_json::to_string(&spans).unwrap();
    let earlier = text
        .replace("\"scopeSpans\"", "\"instrumentationLibrarySpans\"")
        .replace("\"scope\":{", "\"instrumentationLibrary\":{");
    assert_ne!(text, earlier);
    let (bytes, left_out) = to_protobuf(Signal::Traces, &earlier).unwrap();
    assert_eq!(ExportTraceServiceRequest::decode(&bytes[..]).unwrap(), spans);
    assert!(left_out.is_empty());
    let logs = log_request(2);
    let text = serde_json::to_string(&logs).unwrap();
    let earlier = text
        .replace("\"scopeLogs\"", "\"instrumentation_library_logs\"")
        .replace("\"logRecords\"", "\"logs\"");
    let (bytes, left_out) = to_protobuf(Signal::Logs, &earlier).unwrap();
    assert_eq!(ExportLogsServiceRequest::decode(&bytes[..]).unwrap(), logs);
    assert!(left_out.is_empty());
}

#[test]
fn a_list_that_is_none_is_counted_as_an_item() {
    for text in [
        r#"{"resourceSpans":[{"scopeSpans":{"spans":[]}}]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":{"name":"a"}}]}]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[7]}]}"#,
        r#"{"resourceSpans":[7]}"#,
    ] {
        let (bytes, left_out) = to_protobuf(Signal::Traces, text).unwrap();
        assert_eq!((bytes, left_out.items(), left_out.parts.len()), (vec![], 1, 0), "{text}");
    }
}

#[test]
fn doubles_that_json_cannot_write_are_texts() {
    for (text, expected) in [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)]
    {
        let mut members = String::new();
        walk_all(&mut |signal, message, path, into_request| {
            if message.role == Role::Value {
                members = into_request(&format!("\"doubleValue\":\"{text}\""));
                let (bytes, left_out) = to_protobuf(signal, &members).unwrap();
                assert!(left_out.is_empty(), "{path}");
                let is_in = bytes.windows(8).any(|window| window == expected.to_le_bytes());
                assert!(is_in || bytes.is_empty(), "{path}: {members}");
            }
        });
        assert!(!members.is_empty());
    }
}

#[test]
fn an_invalid_value_costs_no_other_item() {
    let mut checked = 0;
    walk_all(&mut |signal, message, path, into_request| {
        if path.is_empty() {
            return;
        }
        let (good, of_items) = match signal {
            Signal::Traces => (
                r#"{"scopeSpans":[{"spans":[{"traceId":"463ac35c9f6413ad48485a3953bb6124","spanId":"0000000000000001","name":"good"}]}]}"#,
                ".spans",
            ),
            Signal::Logs => (r#"{"scopeLogs":[{"logRecords":[{"severityText":"good"}]}]}"#, ".log_records"),
        };
        for field in message.fields.iter().filter(|field| !field.name.is_empty()) {
            for invalid in [
                "{}",
                "[]",
                "7",
                "true",
                "\"x\"",
                "1e999",
                "[7]",
                "[{}]",
                "[[]]",
                "[null]",
                "\"\u{1f600}\"",
                "-1",
                "0.5",
            ] {
                let name: String = field.json_name().map(char::from).collect();
                let text = into_request(&format!("{},\"{name}\":{invalid}", required(message)));
                // The good resource comes after the invalid one.
                let text = format!("{},{good}]}}", text.strip_suffix("]}").unwrap());
                let (bytes, left_out) =
                    to_protobuf(signal, &text).unwrap_or_else(|error| panic!("{text}: {error}"));
                let names = names_of_items(signal, &bytes);
                assert_eq!(names.last().map(String::as_str), Some("good"), "{text}");
                assert!(names.len() > 1 || !path.contains(of_items) || !left_out.items.is_empty(), "{text}");
                checked += 1;
            }
        }
    });
    assert!(checked > 1000, "{checked}");
}

/// Returns the names of spans, or the severities of log records.
fn names_of_items(signal: Signal, bytes: &[u8]) -> Vec<String> {
    match signal {
        Signal::Traces => {
            let request = ExportTraceServiceRequest::decode(bytes).unwrap();
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            scopes.flat_map(|scope| scope.spans).map(|span| span.name).collect()
        }
        Signal::Logs => {
            let request = ExportLogsServiceRequest::decode(bytes).unwrap();
            let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
            scopes.flat_map(|scope| scope.log_records).map(|record| record.severity_text).collect()
        }
    }
}

/// Values around the maximum depth are accepted or left out, and what was written is valid.
#[test]
fn a_value_that_is_too_deep_costs_only_itself() {
    for lists in MAX_DEPTH / 2 - 4..=MAX_DEPTH / 2 + 2 {
        for innermost in ["null", "[]", "{}", "[7]", "7", r#"{"arrayValue":[]}"#, r#"{"kvlistValue":[]}"#] {
            let lists = lists as usize;
            let deep = r#"{"arrayValue":{"values":["#.repeat(lists) + innermost + &"]}}".repeat(lists);
            for members in [
                format!(r#""attributes":[{{"key":"k","value":{deep}}}]"#),
                format!(r#""events":[{{"attributes":[{{"key":"k","value":{deep}}}]}}]"#),
            ] {
                let own = r#""traceId":"463ac35c9f6413ad48485a3953bb6124","spanId":"0000000000000001""#;
                let text =
                    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{own},{members}}}]}}]}}]}}"#);
                let (bytes, left_out) = to_protobuf(Signal::Traces, &text).unwrap();
                let valid = CheckResult::Valid { items: 1 };
                assert_eq!(check(Signal::Traces, &bytes), valid, "{lists} {innermost}");
                assert_eq!(left_out.items(), 0, "{lists} {innermost}");
            }
        }
    }
}

/// Reads one span with these members.
#[track_caller]
fn span(members: &str) -> (opentelemetry_proto::tonic::trace::v1::Span, LeftOut) {
    let text = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"463ac35c9f6413ad48485a3953bb6124","spanId":"0000000000000001",{members}}}]}}]}}]}}"#
    );
    let (bytes, left_out) = to_protobuf(Signal::Traces, &text).unwrap();
    let mut request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
    (request.resource_spans.remove(0).scope_spans.remove(0).spans.remove(0), left_out)
}

#[test]
fn what_is_left_out_is_counted_in_the_span() {
    let deep = format!("{}null{}", r#"{"arrayValue":{"values":["#.repeat(5000), "]}}".repeat(5000));
    for (attribute, reason) in [
        (r#"{"key":7,"value":{}}"#, Reason::WrongType),
        (r#"{"key":"k","value":{"stringValue":5}}"#, Reason::WrongType),
        (r#"{"key":"k","value":{"intValue":"9223372036854775808"}}"#, Reason::OutOfRange),
        (r#"{"key":"k","value":{"doubleValue":1e999}}"#, Reason::OutOfRange),
        (r#"{"key":"k","value":{"kvlistValue":{"values":[{"key":"a"},{"key":[]}]}}}"#, Reason::WrongType),
        (r#"{"key":"k","value":{"stringValue":"a","intValue":1}}"#, Reason::SeveralValues),
        (&format!(r#"{{"key":"k","value":{deep}}}"#), Reason::TooDeep),
        ("null", Reason::WrongType),
    ] {
        let good = r#"{"key":"good","value":{"stringValue":"a","intValue":null}}"#;
        let members = format!(
            r#""droppedAttributesCount":"3","attributes":[{attribute},{good},{attribute}],"name":"n""#
        );
        let (span, left_out) = span(&members);
        assert_eq!(
            (span.attributes.len(), span.dropped_attributes_count, span.name.as_str()),
            (1, 5, "n"),
            "{attribute}"
        );
        assert_eq!((left_out.items(), left_out.parts), (0, [(reason, 2)].into()), "{attribute}");
    }
    let (span, _) = span(r#""events":[{"timeUnixNano":"x"},{"name":"e"}],"links":[{"traceId":"xyz"}]"#);
    assert_eq!((span.events.len(), span.dropped_events_count), (1, 1));
    assert_eq!((span.links.len(), span.dropped_links_count), (0, 1));
}

#[test]
fn an_array_keeps_the_positions_of_its_values() {
    let (span, left_out) = span(
        r#""attributes":[{"key":"a","value":{"arrayValue":{"values":[null,{"intValue":"1"}]}}},{"key":"e","value":{"arrayValue":{}}}]"#,
    );
    let texts: Vec<_> =
        span.attributes.iter().map(|a| crate::otlp::any_value::text(a.value.as_ref())).collect();
    assert_eq!(texts, ["[null,1]", "[]"]);
    assert!(left_out.is_empty());
}

#[test]
fn a_repeated_key_joins_lists_and_the_last_scalar_counts() {
    let (span, _) = span(r#""name":"a","name":"b","attributes":[{"key":"a"}],"attributes":[{"key":"b"}]"#);
    assert_eq!((span.name.as_str(), span.attributes.len()), ("b", 2));
}

#[test]
fn a_body_that_stores_nothing_is_an_error_unless_it_is_empty() {
    for text in
        ["{}", r#"{"resourceSpans":[]}"#, r#"{"resourceSpans":{}}"#, r#"{"resource_spans":null}"#, " { } "]
    {
        assert_eq!(to_protobuf(Signal::Traces, text), Ok((Vec::new(), LeftOut::default())), "{text}");
    }
    for (text, expected) in [
        ("[]", "expected an object"),
        ("null", "expected an object"),
        ("7", "expected an object"),
        (r#"{"resourceLogs":[]}"#, "the object has no resourceSpans"),
        (r#"{"ResourceSpans":[]}"#, "the object has no resourceSpans"),
        (r#"{"resourceSpans":7}"#, "resourceSpans: value of the wrong type"),
        (r#"{"resourceSpans":{"a":[]}}"#, "resourceSpans: value of the wrong type"),
        (r#"{"resourceSpans":[}"#, "expected value at line 1"),
    ] {
        let error = to_protobuf(Signal::Traces, text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let (bytes, left_out) = to_protobuf(Signal::Traces, r#"{"resourceSpans":[7]}"#).unwrap();
    assert!(bytes.is_empty() && !left_out.is_empty());
    // The names of another version, of another signal, or with a typing error.
    for (signal, envelope, is_empty) in [
        (Signal::Traces, r#"{"spans":[{}]}"#, false),
        (Signal::Traces, r#"{"resource":{},"ScopeSpans":[{}]}"#, false),
        (Signal::Traces, r#"{"scopeSpans":[{"logRecords":[{}]}]}"#, false),
        (Signal::Logs, r#"{"scopeSpans":[{"spans":[{}]}]}"#, false),
        (Signal::Traces, r#"{"resource":{},"scopeSpans":[],"aNewField":1}"#, true),
        (Signal::Traces, r#"{"resource":{},"schemaUrl":"x"}"#, true),
        (Signal::Logs, r#"{"scopeLogs":null,"aNewField":1}"#, true),
    ] {
        let name = if signal == Signal::Traces { "resourceSpans" } else { "resourceLogs" };
        let (bytes, left_out) = to_protobuf(signal, &format!("{{\"{name}\":[{envelope}]}}")).unwrap();
        let expected = if is_empty { [].into() } else { [(Reason::UnknownFields, 1)].into() };
        assert_eq!((bytes.len(), left_out.items), (0, expected), "{envelope}");
    }
}

#[test]
fn an_invalid_id_of_a_log_record_is_left_out() {
    let text = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"xyz","spanId":7,"severityText":"WARN"},{"severityNumber":[]}]}]}]}"#;
    let (bytes, left_out) = to_protobuf(Signal::Logs, text).unwrap();
    let request = ExportLogsServiceRequest::decode(&bytes[..]).unwrap();
    let records = &request.resource_logs[0].scope_logs[0].log_records;
    assert_eq!((records.len(), records[0].trace_id.len(), records[0].severity_text.as_str()), (1, 0, "WARN"));
    assert_eq!(left_out.items, [(Reason::WrongType, 1)].into());
    assert_eq!(left_out.parts, [(Reason::IdNotHex, 1), (Reason::WrongType, 1)].into());
}
