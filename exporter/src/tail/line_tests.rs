//! Tests of lines.

use super::*;

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

#[test]
fn both_formats_are_read() {
    let stackdriver = format!(
        r#"{{"severity":"ERROR","message":"shop - no","time":"2018-07-25T14:04:05.499727Z","logging.googleapis.com/trace":"projects/p/traces/{TRACE}","logging.googleapis.com/spanId":"00f067aa0ba902b7"}}"#
    );
    let local = format!(
        r#"  {{"severity":"ERROR","message":"shop - no","time":"2018-07-25T16:04:05.499727+02:00","trace":"{TRACE}","spanId":"00f067aa0ba902b7"}}  "#
    );
    for text in [&stackdriver, &local] {
        let line = parse(text.as_bytes(), 0).unwrap();
        assert_eq!(line.trace_id.unwrap().to_string(), TRACE);
        assert_eq!(line.span_id.map(|id| id.to_string()).as_deref(), Some("00f067aa0ba902b7"));
        assert_eq!(line.time_unix_nano, 1_532_527_445_499_727_000);
        assert_eq!((line.severity.as_str(), line.message.as_str()), ("ERROR", "shop - no"));
        assert_eq!(line.line, text.trim());
    }
}

#[test]
fn a_line_of_docker_is_what_the_container_printed() {
    let line = |time: &str| {
        format!(
            r#"{{"log":"{{\"message\":\"m\"{time}}}\n","stream":"stdout","time":"1970-01-01T00:00:02.5Z"}}"#
        )
    };
    let of = |time| parse(line(time).as_bytes(), 7).unwrap();
    let printed = of("");
    assert_eq!((printed.message.as_str(), printed.time_unix_nano), ("m", 2_500_000_000));
    assert_eq!(printed.line, r#"{"message":"m"}"#);
    assert_eq!(of(r#",\"time\":\"1970-01-01T00:00:01Z\""#).time_unix_nano, 1_000_000_000);
    let text = r#"{"log":"plain text\n","stream":"stdout","time":"1970-01-01T00:00:02Z"}"#;
    assert_eq!(parse(text.as_bytes(), 7), Err(Skip::NotJson));
}

#[test]
fn the_prefix_of_the_kubelet_contains_the_time() {
    let prefix = "1970-01-01T00:00:01.000000005Z stdout F ";
    let line = format!("{prefix}{{\"trace\":\"{TRACE}\",\"message\":\"a\"}}\n");
    let parsed = parse(line.as_bytes(), 7).unwrap();
    assert_eq!((parsed.time_unix_nano, parsed.message.as_str()), (1_000_000_005, "a"));
    assert_eq!(parse(format!("{prefix}no json").as_bytes(), 7), Err(Skip::NotJson));
    // What a container has written begins with a byte order mark.
    let marked = parse(format!("{prefix}\u{feff}{{\"message\":\"b\"}}").as_bytes(), 7).unwrap();
    assert_eq!(marked.message, "b");
}

#[test]
fn all_time_formats_are_read() {
    for (member, expected) in [
        (r#""time":"1970-01-01T00:00:01Z""#, 1_000_000_000),
        (r#""time":"1970-01-01T00:00:01.000000005+00:00""#, 1_000_000_005),
        (r#""time":"1970-01-01T00:00:01.5""#, 1_500_000_000),
        (r#""time":"1970-01-01T00:00:01.0000000059Z""#, 1_000_000_005),
        (r#""time":"1970-01-01T01:00:01,123456789012345+01:00""#, 1_123_456_789),
        (r#""time":"1970-01-01T00:00:01.000000001999""#, 1_000_000_001),
        (r#""time":1e999,"timestamp":"1970-01-01T00:00:02Z""#, 2_000_000_000),
        (r#""timestamp":"1970-01-01T00:00:02Z""#, 2_000_000_000),
        (r#""timestamp":{"seconds":3,"nanos":4}"#, 3_000_000_004),
        (r#""timestampSeconds":"5","timestampNanos":"6""#, 5_000_000_006),
        (r#""timestampSeconds":5"#, 5_000_000_000),
        (r#""timestampSeconds":18446744073709551615"#, 7),
        (r#""time":"yesterday""#, 7),
        (r#""time":"1960-01-01T00:00:00Z""#, 7),
        (r#""time":9"#, 7),
        (r#""a":1"#, 7),
        // An invalid time does not hide a valid one.
        (r#""time":"bad","timestamp":"1970-01-01T00:00:02Z""#, 2_000_000_000),
        (r#""time":null,"timestamp":"1970-01-01T00:00:02Z""#, 2_000_000_000),
        (r#""time":"1970-01-01T00:00:01Z","timestamp":"bad""#, 1_000_000_000),
        (r#""time":"bad","timestamp":{"seconds":3,"nanos":4}"#, 3_000_000_004),
        (r#""timestamp":{"seconds":3}"#, 3_000_000_000),
        (r#""timestamp":{"nanos":4.0,"seconds":3.0}"#, 3_000_000_004),
        (r#""timestampSeconds":5.0,"timestampNanos":"6""#, 5_000_000_006),
        (r#""time":{"seconds":3,"other":[{}],"nanos":"4"}"#, 3_000_000_004),
        (r#""timestamp":"bad","timestampSeconds":5,"timestampNanos":6"#, 5_000_000_006),
        (r#""timestamp":{"seconds":"x"},"timestampSeconds":5"#, 5_000_000_000),
        (r#""timestamp":{"seconds":{"seconds":1}},"timestampSeconds":5"#, 5_000_000_000),
        (r#""timestamp":[{"seconds":1}],"timestampSeconds":5,"timestampNanos":null"#, 5_000_000_000),
    ] {
        let text = format!(r#"{{"trace":"{TRACE}",{member}}}"#);
        assert_eq!(parse(text.as_bytes(), 7).unwrap().time_unix_nano, expected, "{member}");
    }
}

#[test]
fn other_lines_are_skipped() {
    for (text, reason) in [
        (&b""[..], Skip::Empty),
        (b" \r\n", Skip::Empty),
        (b"[info] starting", Skip::NotJson),
        (b"{\"trace\":", Skip::NotJson),
        (b"{} {}", Skip::NotJson),
        (b"{\"a\":\"\\\n\"}", Skip::NotJson),
        (b"[]", Skip::NotJson),
    ] {
        assert_eq!(parse(text, 0), Err(reason), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_line_without_a_valid_trace_has_none() {
    for text in [
        &b"{}"[..],
        b"{\"trace\":\"\xff\"}",
        b"{\"trace\":7}",
        b"{\"trace\":\"projects/p/traces/\"}",
        b"{\"trace\":\"00000000000000000000000000000000\"}",
    ] {
        assert_eq!(parse(text, 0).unwrap().trace_id, None, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn an_invalid_id_does_not_hide_a_valid_one() {
    let other = "0af7651916cd43dd8448eb211c80319c";
    for (members, trace, span) in [
        (format!(r#""logging.googleapis.com/trace":"bad","trace":"{TRACE}""#), TRACE, None),
        (format!(r#""logging.googleapis.com/trace":7,"trace":"{TRACE}""#), TRACE, None),
        (
            format!(r#""logging.googleapis.com/trace":"projects/p/traces/{other}","trace":"{TRACE}""#),
            other,
            None,
        ),
        (format!(r#""trace":"{other}","trace":"{TRACE}""#), TRACE, None),
        (
            format!(r#""trace":"{TRACE}","logging.googleapis.com/spanId":"0","spanId":"00f067aa0ba902b7""#),
            TRACE,
            Some("00f067aa0ba902b7"),
        ),
    ] {
        let line = parse(format!("{{{members}}}").as_bytes(), 0).unwrap();
        let span_id = line.span_id.map(|id| id.to_string());
        assert_eq!(
            (line.trace_id.unwrap().to_string().as_str(), span_id.as_deref()),
            (trace, span),
            "{members}"
        );
    }
}

#[test]
fn what_is_no_character_does_not_cost_the_line() {
    for (members, message, severity) in [
        (&br#""message":"cut \ud83d","severity":"\udc00""#[..], "cut \u{fffd}", "DEFAULT"),
        (br#""message":"a","other":"\ud83d","\ud83d":{"\udfff":["\ud800"]}"#, "a", "DEFAULT"),
        (br#""message":"\ud83d\ude00 \\ud83d""#, "\u{1f600} \\ud83d", "DEFAULT"),
        (b"\"message\":\"caf\xe9\",\"\xff\":\"\xff\"", "caf\u{fffd}", "DEFAULT"),
        (b"\"message\":\"\x1b[1ma\tb\",\"\t\":\"\\\"\x01\"", "\u{1b}[1ma\tb", "DEFAULT"),
        (br#""message":"a","severity":400"#, "a", "WARNING"),
        (br#""message":"a","severity":"500""#, "a", "ERROR"),
        (br#""message":"a","severity":30"#, "a", "DEFAULT"),
    ] {
        let text = [b"{\"trace\":\"", TRACE.as_bytes(), b"\",", members, b"}"].concat();
        for text in [text.clone(), [b"\xef\xbb\xbf", &text[..], b"\r\n"].concat()] {
            let line = parse(&text, 0).unwrap();
            assert_eq!((line.message.as_str(), line.severity.as_str()), (message, severity));
            serde_json::from_str::<serde_json::Value>(&line.line).unwrap();
        }
    }
}

#[test]
fn a_number_that_is_not_json_is_a_text() {
    for (number, text) in [("NaN", "NaN"), ("-Infinity", "-Infinity"), ("Infinity", "Infinity")] {
        let members = |number: &str| format!(r#"{{"trace":"{TRACE}","message":"NaN","a":[{number},1e999]}}"#);
        let line = parse(members(number).as_bytes(), 0).unwrap();
        assert_eq!((line.message.as_str(), line.line), ("NaN", members(&format!("{text:?}"))));
    }
}

#[test]
fn the_severity_is_one_of_google_s() {
    for (text, expected) in
        [("WARNING", "WARNING"), ("warn", "WARNING"), ("Fatal", "CRITICAL"), ("audit", "DEFAULT")]
    {
        let line = format!(r#"{{"trace":"{TRACE}","severity":"{text}"}}"#);
        let parsed = parse(line.as_bytes(), 0).unwrap();
        assert_eq!((parsed.severity.as_str(), parsed.line), (expected, line));
    }
}

#[test]
fn a_deeply_nested_line_is_read() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = format!(r#"{{"trace":"{TRACE}","a":{nested}}}"#);
    assert_eq!(parse(text.as_bytes(), 0).unwrap().trace_id.unwrap().to_string(), TRACE);
}

#[test]
fn an_invalid_span_id_is_ignored() {
    let text = format!(r#"{{"trace":"{TRACE}","spanId":"xyz","severity":3}}"#);
    let line = parse(text.as_bytes(), 0).unwrap();
    assert_eq!((line.span_id, line.severity.as_str()), (None, "DEFAULT"));
}
