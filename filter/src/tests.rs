//! The whole logic, from a request to its line and to the callout with its span, on a [`FakeHost`].

use std::sync::Arc;

use crate::fake_host::FakeHost;
use crate::host::{ExportResponse, HeadersOf, Node};
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
    Root::configure(host, json.as_bytes(), Node::default()).unwrap()
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
        run(&host, &Root::configure(&host, json.as_bytes(), Node::default()).unwrap());
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
