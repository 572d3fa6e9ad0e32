//! The cases of the W3C's test suite for trace context, as tables for a hop.
//!
//! `make w3c` runs the suite itself.

use logtracer_harness::hop::Hop;
use logtracer_harness::wire::Connection;
use serde_json::json;

use crate::{Headers, header, values};

const TRACE: &str = "12345678901234567890123456789012";
const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-01";

/// The trace that the service receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trace {
    Continued,
    New,
}
use Trace::{Continued, New};

/// Rules 28, 29 and 30.
#[test]
fn traceparent() {
    let hop = Hop::start(json!({})).unwrap();
    let cases: &[(&str, Headers<'_>, Trace)] = &[
        ("nothing", &[], New),
        ("valid", &[("traceparent", PARENT)], Continued),
        ("twice", &[("traceparent", PARENT), ("traceparent", &PARENT.replace("9012-", "9011-"))], New),
        // As the suite requires, although both are the same.
        ("twice the same", &[("traceparent", PARENT), ("traceparent", PARENT)], New),
        ("another name", &[("trace-parent", PARENT)], New),
        ("another name with a dot", &[("trace.parent", PARENT)], New),
        ("version 00 with more", &[("traceparent", &format!("{PARENT}-and-more"))], New),
        ("version 00 with a dot", &[("traceparent", &format!("{PARENT}."))], New),
        ("a later version", &[("traceparent", &PARENT.replacen("00", "cc", 1))], Continued),
        ("a later version with more", &[("traceparent", &format!("cc{}-and-more", &PARENT[2..]))], Continued),
        (
            "a later version with a bad separator",
            &[("traceparent", &format!("cc{}.and-more", &PARENT[2..]))],
            New,
        ),
        ("version ff", &[("traceparent", &PARENT.replacen("00", "ff", 1))], New),
        ("no digits in the version", &[("traceparent", &PARENT.replacen("00", ".0", 1))], New),
        ("no digit at the version's end", &[("traceparent", &PARENT.replacen("00", "0.", 1))], New),
        ("a long version", &[("traceparent", &format!("0{PARENT}"))], New),
        ("a longer version", &[("traceparent", &format!("00{PARENT}"))], New),
        ("a short version", &[("traceparent", &PARENT[1..])], New),
        ("a trace id of zeros", &[("traceparent", &PARENT.replace(TRACE, &"0".repeat(32)))], New),
        (
            "no digits in the trace id",
            &[("traceparent", &PARENT.replace("-1234567890123456789", "-.234567890123456789"))],
            New,
        ),
        (
            "a long trace id",
            &[("traceparent", &PARENT.replace(TRACE, "123456789012345678901234567890123"))],
            New,
        ),
        ("a short trace id", &[("traceparent", &PARENT.replace(TRACE, &TRACE[1..]))], New),
        (
            "a span id of zeros",
            &[("traceparent", &PARENT.replace("-1234567890123456-", "-0000000000000000-"))],
            New,
        ),
        (
            "no digits in the span id",
            &[("traceparent", &PARENT.replace("-1234567890123456-", "-.234567890123456-"))],
            New,
        ),
        (
            "a long span id",
            &[("traceparent", &PARENT.replace("-1234567890123456-", "-12345678901234567-"))],
            New,
        ),
        (
            "a short span id",
            &[("traceparent", &PARENT.replace("-1234567890123456-", "-123456789012345-"))],
            New,
        ),
        ("no digits in the flags", &[("traceparent", &PARENT.replace("-01", "-.0"))], New),
        ("no digit at the flags' end", &[("traceparent", &PARENT.replace("-01", "-0."))], New),
        ("long flags", &[("traceparent", &PARENT.replace("-01", "-001"))], New),
        ("short flags", &[("traceparent", &PARENT.replace("-01", "-1"))], New),
        ("unknown flags", &[("traceparent", &PARENT.replace("-01", "-ff"))], Continued),
        (
            "capital digits",
            &[("traceparent", "00-ABCDEF78901234567890123456789012-1234567890123456-01")],
            New,
        ),
        ("white space around", &[("traceparent", &format!("\t {PARENT} \t"))], Continued),
    ];
    for (case, sent, expected) in cases {
        let headers = hop.echo(sent.iter().map(|(name, value)| header(name, value))).unwrap();
        let [traceparent] = values(&headers, "traceparent")[..] else { panic!("{case}: {headers:?}") };
        let fields: Vec<&str> = traceparent.split('-').collect();
        let [version, trace_id, span_id, flags] = fields[..] else { panic!("{case}: {traceparent}") };
        // New ids are random, and level 2 has a flag for that.
        let known_flags = if *case == "unknown flags" || *expected == New { "03" } else { "01" };
        assert_eq!((version, trace_id.len(), span_id.len(), flags), ("00", 32, 16, known_flags), "{case}");
        let found = if trace_id == TRACE { Continued } else { New };
        assert_eq!(found, *expected, "{case}: {traceparent}");
        assert_ne!(span_id, "1234567890123456", "{case}");
    }
}

/// Rules 31 and 32.
#[test]
fn tracestate() {
    let hop = Hop::start(json!({})).unwrap();
    let members = |numbers: std::ops::RangeInclusive<u32>| {
        numbers.map(|number| format!("m{number}={number}")).collect::<Vec<_>>().join(",")
    };
    let (longest, too_long) = ("z".repeat(256), "z".repeat(257));
    // Every character of a key and of a value.
    let every: String = ('!'..='~').filter(|character| !",=".contains(*character)).collect();
    let every = format!("abcdefghijklmnopqrstuvwxyz0123456789_-*/@={every}");
    let cases: &[(&str, &[&str], &str)] = &[
        ("none", &[], ""),
        ("one line", &["foo=1,bar=2"], "foo=1,bar=2"),
        ("empty", &[""], ""),
        ("an empty line after", &["foo=1", ""], "foo=1"),
        ("an empty line before", &["", "foo=1"], "foo=1"),
        ("several lines", &["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], "foo=1,bar=2,rojo=1,congo=2,baz=3"),
        // The suite permits either; both are kept, because the newer one is unknown.
        ("a key twice", &["foo=1,foo=2"], "foo=1,foo=2"),
        ("a key twice in two lines", &["foo=1", "foo=1"], "foo=1,foo=1"),
        ("every character", &[&every], &every),
        ("white space", &["foo=1 \t , \t bar=2, \t baz=3"], "foo=1,bar=2,baz=3"),
        ("white space around", &["\t foo=1 \t"], "foo=1"),
        ("a space in a key", &["foo =1"], ""),
        ("capitals in a key", &["FOO=1"], ""),
        ("a dot in a key", &["foo.bar=1"], ""),
        ("a sign at a key's end", &["foo@=1,bar=2"], "foo@=1,bar=2"),
        ("a sign at a key's beginning", &["@foo=1,bar=2"], ""),
        ("two signs", &["foo@@bar=1,bar=2"], "foo@@bar=1,bar=2"),
        ("two signs apart", &["foo@bar@baz=1,bar=2"], "foo@bar@baz=1,bar=2"),
        ("32 members", &[&members(1..=20), &members(21..=32)], &members(1..=32)),
        ("33 members", &[&members(1..=20), &members(21..=33)], ""),
        ("the longest key", &["foo=1", &format!("{longest}=1")], &format!("foo=1,{longest}=1")),
        ("too long a key", &["foo=1", &format!("{too_long}=1")], ""),
        ("an equal sign in a value", &["foo=bar=baz"], ""),
        ("no value", &["foo=,bar=3"], ""),
    ];
    let b3 = format!("{TRACE}-1234567890123456-1");
    // The previous hop also writes B3, which is read first and has the same context.
    for caller in
        [vec![header("traceparent", PARENT)], vec![header("traceparent", PARENT), header("b3", &b3)]]
    {
        for (case, lines, expected) in cases {
            let lines = lines.iter().map(|line| header("tracestate", line));
            let headers = hop.echo(caller.iter().copied().chain(lines)).unwrap();
            assert!(values(&headers, "traceparent")[0].contains(TRACE), "{case}");
            let members: Vec<&str> = values(&headers, "tracestate")
                .into_iter()
                .flat_map(|line| line.split(','))
                .map(str::trim)
                .collect();
            assert_eq!(members.join(","), *expected, "{case}");
        }
    }
    for (case, sent) in [
        ("without a traceparent", vec![header("tracestate", "foo=1")]),
        ("with a bad traceparent", vec![header("traceparent", "00-1"), header("tracestate", "foo=1")]),
        ("under another name", vec![header("traceparent", PARENT), header("trace-state", "foo=1")]),
    ] {
        assert_eq!(values(&hop.echo(sent).unwrap(), "tracestate"), [""; 0], "{case}");
    }
}

/// Names as on the wire; client libraries change their case.
#[test]
fn header_names_in_any_case() {
    let hop = Hop::start(json!({})).unwrap();
    for (traceparent, tracestate) in [("TraceParent", "TraceState"), ("TRACEPARENT", "TrAcEsTaTe")] {
        let mut connection = Connection::open(hop.address()).unwrap();
        let sent = format!("host: shop\r\n{traceparent}: {PARENT}\r\n{tracestate}: foo=1");
        connection.send(format!("GET /echo HTTP/1.1\r\n{sent}\r\n\r\n")).unwrap();
        let body = String::from_utf8(connection.response().unwrap().body).unwrap();
        assert!(body.contains(&format!(r#"["traceparent","00-{TRACE}-"#)), "{body}");
        assert!(body.contains(r#"["tracestate","foo=1"]"#), "{body}");
    }
}
