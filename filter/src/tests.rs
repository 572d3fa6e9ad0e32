//! The whole logic, from a request to its line and to the callout with its span, on a [`FakeHost`].

mod clusters;

use std::sync::Arc;

use crate::fake_host::FakeHost;
use crate::host::{ExportResponse, HeadersOf};
use crate::{Properties, Root, Stream};

const SECOND: u64 = 1_000_000_000;
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const REQUEST: &[(&str, &str)] =
    &[(":method", "GET"), (":path", "/cart?id=7"), (":authority", "shop"), ("traceparent", TRACEPARENT)];

const COMPLETED: Properties<'static> = Properties {
    protocol: b"HTTP/1.1",
    remote: b"10.0.0.1:5000",
    upstream: b"10.0.0.2:80",
    cluster: b"service",
    route: b"all",
    status: 200,
    response_flags: 0,
    attempts: 1,
    request_size: 10,
    request_body_size: 4,
    response_size: 20,
    is_outbound: false,
    start: 1_700_000_000_000_000_000,
    duration: 5_000_000,
};

fn host() -> FakeHost {
    FakeHost { properties: COMPLETED, ..FakeHost::with_request(REQUEST) }
}

fn root(host: &FakeHost, exporter: &str) -> Root {
    let json = format!(r#"{{"service_name": "shop", "exporter": {{"cluster": "c", {exporter}}}}}"#);
    Root::configure(host, json.as_bytes()).unwrap()
}

fn run(host: &FakeHost, root: &Root) {
    let mut stream = Stream::new(root.plugin());
    stream.on_request_headers(host);
    stream.on_response_headers(host);
    stream.on_response_trailers(host);
    stream.on_log(host);
}

fn ok() -> ExportResponse {
    ExportResponse { status: Some(200), ..ExportResponse::default() }
}

#[test]
fn a_request_becomes_headers_a_line_and_a_span() {
    let host = host();
    let mut root = root(&host, r#""flush_interval": "1s""#);
    run(&host, &root);
    let forwarded = host.text(HeadersOf::Request, "traceparent").unwrap();
    let (_, rest) = forwarded.split_once("4bf92f3577b34da6a3ce929d0e0e4736-").unwrap();
    let span_id = &rest[..16];
    assert_ne!(span_id, "00f067aa0ba902b7");
    let line = host.lines.borrow()[0].clone();
    assert!(line.contains(span_id) && line.contains("shop - GET - http://shop/cart?id=REDACTED"), "{line}");
    assert!(!line.contains('\n') && host.sent.borrow().is_empty(), "{line}");

    host.now.set(2 * SECOND);
    root.on_tick(&host);
    let body = host.sent.borrow()[0].clone();
    let contains = |part: &[u8]| body.windows(part.len()).any(|window| window == part);
    let span_id = u64::from_str_radix(span_id, 16).unwrap().to_be_bytes();
    assert!(contains(&span_id) && contains(b"service.name") && contains(b"upstream_cluster"));
    assert!(!root.on_response(&host, 0, Some(&ok())), "an active root is not done");
    assert!(root.on_done(&host));
}

#[test]
fn a_line_ends_with_a_line_break_if_that_is_configured() {
    for (json, expected) in
        [("{}", "}"), (r#"{"line_break": false}"#, "}"), (r#"{"line_break": true}"#, "}\n")]
    {
        let host = host();
        run(&host, &Root::configure(&host, json.as_bytes()).unwrap());
        let lines = host.lines.borrow();
        assert!(lines[0].trim_end().ends_with('}') && lines[0].ends_with(expected), "{json}: {lines:?}");
    }
}

#[test]
fn a_request_that_the_filter_did_not_see_has_a_line() {
    let host = host();
    Stream::new(root(&host, r#""timeout": "1s""#).plugin()).on_log(&host);
    assert!(host.lines.borrow()[0].contains("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(host.text(HeadersOf::Request, "traceparent").as_deref(), Some(TRACEPARENT), "not forwarded");
}

#[test]
fn code_details_are_read_only_if_they_may_be_notable() {
    for (properties, reads) in [
        (COMPLETED, 0),
        (Properties { status: 404, ..COMPLETED }, 1),
        (Properties { response_flags: 4, ..COMPLETED }, 1),
        (Properties { upstream: b"", ..COMPLETED }, 1),
        (Properties { duration: SECOND, ..COMPLETED }, 1),
    ] {
        let host = FakeHost { properties, code_details: b"details", ..host() };
        run(&host, &root(&host, r#""timeout": "1s""#));
        assert_eq!(host.reads_of_code_details.get(), reads, "{properties:?}");
        assert_eq!(host.lines.borrow()[0].contains("details"), reads > 0);
    }
}

#[test]
fn a_full_batch_wakes_the_root_once() {
    let host = host();
    let mut root = root(&host, r#""max_batch_spans": 3, "flush_interval": "60s""#);
    for wakes in [0, 0, 1, 1] {
        run(&host, &root);
        assert_eq!(host.wakes.get(), wakes);
    }
    root.on_tick(&host);
    assert_eq!(host.sent.borrow().len(), 1, "the fourth span waits for others");
}

#[test]
fn without_a_random_generator_ids_differ() {
    let host = FakeHost { has_no_random_generator: true, ..FakeHost::with_request(&[(":method", "GET")]) };
    let root = root(&host, r#""timeout": "1s""#);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..100 {
        host.set(HeadersOf::Request, &[(":method", "GET")]);
        run(&host, &root);
        assert!(seen.insert(host.text(HeadersOf::Request, "traceparent")));
    }
}

#[test]
fn a_root_is_done_with_its_last_callout() {
    let host = host();
    let mut root = root(&host, r#""max_batch_spans": 1, "path": "/of-this-test""#);
    run(&host, &root);
    run(&host, &root);
    assert!(!root.on_done(&host));
    assert!(!root.is_active());
    assert!(!root.on_response(&host, 0, Some(&ok())));
    assert!(!root.on_response(&host, 7, Some(&ok())), "an unknown token");
    assert!(root.on_response(&host, 1, None), "a failed callout is not made again");
    assert!(host.logged.borrow().iter().any(|message| message == "logtracer: dropped 1 spans: shutdown"));
}

/// The streams of a root can run in other threads: every span is sent once.
#[test]
fn streams_of_many_threads_lose_no_span() {
    const THREADS: usize = 4;
    const REQUESTS: usize = 500;
    let host = host();
    let mut root = root(&host, r#""max_batch_spans": 10000, "max_buffer_bytes": "64MiB""#);
    let plugin = root.plugin();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..REQUESTS {
                    let host = self::host();
                    let mut stream = Stream::new(Arc::clone(&plugin));
                    stream.on_request_headers(&host);
                    stream.on_log(&host);
                }
            });
        }
        for second in 1..20 {
            host.now.set(second * SECOND);
            root.on_tick(&host);
            let sent = host.sent.borrow().len() as u32;
            for token in 0..sent {
                root.on_response(&host, token, Some(&ok()));
            }
        }
    });
    host.now.set(100 * SECOND);
    root.on_done(&host);
    let spans: usize = host.sent.borrow().iter().map(|body| count(body, b"upstream_cluster")).sum();
    assert_eq!(spans, THREADS * REQUESTS);
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| *window == part).count()
}

fn configured(host: &FakeHost, json: &str) -> Root {
    Root::configure(host, json.as_bytes()).unwrap()
}

fn line_of(host: &FakeHost, json: &str) -> Option<serde_json::Value> {
    run(host, &configured(host, json));
    host.lines.borrow().first().map(|line| serde_json::from_str(line).unwrap())
}

/// The ids of the caller, whose decision, baggage and other contexts are not taken.
/// A setting without effect would be an error (rule 84): Envoy has `host` as `:authority`, and headers of traces are read
/// on a path of their own.
#[test]
fn every_header_can_be_captured_and_matched() {
    let host = host();
    let json = r#"{"request_headers": ["host", "traceparent"], "edge": "restart",
        "sampling": {"rate": 0, "rules": [{"header": "host: shop", "rate": 1}]}}"#;
    let line = line_of(&host, json).unwrap();
    assert_eq!(line["logging.googleapis.com/trace_sampled"], true, "the rule matches");
    let labels = &line["logging.googleapis.com/labels"];
    assert_eq!(labels["http.request.header.host"], "shop");
    assert_eq!(labels["http.request.header.traceparent"], TRACEPARENT);
}

#[test]
fn an_edge_that_resamples_keeps_the_ids_only() {
    let caller = [
        (":method", "GET"),
        ("traceparent", TRACEPARENT),
        ("tracestate", "vendor=1"),
        ("baggage", "user=1"),
        ("x-b3-flags", "1"),
        ("uber-trace-id", "1:2:3:1"),
        ("x-datadog-sampling-priority", "2"),
        ("x-request-id", "r"),
    ];
    for (rate, flags) in [("0", "00"), ("1", "01")] {
        let host = FakeHost { properties: COMPLETED, ..FakeHost::with_request(&caller) };
        let json = format!(r#"{{"edge": "resample", "sampling": {{"rate": {rate}}}}}"#);
        let line = line_of(&host, &json).unwrap();
        let forwarded = host.text(HeadersOf::Request, "traceparent").unwrap();
        assert!(forwarded.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{forwarded}");
        assert!(forwarded.ends_with(flags), "{forwarded}");
        for name in ["tracestate", "baggage", "x-b3-flags", "uber-trace-id", "x-datadog-sampling-priority"] {
            assert_eq!(host.text(HeadersOf::Request, name), None, "{name}");
        }
        assert_eq!(host.text(HeadersOf::Request, "x-request-id").as_deref(), Some("r"));
        assert_eq!(line["logging.googleapis.com/labels"]["linked_trace"], serde_json::Value::Null);
    }
}

#[test]
fn a_line_has_the_trace_of_a_caller_that_is_not_trusted() {
    for (edge, expected) in [("link", true), ("restart", true), ("trust", false), ("resample", false)] {
        let line = line_of(&host(), &format!(r#"{{"edge": "{edge}"}}"#)).unwrap();
        let linked = &line["logging.googleapis.com/labels"]["linked_trace"];
        let is_linked = linked == "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(is_linked, expected, "{edge}: {linked}");
    }
}

/// Headers of other tracers are forwarded to and from whom the filter trusts.
#[test]
fn headers_of_other_tracers_are_removed_at_the_edge_and_for_strangers() {
    for (json, expected) in [
        (r#"{}"#, true),
        (r#"{"edge": "restart"}"#, false),
        (r#"{"edge": "link"}"#, false),
        (r#"{"propagation": {"strip_hosts": ["shop"]}}"#, false),
    ] {
        let host = host();
        let mut headers = REQUEST.to_vec();
        headers.extend([
            ("x-amzn-trace-id", "Root=1-2-3"),
            ("sentry-trace", "1-2-1"),
            ("x-ot-span-context", "1"),
        ]);
        host.set(HeadersOf::Request, &headers);
        run(&host, &configured(&host, json));
        for name in ["x-amzn-trace-id", "sentry-trace", "x-ot-span-context"] {
            assert_eq!(host.text(HeadersOf::Request, name).is_some(), expected, "{json} {name}");
        }
    }
}

#[test]
fn a_share_of_the_requests_is_logged() {
    // The low bits of the id decide: a share has the highest.
    let (inside, outside) = (
        "00-4bf92f3577b34da6a3ffffffffffffff-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a300000000000001-00f067aa0ba902b7-01",
    );
    let check = |json: &str,
                 traceparent: &str,
                 properties: Properties<'static>,
                 details: &'static [u8],
                 expected: Option<Option<&str>>| {
        let host = FakeHost { properties, code_details: details, ..host() };
        host.set(HeadersOf::Request, &[(":method", "GET"), (":path", "/cart"), ("traceparent", traceparent)]);
        let line = line_of(&host, json);
        assert_eq!(host.skipped.get(), u32::from(expected.is_none()), "{json} {traceparent}");
        let rate =
            line.map(|line| line["logging.googleapis.com/labels"]["log_rate"].as_str().map(str::to_owned));
        assert_eq!(rate.as_ref().map(Option::as_deref), expected, "{json} {traceparent} {properties:?}");
    };
    let tenth = r#"{"sampling": {"log_rate": 0.1}}"#;
    check(tenth, inside, COMPLETED, b"", Some(Some("0.1")));
    check(tenth, outside, COMPLETED, b"", None);
    let failed = Properties { status: 503, ..COMPLETED };
    check(tenth, outside, failed, b"", Some(None));
    check(tenth, inside, failed, b"", Some(None));
    let aborted = Properties { status: 0, response_flags: 0x8000, ..COMPLETED };
    check(tenth, outside, aborted, b"", Some(None));
    let slow = Properties { duration: 2 * SECOND, ..COMPLETED };
    check(tenth, outside, slow, b"", None);
    check(r#"{"sampling": {"log_rate": 0.1, "keep_slower_than": "1s"}}"#, outside, slow, b"", Some(None));
    check(tenth, outside, Properties { status: 404, ..COMPLETED }, b"", None);
    // A rule's share comes before the general one.
    let rule = |log: &str| {
        format!(r#"{{"sampling": {{"log_rate": 0.5, "rules": [{{"path": "/cart", "log": {log}}}]}}}}"#)
    };
    check(&rule("0.25"), inside, COMPLETED, b"", Some(Some("0.25")));
    check(&rule("true"), outside, COMPLETED, b"", Some(None));
    check(&rule("false"), inside, COMPLETED, b"", None);
    check(&rule("1"), outside, COMPLETED, b"", Some(None));
    let other = r#"{"sampling": {"log_rate": 0.5, "rules": [{"path": "/cart", "rate": 1}]}}"#;
    check(other, inside, COMPLETED, b"", Some(Some("0.5")));
    check(other, outside, COMPLETED, b"", None);
}

#[test]
fn the_caller_gets_the_trace_in_a_header() {
    let host = host();
    host.set(
        HeadersOf::Response,
        &[("x-trace-id", "old"), ("server-timing", "db;dur=53"), ("traceresponse", "old")],
    );
    let names = r#"["x-trace-id", "traceresponse", "Server-Timing"]"#;
    run(&host, &configured(&host, &format!(r#"{{"response_header": {names}}}"#)));
    let traceparent = host.text(HeadersOf::Request, "traceparent").unwrap();
    assert_eq!(
        host.text(HeadersOf::Response, "x-trace-id").as_deref(),
        Some("4bf92f3577b34da6a3ce929d0e0e4736")
    );
    assert_eq!(host.text(HeadersOf::Response, "traceresponse"), Some(traceparent.clone()));
    let timings: Vec<_> = host.headers.borrow()[HeadersOf::Response as usize]
        .values_of("server-timing")
        .map(str::to_owned)
        .collect();
    assert_eq!(timings, ["db;dur=53".to_owned(), format!("traceparent;desc=\"{traceparent}\"")]);
}

/// What Envoy counts of the headers has those that filters add.
#[test]
fn the_size_of_a_request_is_what_the_caller_sent() {
    let size = |headers: &[(&str, &str)], properties| {
        let host = FakeHost { properties, ..FakeHost::with_request(headers) };
        line_of(&host, "{}").unwrap()["httpRequest"]["requestSize"].as_str().unwrap().to_owned()
    };
    let properties = Properties { request_size: 1000, request_body_size: 100, ..COMPLETED };
    let caller = [(":method", "GET"), (":path", "/a"), ("accept", "*/*")];
    assert_eq!(size(&caller, properties), (10 + 7 + 9 + 100).to_string());
    let mut by_proxies = caller.to_vec();
    by_proxies.extend([
        ("x-request-id", "1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-envoy-internal", "true"),
    ]);
    assert_eq!(size(&by_proxies, properties), (10 + 7 + 9 + 100).to_string());
    let announced = Properties { request_size: 50, request_body_size: 5000, ..COMPLETED };
    assert_eq!(size(&caller, announced), (10 + 7 + 9 + 50).to_string());
}

#[test]
fn the_resource_has_what_the_node_knows() {
    let host = FakeHost {
        node: &[
            ("metadata LABELS app", "cart"),
            ("metadata NAMESPACE", "shop"),
            ("metadata NAME", "cart-1"),
            ("metadata PLATFORM_METADATA gcp_project", "shop-prod"),
        ],
        ..host()
    };
    let mut root = configured(&host, r#"{"exporter": {"cluster": "c"}}"#);
    run(&host, &root);
    assert!(host.lines.borrow()[0].contains("projects/shop-prod/traces/"), "{:?}", host.lines);
    host.now.set(2 * SECOND);
    root.on_tick(&host);
    let body = host.sent.borrow()[0].clone();
    for part in [
        "service.name",
        "cart",
        "k8s.namespace.name",
        "k8s.pod.name",
        "cart-1",
        "gcp.project_id",
        "shop-prod",
    ] {
        assert!(count(&body, part.as_bytes()) > 0, "{part}");
    }
    let configured = configured(&host, r#"{"project_id": "mine"}"#);
    host.lines.borrow_mut().clear();
    run(&host, &configured);
    assert!(host.lines.borrow()[0].contains("projects/mine/traces/"));
}

/// P3: one line and one span, and a message that says which instance counts.
#[test]
fn a_second_instance_in_the_same_stream_does_nothing() {
    let first = FakeHost { stream: 7, plugin_name: Some("istio-system.logtracer"), ..host() };
    let json = r#"{"service_name": "shop", "exporter": {"cluster": "duplicates"}}"#;
    let of_first = configured(&first, json);
    let second = FakeHost { stream: 7, plugin_name: Some("team.logtracer"), ..host() };
    let of_second = configured(&second, json);

    let (mut one, mut two) = (Stream::new(of_first.plugin()), Stream::new(of_second.plugin()));
    one.on_request_headers(&first);
    let forwarded = first.text(HeadersOf::Request, "traceparent").unwrap();
    second.headers.replace(first.headers.borrow().clone());
    two.on_request_headers(&second);
    assert!(two.is_duplicate());
    assert_eq!(second.text(HeadersOf::Request, "traceparent"), Some(forwarded));
    for (stream, host) in [(&mut two, &second), (&mut one, &first)] {
        stream.on_response_headers(host);
        stream.on_response_trailers(host);
        stream.on_log(host);
    }
    assert_eq!((first.lines.borrow().len(), second.lines.borrow().len()), (1, 0));
    assert_eq!((of_first.held_spans(), of_second.held_spans()), (1, 0));
    let logged = second.logged.borrow().clone();
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains("istio-system.logtracer comes first"), "{logged:?}");
    assert!(logged[0].contains("team.logtracer ignores them"), "{logged:?}");

    // A request that passes through the same worker again is another stream.
    let again = FakeHost { stream: 8, ..host() };
    let mut one = Stream::new(of_first.plugin());
    one.on_request_headers(&first);
    again.headers.replace(first.headers.borrow().clone());
    let mut two = Stream::new(of_second.plugin());
    two.on_request_headers(&again);
    assert!(!two.is_duplicate());
    two.on_log(&again);
    assert_eq!(again.lines.borrow().len(), 1);
}

/// An earlier filter responds, so none of the instances, or only the first, sees the headers.
#[test]
fn a_second_instance_of_a_request_without_headers_does_nothing() {
    for is_seen_by_first in [false, true] {
        let first = FakeHost { stream: 9, ..host() };
        let second = FakeHost { stream: 9, ..host() };
        let (of_first, of_second) = (configured(&first, "{}"), configured(&second, "{}"));
        let (mut one, mut two) = (Stream::new(of_first.plugin()), Stream::new(of_second.plugin()));
        if is_seen_by_first {
            one.on_request_headers(&first);
        }
        one.on_log(&first);
        two.on_log(&second);
        assert_eq!((first.lines.borrow().len(), second.lines.borrow().len()), (1, 0));
        let next = FakeHost { stream: 10, ..host() };
        Stream::new(of_second.plugin()).on_log(&next);
        assert_eq!(next.lines.borrow().len(), 1);
    }
}

/// Envoy sets no flag for these resets, and without a flag a request without a status would be an error of the server.
#[test]
fn a_stream_that_its_caller_resets_is_no_error() {
    for (protocol, expected) in [(&b"HTTP/2"[..], "499"), (b"HTTP/3", "499"), (b"HTTP/1.1", "503")] {
        let properties = Properties { protocol, status: 0, upstream: b"", ..COMPLETED };
        let host = FakeHost { properties, ..host() };
        let line = line_of(&host, "{}").unwrap();
        assert_eq!(line["httpRequest"]["status"].to_string(), expected, "{line}");
    }
}
