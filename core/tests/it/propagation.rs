//! Extraction and injection: the shared tables, and properties for any context.

use std::collections::HashMap;

use logtracer_core::propagation::{Format, Formats, Header, Propagator, TraceHeaders, TraceState};
use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[path = "../../../tests/data/extract.rs"]
mod extract;

const INJECT: &str = include_str!("../../../tests/data/inject.tsv");

#[test]
fn every_row_of_extract() {
    let rows = extract::rows().unwrap();
    assert!(rows.len() > 150, "the table was read");
    for row in rows {
        let headers = TraceHeaders::collect(row.headers.iter().map(|(name, value)| (name, value)));
        let extracted = Propagator::default().extract(&headers);

        let context = extracted.parent;
        let invalid: Vec<_> = extracted.invalid.iter().map(Format::as_str).collect();
        let actual = [
            text(extracted.format),
            text(context.map(|context| context.trace_id)),
            text(context.and_then(|context| context.span_id)),
            text(context.and_then(|context| context.parent_span_id)),
            format!("{:?}", extracted.sampling).to_lowercase(),
            text((!invalid.is_empty()).then(|| invalid.join(","))),
            text(extracted.conflict.then_some("yes")),
        ];
        let expected = [
            row.format,
            row.trace_id,
            row.span_id,
            row.parent_span_id,
            row.sampling,
            row.invalid,
            row.conflict,
        ];
        assert_eq!(actual, expected, "{}", row.case);
    }
}

#[test]
fn every_row_of_inject() {
    for row in rows_of(INJECT) {
        let &[_rules, format, trace, span, parent, sampling, headers] = &row[..] else {
            panic!("a row has seven columns: {row:?}");
        };
        let context = TraceContext {
            trace_id: trace.parse().unwrap(),
            span_id: span.parse().unwrap(),
            parent_span_id: (parent != "-").then(|| parent.parse().unwrap()),
            sampling: sampling_of(sampling),
            random_trace_id: false,
        };
        let written = inject(format.parse().unwrap(), &context, &TraceState::default());
        let expected: Vec<_> = headers.split(" || ").map(str::to_owned).collect();
        assert_eq!(written, expected, "{row:?}");
    }
}

