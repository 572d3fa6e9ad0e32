//! Trace headers from the caller to the service.

use logtracer_harness::cases::{self, Case};
use logtracer_harness::hop::Hop;
use serde_json::json;

use crate::{CALLER, NONE, TRACE, header, values};

/// Sends every row of the shared tables through Envoy, also the headers that logtracer itself writes. The service
/// receives the same context in each of the default formats, with a span id of this hop.
#[test]
fn the_table_of_headers() {
    let hop = Hop::start(json!({})).unwrap();
    let mut cases = cases::all().unwrap();
    assert!(cases.len() > 50);
    cases.extend(cases::injected().unwrap());
    let check = |case: &Case| hop.echo(case.sent()).and_then(|headers| case.check(&headers));
    let failed: Vec<String> =
        cases.iter().filter_map(|case| check(case).err()).map(|error| error.to_string()).collect();
    assert!(failed.is_empty(), "{} of {} rows:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

/// Rule 39: trace headers of any length and number fail no request and are not forwarded.
#[test]
fn oversize_headers() {
    let hop = Hop::start(json!({})).unwrap();
    let start = format!("{TRACE}-{CALLER}-1");
    let names = ["b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"]
        .into_iter()
        .chain(["traceparent", "tracestate", "x-cloud-trace-context", "grpc-trace-bin"]);
    for name in names {
        let long = format!("{start}{}", "0".repeat(30_000));
        let list = format!("{start},").repeat(500);
        for sent in [vec![long.as_str()], vec![&list], vec![start.as_str(); 80]] {
            let headers = hop.echo(sent.iter().map(|value| header(name, value))).unwrap();
            let forwarded: usize = headers.iter().map(|(_, value)| value.len()).sum();
            assert!(forwarded < 1000, "{name}: {forwarded} bytes");
            assert_eq!(values(&headers, "x-b3-traceid").len(), 1, "{name}");
        }
    }
}

#[test]
fn only_the_configured_formats() {
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
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let w3c = [header("traceparent", &traceparent), header("tracestate", "a=b"), header("tracestate", "c=d")];

    let headers = hop.echo(w3c).unwrap();
    assert_eq!(values(&headers, "tracestate").join(","), "a=b,c=d");

    let other = format!("4bf92f3577b34da6a3ce929d0e0e4736-{CALLER}-1");
    let headers = hop.echo(w3c.into_iter().chain([header("b3", &other)])).unwrap();
    assert_eq!(values(&headers, "tracestate"), [""; 0]);
}

#[test]
fn a_rate_of_zero_denies_undecided_requests() {
    let hop = Hop::start(json!({ "sampling": { "rate": 0 } })).unwrap();
    assert_eq!(values(&hop.echo(NONE).unwrap(), "x-b3-sampled"), ["0"]);

    let decided = format!("{TRACE}-{CALLER}-1");
    assert_eq!(values(&hop.echo([header("b3", &decided)]).unwrap(), "x-b3-sampled"), ["1"]);

    let lines = hop.envoy.lines(2).unwrap();
    assert_eq!(lines[0]["logging.googleapis.com/trace_sampled"], false);
    assert_eq!(lines[1]["logging.googleapis.com/trace_sampled"], true);
}
