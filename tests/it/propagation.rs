//! Headers of the caller in, headers of the service out.

use logtracer_tests::hop::Hop;
use serde_json::json;

use crate::{NONE, header, values};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
const SPAN: &str = "00f067aa0ba902b7";

/// Every row of the table that core is tested with, through Envoy: the service gets the same context in each of
/// the default formats, with a span id of this hop, and nothing else.
#[test]
fn the_table_of_headers() {
    let hop = Hop::start(json!({})).unwrap();
    let rows = rows();
    assert!(rows.len() > 50);
    let failed: Vec<String> = rows.iter().filter_map(|row| check_row(&hop, row).err()).collect();
    assert!(failed.is_empty(), "{} of {} rows:\n{}", failed.len(), rows.len(), failed.join("\n"));
}

struct Row {
    case: &'static str,
    headers: Vec<(&'static str, Vec<u8>)>,
    trace_id: Option<&'static str>,
    span_id: Option<&'static str>,
    sampling: &'static str,
}

fn rows() -> Vec<Row> {
    let lines =
        include_str!("../data/extract.tsv").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let id = |text: &'static str| Some(text).filter(|text| *text != "-");
            Row {
                case: columns[1],
                headers: columns[2].split(" || ").map(parse_header).collect(),
                trace_id: id(columns[4]),
                span_id: id(columns[5]),
                sampling: columns[7],
            }
        })
        .collect()
}

fn parse_header(text: &str) -> (&str, Vec<u8>) {
    let (name, value) = text.split_once(": ").expect("name: value");
    let mut bytes = Vec::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend(before.as_bytes());
        bytes.push(u8::from_str_radix(&after[..2], 16).expect("two hexadecimal digits"));
        rest = &after[2..];
    }
    bytes.extend(rest.as_bytes());
    (name, bytes)
}

fn check_row(hop: &Hop, row: &Row) -> Result<(), String> {
    let sent = row.headers.iter().map(|(name, value)| (*name, value.as_slice()));
    let headers = hop.echo(sent).map_err(|error| format!("{}: {error}", row.case))?;
    let one = |name: &str| match values(&headers, name)[..] {
        [value] => Ok(value.to_owned()),
        ref found => Err(format!("{}: {} of {name} in {headers:?}", row.case, found.len())),
    };
    let check = |what: &str, found: String, expected: String| {
        if found == expected {
            Ok(())
        } else {
            Err(format!("{}: {what} is {found}, not {expected}", row.case))
        }
    };

    let trace = one("x-b3-traceid")?;
    let span = one("x-b3-spanid")?;
    match row.trace_id {
        Some(id) => check("the trace id", trace.clone(), id.to_owned())?,
        None if trace.len() == 32 && trace != TRACE && trace.bytes().any(|digit| digit != b'0') => {}
        None => return Err(format!("{}: {trace} is not a new trace id", row.case)),
    }
    if Some(span.as_str()) == row.span_id {
        return Err(format!("{}: the caller's span id went on", row.case));
    }
    let parents = values(&headers, "x-b3-parentspanid");
    check("the parent", format!("{parents:?}"), format!("{:?}", row.span_id.as_slice()))?;

    // A caller that has not decided leaves it to the rate, which is 1.
    let (b3, bit) = match row.sampling {
        "deny" => (("x-b3-sampled", "0"), 0),
        "debug" => (("x-b3-flags", "1"), 1),
        _ => (("x-b3-sampled", "1"), 1),
    };
    check(b3.0, one(b3.0)?, b3.1.to_owned())?;
    check("traceparent", one("traceparent")?, format!("00-{trace}-{span}-0{bit}"))?;
    let decimal = u64::from_str_radix(&span, 16).map_err(|error| format!("{}: {span}: {error}", row.case))?;
    check("x-cloud-trace-context", one("x-cloud-trace-context")?, format!("{trace}/{decimal};o={bit}"))?;

    let other = if row.sampling == "debug" { "x-b3-sampled" } else { "x-b3-flags" };
    for name in ["b3", "grpc-trace-bin", other] {
        check(name, format!("{:?}", values(&headers, name)), "[]".to_owned())?;
    }
    Ok(())
}

#[test]
fn only_the_formats_that_are_asked_for() {
    let hop = Hop::start(json!({ "propagation": { "extract": ["cloud-trace"], "inject": ["b3"] } })).unwrap();
    let cloud = format!("{TRACE}/1;o=1");
    let headers = hop
        .echo([
            header("x-cloud-trace-context", &cloud),
            header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            header("tracestate", "a=b"),
            header("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ])
        .unwrap();

    let [b3] = values(&headers, "b3")[..] else { panic!("no b3 in {headers:?}") };
    assert!(b3.starts_with(TRACE) && b3.ends_with("-1-0000000000000001"), "{b3}");
    for removed in ["x-cloud-trace-context", "traceparent", "tracestate", "x-b3-traceid"] {
        assert_eq!(values(&headers, removed), [""; 0], "{removed}");
    }
}

#[test]
fn tracestate_stays_with_its_context() {
    let hop = Hop::start(json!({})).unwrap();
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    let w3c = [header("traceparent", &traceparent), header("tracestate", "a=b"), header("tracestate", "c=d")];

    let headers = hop.echo(w3c).unwrap();
    assert_eq!(values(&headers, "tracestate").join(","), "a=b,c=d");

    let other = format!("4bf92f3577b34da6a3ce929d0e0e4736-{SPAN}-1");
    let headers = hop.echo(w3c.into_iter().chain([header("b3", &other)])).unwrap();
    assert_eq!(values(&headers, "tracestate"), [""; 0]);
}

#[test]
fn a_rate_of_zero_denies_what_nobody_decided() {
    let hop = Hop::start(json!({ "sampling": { "rate": 0 } })).unwrap();
    assert_eq!(values(&hop.echo(NONE).unwrap(), "x-b3-sampled"), ["0"]);

    let decided = format!("{TRACE}-{SPAN}-1");
    assert_eq!(values(&hop.echo([header("b3", &decided)]).unwrap(), "x-b3-sampled"), ["1"]);

    let lines = hop.envoy.lines(2).unwrap();
    assert_eq!(lines[0]["logging.googleapis.com/trace_sampled"], false);
    assert_eq!(lines[1]["logging.googleapis.com/trace_sampled"], true);
}