/// Rule 29, level 2: the random flag of the caller's `traceparent` is propagated with its trace id, also if another
/// format is extracted first.
#[test]
fn a_random_trace_id_stays_random() {
    let random = "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-03";
    let same = "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1";
    let other = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1";
    let root = TraceContext::root(TraceId::new(1).unwrap(), SpanId::new(2).unwrap(), Sampling::Accept);
    let [written] = &inject(Format::TraceContext, &root.with_random_trace_id(), &TraceState::default())[..]
    else {
        panic!("one header")
    };
    assert!(written.ends_with("-03"), "{written}");
    for (b3, flags) in [(None, "03"), (Some(same), "03"), (Some(other), "01")] {
        let lines = [("traceparent", Some(random)), ("b3", b3)];
        let headers =
            TraceHeaders::collect(lines.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let context = Propagator::default().extract(&headers).parent.unwrap().child(SpanId::new(9).unwrap());
        let [written] = &inject(Format::TraceContext, &context, &TraceState::default())[..] else {
            panic!("one header")
        };
        assert!(written.ends_with(&format!("-0000000000000009-{flags}")), "{b3:?}: {written}");
    }
}

/// Rules 29 and 30: two bits of the flags have a meaning and are written; the others are dropped.
#[test]
fn flags_of_traceparent() {
    for (flags, random, sampling, written_flags) in [
        ("00", false, Sampling::Deny, "00"),
        ("01", false, Sampling::Accept, "01"),
        ("02", true, Sampling::Deny, "02"),
        ("03", true, Sampling::Accept, "03"),
        ("04", false, Sampling::Deny, "00"),
        ("fc", false, Sampling::Deny, "00"),
        ("fd", false, Sampling::Accept, "01"),
        ("fe", true, Sampling::Deny, "02"),
        ("ff", true, Sampling::Accept, "03"),
    ] {
        let value = format!("00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-{flags}");
        let headers = TraceHeaders::collect([("traceparent", &value)]);
        let parent = Propagator::default().extract(&headers).parent.unwrap();
        assert_eq!((parent.random_trace_id, parent.sampling), (random, sampling), "{flags}");
        let context = parent.child(SpanId::new(9).unwrap());
        let [written] = &inject(Format::TraceContext, &context, &TraceState::default())[..] else {
            panic!("one header")
        };
        let expected =
            format!("traceparent: 00-463ac35c9f6413ad48485a3953bb6124-0000000000000009-{written_flags}");
        assert_eq!(*written, expected, "{flags}");
    }
}

#[test]
fn each_header_is_found_by_its_name() {
    for header in Header::ALL {
        let name = header.name();
        assert_eq!(Header::from_lower_case(name.as_bytes()), Some(header), "{name}");
        assert_eq!(Header::from_name(name.to_uppercase().as_bytes()), Some(header), "{name}");
        let other = format!("{name}x");
        assert_eq!(Header::from_name(other.as_bytes()), None, "{other}");
    }
}

/// Rules 7 and 36: only the headers of the inject list remain.
#[test]
fn injection_removes_every_other_trace_header() {
    let context = TraceContext::root(TraceId::new(1).unwrap(), SpanId::new(2).unwrap(), Sampling::Accept);
    let propagator = Propagator { inject: Formats::of(&[Format::CloudTrace]), ..Propagator::default() };
    let mut lines: Vec<(String, String)> =
        Header::ALL.iter().map(|header| (header.name().to_uppercase(), "0".to_owned())).collect();
    lines.push(("Host".to_owned(), "shop".to_owned()));
    let mut map: HashMap<_, _> = lines.iter().cloned().collect();
    propagator.inject(&context, &TraceState::default(), &mut lines);
    propagator.inject(&context, &TraceState::default(), &mut map);
    let expected = [("Host", "shop"), ("x-cloud-trace-context", "00000000000000000000000000000001/2;o=1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(lines, expected);
    assert_eq!(map, HashMap::from(expected));
}

/// Rule 42.
#[test]
fn every_trace_header_is_stripped() {
    let headers = Header::ALL.map(Header::name).into_iter().chain(["accept", "baggage-of-mine"]);
    let mut carrier: Vec<(String, String)> = headers.map(|name| (name.to_owned(), "x".to_owned())).collect();
    Propagator::strip(&mut carrier);
    let left: Vec<_> = carrier.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left, ["accept", "baggage-of-mine"]);
}

/// Rules 31 and 32: the lines are joined in order, and a malformed line or another trace id drops them all.
#[test]
fn tracestate_goes_with_its_traceparent() {
    const PARENT: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let longest_value = format!("tracestate: k={}", "v".repeat(256));
    let too_long_value = format!("tracestate: k={}", "v".repeat(257));
    let (longest_key, too_long_key) =
        (format!("tracestate: {}=1", "z".repeat(256)), format!("tracestate: {}=1", "z".repeat(257)));
    let cases = [
        ("one line", vec![PARENT, "tracestate: a=1,b=2"], Some("a=1,b=2")),
        ("two lines", vec![PARENT, "tracestate: a=1", "tracestate: b=2,c=3"], Some("a=1,b=2,c=3")),
        ("spaces and empty members", vec![PARENT, "tracestate: a=1 ,, b=2"], Some("a=1 ,, b=2")),
        ("an empty line", vec![PARENT, "tracestate: ", "tracestate: a=1"], Some("a=1")),
        ("tenant", vec![PARENT, "tracestate: 0te_n-a*n/t@ve=1"], Some("0te_n-a*n/t@ve=1")),
        ("longest value", vec![PARENT, &longest_value], Some(&longest_value[12..])),
        ("value too long", vec![PARENT, &too_long_value], None),
        ("a space before the value", vec![PARENT, "tracestate: a= 1"], Some("a= 1")),
        ("@ anywhere in a key", vec![PARENT, "tracestate: a@=1,b@@c@d=2"], Some("a@=1,b@@c@d=2")),
        ("@ first", vec![PARENT, "tracestate: @a=1"], None),
        ("longest key", vec![PARENT, &longest_key], Some(&longest_key[12..])),
        ("key too long", vec![PARENT, &too_long_key], None),
        ("upper-case key", vec![PARENT, "tracestate: A=1"], None),
        ("no value", vec![PARENT, "tracestate: a="], None),
        ("two equal signs", vec![PARENT, "tracestate: a=b=c"], None),
        ("not ASCII", vec![PARENT, "tracestate: a=\u{e9}"], None),
        ("without traceparent", vec!["tracestate: a=1"], None),
        ("bad traceparent", vec!["traceparent: 00-x", "tracestate: a=1"], None),
        (
            "b3 first, same trace",
            vec![PARENT, "tracestate: a=1", "b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"],
            Some("a=1"),
        ),
        (
            "b3 first, another trace",
            vec![PARENT, "tracestate: a=1", "b3: 463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1"],
            None,
        ),
    ];
    for (case, lines, expected) in cases {
        let lines: Vec<_> = lines.iter().filter_map(|line| line.split_once(": ")).collect();
        let headers = TraceHeaders::collect(lines.iter().copied());
        let extracted = Propagator::default().extract(&headers);
        let line = extracted.tracestate.with_line(str::to_owned);
        assert_eq!(line.as_deref(), expected, "{case}");
    }
}

/// Rule 31: at most 32 members, and at most 8,191 bytes in all lines with the commas between them.
#[test]
fn bounds_of_tracestate() {
    let members = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
    // 16 members at most, so that only the length counts.
    let bytes = |length: usize| {
        let member = format!("{}={}", "k".repeat(255), "v".repeat(256));
        let mut line = vec![member; length / 513].join(",");
        line.push_str(&" ".repeat(length - line.len()));
        line.replace_range(length - 2.., ",,");
        line
    };
    for (lines, is_kept) in [
        (vec![members(32)], true),
        (vec![members(33)], false),
        (vec![members(31), members(1)], true),
        (vec![members(32), members(1)], false),
        (vec![members(32), String::new()], true),
        (vec![" , ".to_owned(), String::new()], false),
        (vec![bytes(8_191)], true),
        (vec![bytes(8_192)], false),
        (vec![bytes(4_095), bytes(4_095)], true),
        (vec![bytes(4_095), bytes(4_096)], false),
        (vec![bytes(3_000), bytes(3_000), bytes(2_189)], true),
        (vec![bytes(3_000), bytes(3_000), bytes(2_190)], false),
    ] {
        let lengths: Vec<_> = lines.iter().map(String::len).collect();
        let parent = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let headers = TraceHeaders::collect(
            lines.iter().map(|line| ("tracestate", line.as_str())).chain(core::iter::once(parent)),
        );
        let extracted = Propagator::default().extract(&headers);
        let expected: Vec<_> = lines.iter().filter(|line| !line.is_empty()).map(String::as_str).collect();
        let written = extracted.tracestate.with_line(str::to_owned);
        assert!(written == is_kept.then(|| expected.join(",")), "{lengths:?}");
        if let [line] = &lines[..] {
            assert_eq!(TraceState::from_line(line).is_empty(), !is_kept, "{lengths:?}");
        }
    }
}

/// Rule 31: a `tracestate` with an ignored line is dropped, also if lines of other headers filled the space.
#[test]
fn an_incomplete_tracestate_is_dropped() {
    let lines_with = |members: usize, others: usize| {
        let mut lines =
            vec![("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned())];
        lines.extend((0..others).map(|_| ("x-b3-flags", "0".to_owned())));
        lines.extend((0..members).map(|member| ("tracestate", format!("k{member}=v"))));
        let headers = TraceHeaders::collect(lines.iter().map(|(name, value)| (name, value)));
        let extracted = Propagator::default().extract(&headers);
        assert!(extracted.parent.is_some());
        extracted.tracestate.with_line(|line| line.split(',').count())
    };
    for (members, others, expected) in
        [(1, 0, Some(1)), (15, 0, Some(15)), (16, 0, None), (40, 0, None), (3, 14, None), (3, 10, Some(3))]
    {
        assert_eq!(lines_with(members, others), expected, "{members} lines after {others} others");
    }
}

/// Rule 39: a value that is too long is invalid, also if it starts with a valid one.
#[test]
fn lengths_are_capped() {
    for header in Header::ALL {
        let start = match header {
            Header::B3 => "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1",
            Header::Traceparent => "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01",
            Header::XCloudTraceContext => "463ac35c9f6413ad48485a3953bb6124/1;o=1",
            _ => "463ac35c9f6413ad48485a3953bb6124",
        };
        for filling in ["0", "-", ",", &format!(",{start}")] {
            let value = format!("{start}{}", filling.repeat(60_000 / filling.len()));
            let headers = TraceHeaders::collect([(header.name(), &value)]);
            let extracted = Propagator::default().extract(&headers);
            assert!(extracted.parent.is_none(), "{header:?} {filling}");
            assert!(!extracted.sampling.is_decided(), "{header:?} {filling}");
        }
    }
}

/// Rule 26: the load balancer's `;o=0` is recognized. It also writes it to `traceparent`.
#[test]
fn a_zero_of_the_load_balancer_is_recognized() {
    const ZERO: (&str, &str) = ("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000/123;o=0");
    const PARENT: &str = "105445aa7843bc8bf206b12000100000-00f067aa0ba902b7";
    let unsampled = format!("00-{PARENT}-00");
    let other = unsampled.replace("105445aa", "905445aa");
    let denied = format!("{PARENT}-0");
    let elsewhere = denied.replace("105445aa", "905445aa");
    let cases: [(&[(&str, &str)], bool); 9] = [
        (&[ZERO], true),
        (&[ZERO, ("traceparent", &unsampled)], true),
        (&[("traceparent", &unsampled)], false),
        (&[ZERO, ("traceparent", &other)], false),
        (&[ZERO, ("b3", "0")], false),
        (&[ZERO, ("b3", &format!("{PARENT}-1"))], false),
        (&[ZERO, ("b3", &denied)], false),
        (
            &[ZERO, ("x-b3-traceid", &PARENT[..32]), ("x-b3-spanid", &PARENT[33..]), ("x-b3-sampled", "0")],
            false,
        ),
        (&[ZERO, ("b3", &elsewhere)], false),
    ];
    for (lines, expected) in cases {
        let headers = TraceHeaders::collect(lines.iter().copied());
        assert_eq!(Propagator::default().extract(&headers).cloud_trace_zero, expected, "{lines:?}");
    }
}

proptest! {
    /// Extraction returns the injected context in every format, as far as the format can carry it.
    #[test]
    fn an_injected_context_is_extracted(context in contexts()) {
        for format in Format::ALL {
            let lines = inject(format, &context, &TraceState::default());
            let lines: Vec<_> = lines.iter().filter_map(|line| line.split_once(": ")).collect();
            let headers = TraceHeaders::collect(lines);
            let extracted = Propagator::default().extract(&headers);
            let parent = extracted.parent.unwrap();
            prop_assert_eq!(extracted.format, Some(format));
            prop_assert_eq!(parent.trace_id, context.trace_id);
            prop_assert_eq!(parent.span_id, Some(context.span_id));
            prop_assert!(extracted.invalid.is_empty());
            let expected = match (format, context.sampling) {
                (Format::B3 | Format::B3Multi, sampling) => sampling,
                (Format::CloudTrace, Sampling::Defer) => Sampling::Defer,
                (_, sampling) => Sampling::from_sampled(sampling.is_sampled()),
            };
            prop_assert_eq!(parent.sampling, expected);
        }
    }

    /// Rule 38.
    #[test]
    fn no_header_value_panics(values in proptest::collection::vec((0usize..10, proptest::collection::vec(any::<u8>(), 0..200)), 0..40)) {
        let headers = TraceHeaders::collect(values.iter().map(|(index, value)| (Header::ALL[*index].name(), value)));
        let extracted = Propagator::default().extract(&headers);
        let _ = extracted.tracestate.with_line(str::len);
    }

    /// Valid values with one byte changed.
    #[test]
    fn no_nearly_valid_value_panics(context in contexts(), at in 0usize..60, byte in any::<u8>()) {
        for format in Format::ALL {
            for line in inject(format, &context, &TraceState::default()) {
                let (name, value) = line.split_once(": ").unwrap();
                let mut value = value.as_bytes().to_vec();
                let at = at % value.len();
                value[at] = byte;
                let headers = TraceHeaders::collect([(name, &value)]);
                let _ = Propagator::default().extract(&headers);
            }
        }
    }
}

// === helpers ===

fn inject(format: Format, context: &TraceContext, tracestate: &TraceState<'_>) -> Vec<String> {
    let mut lines: Vec<(String, String)> = Vec::new();
    Propagator { inject: Formats::of(&[format]), ..Propagator::default() }
        .inject(context, tracestate, &mut lines);
    lines.into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
}

fn contexts() -> impl Strategy<Value = TraceContext> {
    let sampling = prop_oneof![
        Just(Sampling::Accept),
        Just(Sampling::Deny),
        Just(Sampling::Defer),
        Just(Sampling::Debug)
    ];
    (1u128.., 1u64.., 0u64.., sampling, any::<bool>()).prop_map(|(trace, span, parent, sampling, random)| {
        TraceContext {
            trace_id: TraceId::new(trace).unwrap(),
            span_id: SpanId::new(span).unwrap(),
            parent_span_id: SpanId::new(parent),
            sampling,
            random_trace_id: random,
        }
    })
}

fn rows_of(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

fn sampling_of(name: &str) -> Sampling {
    match name {
        "accept" => Sampling::Accept,
        "deny" => Sampling::Deny,
        "defer" => Sampling::Defer,
        "debug" => Sampling::Debug,
        other => panic!("not a decision: {other}"),
    }
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
