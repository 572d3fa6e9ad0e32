//! Complete lines, and properties for any input.

use core::time::Duration;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::{Sampling, SpanId, TraceId};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn context(sampling: Sampling) -> TraceContext {
    TraceContext::root(
        TraceId::new(0x463a_c35c_9f64_13ad_4848_5a39_53bb_6124).unwrap(),
        SpanId::new(74).unwrap(),
        sampling,
    )
}

/// Writes a line, and returns it as text and as parsed JSON.
fn line(format: Format, project_id: Option<&str>, write: impl FnOnce(&mut Line<'_>)) -> (String, Json) {
    let mut out = Vec::new();
    let mut line = Line::new(&mut out, format, project_id);
    write(&mut line);
    line.finish();
    let text = String::from_utf8(out).unwrap();
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:.4096}"));
    (text, json)
}

#[track_caller]
fn check(write: impl Fn(&mut Line<'_>), expected: Expect) {
    let both = [(Format::Stackdriver, Some("my-project")), (Format::Local, Some("my-project"))]
        .map(|(format, project_id)| line(format, project_id, &write).0);
    expected.assert_eq(&both.join("\n"));
}

#[test]
fn the_line_of_a_request() {
    check(
        |line| {
            line.severity(Severity::from_http_status(404))
                .time(1_532_527_565_499_727_000)
                .message(|text| text.push("shop - GET - http://shop/basket - 404 Not Found"))
                .http_request(&HttpRequest {
                    method: b"GET",
                    url: b"http://shop/basket?q=\"x\"",
                    request_size: 78,
                    status: 404,
                    response_size: 1_234_567_890_123,
                    user_agent: b"curl/8 \xff",
                    remote_ip: b"10.0.0.1:4711",
                    server_ip: b"10.0.0.2",
                    referer: b"http://shop/",
                    latency: Duration::from_millis(123),
                    protocol: b"HTTP/1.1",
                })
                .trace(&context(Sampling::Deny))
                .labels(|labels| {
                    labels.text("route", "basket");
                    labels.text("empty", "");
                    labels.text("header", b"caf\xe9");
                    labels.number("attempts", 0);
                });
        },
        expect![[r#"
            {"severity":"WARNING","time":"2018-07-25T14:06:05.499727000Z","message":"shop - GET - http://shop/basket - 404 Not Found","httpRequest":{"requestMethod":"GET","requestUrl":"http://shop/basket?q=\"x\"","requestSize":"78","status":404,"responseSize":"1234567890123","userAgent":"curl/8 �","remoteIp":"10.0.0.1:4711","serverIp":"10.0.0.2","referer":"http://shop/","latency":"0.123s","protocol":"HTTP/1.1"},"logging.googleapis.com/trace":"projects/my-project/traces/463ac35c9f6413ad48485a3953bb6124","logging.googleapis.com/spanId":"000000000000004a","logging.googleapis.com/trace_sampled":false,"logging.googleapis.com/labels":{"route":"basket","header":"caf�","attempts":"0"}}
            {"severity":"WARNING","time":"2018-07-25T14:06:05.499727000Z","message":"shop - GET - http://shop/basket - 404 Not Found","httpRequest":{"requestMethod":"GET","requestUrl":"http://shop/basket?q=\"x\"","requestSize":"78","status":404,"responseSize":"1234567890123","userAgent":"curl/8 �","remoteIp":"10.0.0.1:4711","serverIp":"10.0.0.2","referer":"http://shop/","latency":"0.123s","protocol":"HTTP/1.1"},"trace":"463ac35c9f6413ad48485a3953bb6124","spanId":"000000000000004a","traceSampled":false,"labels":{"route":"basket","header":"caf�","attempts":"0"}}"#]],
    );
}

#[test]
fn the_line_of_a_service() {
    check(
        |line| {
            line.severity(Severity::Debug)
                .message(|text| text.push("shop - done"))
                .source_location("src/main.rs", Some(42), Some("shop::basket"))
                .field("user", "ada".into())
                .field("cached", true.into())
                .field("age", Value::I64(-7))
                .field("big", Value::U64(u64::MAX))
                .field("bigger", Value::U128(u128::MAX))
                .field("least", Value::I128(i128::MIN))
                .field("fits", Value::I128(i64::MIN.into()))
                .field("ratio", 0.25.into())
                .field("whole", Value::F64(2.0))
                .field("huge", Value::F64(1e300))
                .field("minus", Value::F64(f64::NEG_INFINITY))
                .field("debug", Value::Fmt(format_args!("{:?}", Some("x"))))
                .field("json", Value::Json("[1,\n2]"));
        },
        expect![[r#"
            {"severity":"DEBUG","message":"shop - done","logging.googleapis.com/sourceLocation":{"file":"src/main.rs","line":"42","function":"shop::basket"},"user":"ada","cached":true,"age":-7,"big":18446744073709551615,"bigger":"340282366920938463463374607431768211455","least":"-170141183460469231731687303715884105728","fits":-9223372036854775808,"ratio":0.25,"whole":2.0,"huge":1e300,"minus":"-Infinity","debug":"Some(\"x\")","json":[1, 2]}
            {"severity":"DEBUG","message":"shop - done","sourceLocation":{"file":"src/main.rs","line":"42","function":"shop::basket"},"user":"ada","cached":true,"age":-7,"big":18446744073709551615,"bigger":"340282366920938463463374607431768211455","least":"-170141183460469231731687303715884105728","fits":-9223372036854775808,"ratio":0.25,"whole":2.0,"huge":1e300,"minus":"-Infinity","debug":"Some(\"x\")","json":[1, 2]}"#]],
    );
}

#[test]
fn nothing_empty_is_written() {
    check(
        |line| {
            line.http_request(&HttpRequest::default())
                .labels(|labels| labels.text("route", ""))
                .labels(|_| {})
                .source_location("", None, None)
                .rendered_field(b"");
        },
        expect![[r#"
            {}
            {}"#]],
    );
}

/// Rules 63 and 64: the plain id without a project, never `projects//traces/`; the decision is always written.
#[test]
fn trace_names() {
    let trace = |format, project_id, sampling| {
        line(format, project_id, |line| {
            line.trace(&context(sampling));
        })
        .0
    };
    let plain = r#"{"logging.googleapis.com/trace":"463ac35c9f6413ad48485a3953bb6124","logging.googleapis.com/spanId":"000000000000004a","logging.googleapis.com/trace_sampled":true}"#;
    assert_eq!(trace(Format::Stackdriver, None, Sampling::Accept), plain);
    assert_eq!(trace(Format::Stackdriver, Some(""), Sampling::Debug), plain);
    assert!(
        trace(Format::Stackdriver, Some("p\"q"), Sampling::Defer).contains(r#""projects/p\"q/traces/463ac"#)
    );
    assert!(trace(Format::Local, Some("p"), Sampling::Defer).contains(r#""traceSampled":false"#));
}

#[test]
fn latencies() {
    let latency = |latency| {
        line(Format::Local, None, |line| {
            line.http_request(&HttpRequest { latency, ..HttpRequest::default() });
        })
        .1["httpRequest"]["latency"]
            .as_str()
            .map(str::to_owned)
    };
    for (nanos, expected) in [
        (1, "0.000000001s"),
        (100, "0.0000001s"),
        (123_000_000, "0.123s"),
        (1_000_000_000, "1s"),
        (61_000_000_010, "61.00000001s"),
    ] {
        assert_eq!(latency(Duration::from_nanos(nanos)).as_deref(), Some(expected));
    }
    assert_eq!(latency(Duration::ZERO), None);
    assert_eq!(latency(Duration::MAX).as_deref(), Some("18446744073709551615.999999999s"));
}

#[test]
fn severities_of_statuses() {
    for (status, expected) in [
        (0, Severity::Info),
        (200, Severity::Info),
        (399, Severity::Info),
        (400, Severity::Warning),
        (498, Severity::Warning),
        (499, Severity::Info),
        (500, Severity::Error),
        (599, Severity::Error),
        (600, Severity::Error),
    ] {
        assert_eq!(Severity::from_http_status(status), expected, "{status}");
    }
}

#[test]
fn a_field_cannot_take_a_reserved_key() {
    check(
        |line| {
            line.severity(Severity::Warning);
            for name in
                ["severity", "time", "spanId", "logging.googleapis.com/insertId", "timestamp", "fields.time"]
            {
                line.field(name, Value::U64(1));
            }
            line.field("Severity", Value::U64(1)).field("with \"quotes\"", Value::U64(1));
        },
        expect![[r#"
            {"severity":"WARNING","fields.severity":1,"fields.time":1,"spanId":1,"fields.logging.googleapis.com/insertId":1,"fields.timestamp":1,"fields.fields.time":1,"Severity":1,"with \"quotes\"":1}
            {"severity":"WARNING","fields.severity":1,"fields.time":1,"fields.spanId":1,"logging.googleapis.com/insertId":1,"timestamp":1,"fields.fields.time":1,"Severity":1,"with \"quotes\"":1}"#]],
    );
}

#[test]
fn rendered_fields_equal_written_fields() {
    for format in [Format::Stackdriver, Format::Local] {
        let direct = line(format, None, |line| {
            line.field("trace", "x".into()).field("n", Value::U64(1));
        });
        let rendered = line(format, None, |line| {
            for (name, value) in [("trace", Value::Str("x")), ("n", Value::U64(1))] {
                let mut field = Vec::new();
                MarkedField { name, value, ..MarkedField::default() }.render(&mut field, format);
                line.rendered_field(&field);
            }
        });
        assert_eq!(direct, rendered);
    }
}

#[test]
fn long_texts_are_truncated_at_a_character_and_marked() {
    for (text, kept) in [("a", 1), ("é", 2), ("€", 3), ("😀", 4), ("\"", 2), ("\u{1}", 6)] {
        let (_, json) = line(Format::Local, None, |line| {
            line.message(|message| (0..MAX_MESSAGE_BYTES).for_each(|_| message.push(text)));
        });
        let message = json["message"].as_str().unwrap();
        assert_eq!(message, text.repeat((MAX_MESSAGE_BYTES - 3) / kept) + "…");
    }
    let (_, json) = line(Format::Local, None, |line| {
        line.message(|message| {
            message.push(&"x".repeat(MAX_MESSAGE_BYTES));
            message.push("ignored after the marker");
        });
    });
    assert!(json["message"].as_str().unwrap().ends_with("xxx…"));
}

#[test]
fn a_full_line_stays_valid_and_keeps_its_ids() {
    let long = "\u{1}".repeat(MAX_LINE_BYTES);
    let (text, json) = line(Format::Stackdriver, Some(&long), |line| {
        line.message(|text| text.push(&long));
        for number in 0..1_000 {
            line.field(&format!("{number}{long}"), Value::Str(&long))
                .field(&format!("json {number}"), Value::Json(&"1".repeat(number + 1)))
                .rendered_field(format!("\"rendered {number}\":1").as_bytes());
        }
        line.labels(|labels| (0..1_000).for_each(|number| labels.text(&format!("{number}"), &long)))
            .http_request(&HttpRequest { url: long.as_bytes(), status: 200, ..HttpRequest::default() })
            .source_location(&long, Some(1), Some(&long))
            .trace(&context(Sampling::Accept));
    });
    assert!(text.len() <= MAX_LINE_BYTES, "{}", text.len());
    assert!(text.len() > MAX_LINE_BYTES * 9 / 10);
    assert_eq!(json["logging.googleapis.com/spanId"], "000000000000004a");
}

#[test]
fn the_number_of_labels_is_limited() {
    let (_, json) = line(Format::Local, None, |line| {
        line.labels(|labels| (0..100).for_each(|number| labels.number(&format!("{number}"), number)));
    });
    assert_eq!(json["labels"].as_object().unwrap().len(), MAX_LABELS);
}

#[test]
fn a_reused_buffer_does_not_grow() {
    let mut out = Vec::new();
    let mut capacity = None;
    for number in 0..100 {
        out.clear();
        let mut line = Line::new(&mut out, Format::Stackdriver, Some("my-project"));
        line.severity(Severity::Info)
            .time(number)
            .message(|text| text.push_bytes(b"a \"message\" \xff"))
            .trace(&context(Sampling::Accept))
            .field("name", "value".into());
        line.finish();
        assert_eq!(*capacity.get_or_insert(out.capacity()), out.capacity());
    }
}

/// The limits of the documents, as numbers.
#[test]
fn limits_of_texts() {
    let long = "x".repeat(300_000);
    let length = |text: &Json| text.as_str().unwrap().len();
    let (_, json) = line(Format::Local, None, |line| {
        line.message(|text| text.push(&long))
            .field("field", Value::Str(&long))
            .labels(|labels| labels.text("label", &long))
            .http_request(&HttpRequest { url: long.as_bytes(), ..HttpRequest::default() })
            .source_location(&long, None, None);
    });
    assert_eq!(length(&json["message"]), 65_536);
    assert_eq!(length(&json["field"]), 16_384);
    assert_eq!(length(&json["labels"]["label"]), 1_024);
    assert_eq!(length(&json["httpRequest"]["requestUrl"]), 16_384);
    assert_eq!(length(&json["sourceLocation"]["file"]), 16_384);
    let (_, json) = line(Format::Local, None, |line| {
        line.field(&long, Value::U64(1));
    });
    assert_eq!(json.as_object().unwrap().keys().map(String::len).collect::<Vec<_>>(), [256]);
    assert_eq!((MAX_LINE_BYTES, MAX_LABELS), (196_608, 64));
}

/// The number of bytes that are cut, before escaping, and the name of a field in a report.
#[test]
fn marked_fields() {
    for (text, is_cut) in
        [("x".repeat(16_381), false), ("x".repeat(16_382), true), ("é\"\u{1}".repeat(5_000), true)]
    {
        for value in [Value::Str(&text), Value::Fmt(format_args!("{text}"))] {
            let (_, json) = line(Format::Local, None, |line| {
                line.error_report(&ErrorReport::default()).marked_field(&MarkedField {
                    name: "context",
                    value,
                    cut_bytes: if is_cut { 1_000 } else { 0 },
                    reserved: &[],
                });
            });
            let written = json["fields.context"].as_str().unwrap();
            if !is_cut {
                assert_eq!(written, text);
                continue;
            }
            let (kept, mark) = written.rsplit_once(" [").unwrap();
            let cut: usize = mark.strip_suffix(" bytes cut]…").unwrap().parse().unwrap();
            assert!(text.starts_with(kept));
            assert_eq!(kept.len() + cut, text.len() + 1_000);
        }
    }
}

/// A line that is nearly full takes no list without an end.
#[test]
fn a_full_line_with_lists_stays_valid() {
    let long = "x".repeat(MAX_LINE_BYTES);
    let (text, json) =
        line(Format::Local, None, |line| {
            for _ in 0..30 {
                line.marked_field(&MarkedField {
                    name: "long",
                    value: Value::Str(&long),
                    ..MarkedField::default()
                });
            }
            line.text_list("spans", (0..1_000).map(|_| long.as_str()))
                .insert_id(&long)
                .operation(&Operation { id: &long, last: true, ..Operation::default() });
        });
    assert!(text.len() <= MAX_LINE_BYTES, "{}", text.len());
    assert!(json.is_object());
    let (_, json) = line(Format::Local, None, |line| {
        line.text_list("spans", (0..1_000).map(|_| "x"));
    });
    assert_eq!(json["spans"].as_array().unwrap().len(), 64);
}

/// The limit holds for each line, not for all lines of a buffer.
#[test]
fn a_line_behind_other_lines_has_its_whole_limit() {
    let mut out = vec![b' '; 150 * 1024];
    let start = out.len();
    let text = "x".repeat(60_000);
    let mut line = Line::new(&mut out, Format::Local, None);
    line.field("first", Value::U64(1)).message(|message| message.push(&text)).field("last", Value::U64(2));
    line.finish();
    assert_eq!(
        str::from_utf8(&out[start..]).unwrap(),
        format!(r#"{{"first":1,"message":"{text}","last":2}}"#)
    );
}

/// Rendered JSON cannot be truncated: a field that exceeds the free space is dropped, and the next one is written.
#[test]
fn rendered_json_that_does_not_fit_is_dropped() {
    let large = format!("[{}]", "1,".repeat(75 * 1024 - 1) + "1");
    let (text, json) = line(Format::Local, None, |line| {
        line.message(|text| text.push(&"x".repeat(64 * 1024)))
            .field("large", Value::Json(&large))
            .rendered_field(format!("\"also large\":{large}").as_bytes())
            .field("small", Value::Json("[1]"))
            .rendered_field(b"\"also small\":1");
    });
    assert!(text.len() <= MAX_LINE_BYTES, "{}", text.len());
    let keys: Vec<_> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert_eq!((&json["small"], &json["also small"]), (&serde_json::json!([1]), &serde_json::json!(1)));
    // Alone, it fits.
    let (_, json) = line(Format::Local, None, |line| {
        line.field("large", Value::Json(&large));
    });
    assert!(json["large"].is_array());
    // 4 KiB of the line are reserved.
    for (length, is_kept) in [(192_508, true), (192_509, false)] {
        let (_, json) = line(Format::Local, None, |line| {
            line.rendered_field(format!("\"k\":\"{}\"", "x".repeat(length - 6)).as_bytes());
        });
        assert_eq!(json.as_object().unwrap().len(), usize::from(is_kept), "{length}");
    }
}

/// The names of an error report are free on all other lines.
#[test]
fn names_of_an_error_report_are_free_on_other_lines() {
    let (text, _) = line(Format::Local, None, |line| {
        assert_eq!(line.format(), Format::Local);
        line.field("context", Value::U64(1)).field("@type", Value::U64(2)).field("user", Value::U64(3));
    });
    assert_eq!(text, r#"{"context":1,"@type":2,"user":3}"#);
    let (text, _) = line(Format::Stackdriver, None, |line| {
        assert_eq!(line.format(), Format::Stackdriver);
        line.error_report(&ErrorReport::default())
            .field("context", Value::U64(1))
            .field("user", Value::U64(3));
    });
    assert!(text.ends_with(r#","fields.context":1,"user":3}"#), "{text}");
}

/// `error_report` reserves its keys for rendered fields as well. A line that is not a report does not reserve them.
#[test]
fn rendered_fields_of_an_error_report() {
    let names = ["user", "context", "@type", "serviceContext", "stack_trace", "contexts", "\"context"];
    let rendered = |is_report: bool| {
        line(Format::Local, None, |line| {
            if is_report {
                line.error_report(&ErrorReport::default());
            }
            for name in names {
                let mut field = Vec::new();
                MarkedField { name, value: Value::U64(7), ..MarkedField::default() }
                    .render(&mut field, Format::Local);
                line.rendered_field(&field);
            }
        })
        .0
    };
    assert_eq!(
        rendered(true),
        concat!(
            r#"{"@type":"type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent","#,
            r#""user":7,"fields.context":7,"fields.@type":7,"fields.serviceContext":7,"#,
            r#""fields.stack_trace":7,"contexts":7,"\"context":7}"#
        )
    );
    assert_eq!(
        rendered(false),
        r#"{"user":7,"context":7,"@type":7,"serviceContext":7,"stack_trace":7,"contexts":7,"\"context":7}"#
    );
}

#[test]
fn numbers_at_the_edges() {
    for (value, expected) in [
        (Value::I64(0), "0"),
        (Value::I64(-1), "-1"),
        (Value::I64(i64::MIN), "-9223372036854775808"),
        (Value::F64(0.0), "0.0"),
        (Value::F64(f64::INFINITY), "\"Infinity\""),
        (Value::F64(f64::NEG_INFINITY), "\"-Infinity\""),
        (Value::F64(f64::NAN), "\"NaN\""),
        (Value::I128(u64::MAX.into()), "18446744073709551615"),
        (Value::I128(i128::from(u64::MAX) + 1), "\"18446744073709551616\""),
        (Value::I128(i64::MIN.into()), "-9223372036854775808"),
        (Value::I128(i128::from(i64::MIN) - 1), "\"-9223372036854775809\""),
        (Value::I128(0), "0"),
        (Value::U128(u64::MAX.into()), "18446744073709551615"),
        (Value::U128(u128::from(u64::MAX) + 1), "\"18446744073709551616\""),
        (Value::Bool(false), "false"),
    ] {
        let mut out = Vec::new();
        MarkedField { name: "n", value, ..MarkedField::default() }.render(&mut out, Format::Local);
        assert_eq!(String::from_utf8(out).unwrap(), format!("\"n\":{expected}"));
    }
}

#[test]
fn formats_have_their_names() {
    for (name, format) in
        [("local", Ok(Format::Local)), ("stackdriver", Ok(Format::Stackdriver)), ("Local", Err(FormatError))]
    {
        assert_eq!(name.parse(), format, "{name}");
    }
    assert_eq!([Format::Local, Format::Stackdriver].map(Format::as_str), ["local", "stackdriver"]);
}

#[test]
fn a_line_is_appended() {
    let mut out = b"before ".to_vec();
    let mut line = Line::new(&mut out, Format::Local, None);
    line.field("a", Value::U64(1));
    line.finish();
    assert_eq!(out, br#"before {"a":1}"#);
}

proptest! {
    #[test]
    fn any_text_reads_back(texts in prop::collection::vec(any::<String>(), 0..4), name: String) {
        let (text, json) = line(Format::Stackdriver, None, |line| {
            line.message(|message| texts.iter().for_each(|text| message.push(text)))
                .field(&name, Value::Str(&texts.concat()));
        });
        prop_assert_eq!(json["message"].as_str().unwrap(), texts.concat());
        prop_assert_eq!(json.as_object().unwrap().len(), 2);
        if !Format::Stackdriver.is_reserved(&name) {
            prop_assert_eq!(json[&name].as_str().unwrap(), texts.concat());
        }
        prop_assert!(!text.bytes().any(|byte| byte < b' '));
    }

    /// Special bytes at every position within and across the words of the escape scan.
    #[test]
    fn any_ascii_reads_back(bytes in prop::collection::vec(0u8..0x80, 0..40)) {
        let (_, json) = line(Format::Local, None, |line| {
            line.message(|message| message.push_bytes(&bytes));
        });
        prop_assert_eq!(json["message"].as_str().unwrap().as_bytes(), bytes);
    }

    #[test]
    fn any_bytes_read_back_lossily(bytes: Vec<u8>, name: String) {
        let expected = String::from_utf8_lossy(&bytes);
        let (_, json) = line(Format::Local, None, |line| {
            line.message(|message| message.push_bytes(&bytes))
                .labels(|labels| labels.text(&name, &bytes))
                .http_request(&HttpRequest { url: &bytes, user_agent: &bytes, ..HttpRequest::default() });
        });
        prop_assert_eq!(json["message"].as_str().unwrap(), &expected);
        if !bytes.is_empty() {
            prop_assert_eq!(json["labels"][&name].as_str().unwrap(), &expected);
            prop_assert_eq!(json["httpRequest"]["userAgent"].as_str().unwrap(), &expected);
        }
    }

    #[test]
    fn any_number_reads_back(signed: i64, unsigned: u64, float: f64) {
        let (_, json) = line(Format::Local, None, |line| {
            line.field("signed", signed.into()).field("unsigned", unsigned.into()).field("float", float.into());
        });
        prop_assert_eq!(json["signed"].as_i64(), Some(signed));
        prop_assert_eq!(json["unsigned"].as_u64(), Some(unsigned));
        if float.is_finite() {
            prop_assert!((json["float"].as_f64().unwrap() - float).abs() <= float.abs() * 1e-15 + f64::MIN_POSITIVE);
        } else {
            prop_assert!(json["float"].is_string());
        }
    }
}
