//! Responses whose body ends before it is complete. Their status is that of the response; the message, the severity and
//! the span have the failure.

use std::time::Duration;

use logtracer_harness::collector::Collector;
use logtracer_harness::http2::Http2;
use logtracer_harness::origin::GRPC_MESSAGE;
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::wire::Connection;
use serde_json::{Value, json};

use super::{END, Expected, GRPC, SUCCESS, Table, exporter, grpc_request};
use crate::{CALLER, trace};

const INCOMPLETE: Expected = Expected {
    severity: "ERROR",
    message: " - 200 OK - incomplete response",
    is_error: true,
    attributes: &[
        ("error.type", "incomplete_response"),
        ("response_flags", "U*"),
        ("response_code_details", "upstream_reset_after_response_started*"),
    ],
    ..SUCCESS
};

const TIMEOUT: Expected = Expected {
    at_least: Duration::from_millis(250), // of 300
    attributes: &[("error.type", "timeout")],
    ..INCOMPLETE
};

/// Rule 66.
#[test]
fn responses_that_end_early() {
    let mut table = Table::start(exporter());
    for (name, path, expected) in [
        ("a length", "GET /origin/cut/length/200", INCOMPLETE),
        ("chunks", "GET /origin/cut/chunked/200", INCOMPLETE),
        (
            "an error of the caller",
            "GET /origin/cut/length/404",
            Expected { status: 404, message: " - 404 Not Found - incomplete response", ..INCOMPLETE },
        ),
        (
            "an error of the server",
            "GET /origin/cut/length/500",
            Expected {
                status: 500,
                message: " - 500 Internal Server Error - incomplete response",
                attributes: &[("error.type", "500")],
                ..INCOMPLETE
            },
        ),
        (
            "the route timeout",
            "GET /origin/half/impatient",
            Expected {
                attributes: &[
                    ("error.type", "timeout"),
                    ("response_flags", "UT"),
                    ("response_code_details", "response_timeout"),
                ],
                ..TIMEOUT
            },
        ),
        ("the idle timeout of an attempt", "GET /origin/half/attempt", TIMEOUT),
        (
            "the idle timeout",
            "GET /origin/half/idle",
            Expected { attributes: &[("error.type", "timeout"), ("response_flags", "SI")], ..TIMEOUT },
        ),
        (
            "the maximum duration",
            "GET /origin/half/short",
            Expected {
                attributes: &[("error.type", "timeout"), ("response_code_details", "max_duration_timeout")],
                ..TIMEOUT
            },
        ),
    ] {
        let mut connection = table.begin(name, path, END, expected);
        assert_eq!(connection.response_head().unwrap().status(), expected.status, "{name}");
        assert!(connection.rest().windows(10).any(|bytes| bytes == b"0123456789"), "{name}");
    }
    table.check();
}

/// The end of these bodies is the end of the connection.
#[test]
fn responses_that_end_with_the_connection() {
    let mut table = Table::start(exporter());
    let complete = Expected { attributes: &[("error.type", "-")], ..SUCCESS };
    let response = table.http1("a body without a length", "GET /origin/until-close", END, complete);
    assert_eq!(response.body, b"0123456789");

    let tunnel = Expected { status: 101, message: " - 101 Switching Protocols", ..complete };
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut connection = table.begin("a WebSocket", "GET /origin/websocket", upgrade, tunnel);
    assert_eq!(connection.response_head().unwrap().status(), 101);
    connection.send("bye").unwrap();
    assert_eq!(connection.rest(), b"bye");
    table.check();
}

/// The service resets the stream of HTTP/2, which is not a response to a gRPC call.
#[test]
fn streams_that_are_reset() {
    let web = Listener { filters: &["logtracer"], ..Listener::new("web", exporter()) };
    let mut table = Table::with(&[Listener::new("inbound", exporter()), web]);
    let http2 = Http2::open(table.proxy.address("inbound")).unwrap();
    let b3 = table.case("HTTP", Expected { method: "POST", protocol: "HTTP/2", ..INCOMPLETE });
    let mut request = grpc_request(&b3, "demo.Shop/Reset");
    request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert!(http2.send(request, b"abc").is_err());

    let unknown = Expected {
        severity: "ERROR",
        is_error: true,
        message: " - UNKNOWN",
        attributes: &[("rpc.response.status_code", "UNKNOWN"), ("error.type", "UNKNOWN")],
        ..GRPC
    };
    let b3 = table.case("gRPC", unknown);
    assert!(http2.send(grpc_request(&b3, "demo.Shop/Reset"), GRPC_MESSAGE).is_err());

    let b3 = table.case("gRPC-Web of the service", Expected { protocol: "HTTP/1.1", ..unknown });
    table.listener = "web";
    let mut connection = table.connect();
    let head = "POST /origin/cut/chunked/200 HTTP/1.1\r\nhost: shop\r\ncontent-length: 0";
    connection
        .send(format!("{head}\r\ncontent-type: application/grpc-web+proto\r\nb3: {b3}\r\n\r\n"))
        .unwrap();
    assert_eq!(connection.response_head().unwrap().status(), 200);
    connection.rest();
    table.check();
}

/// A client span of a trace that is not sampled is kept, and the line is logged though other requests have none.
#[test]
fn an_incomplete_response_is_kept() {
    let filter = json!({
        "sampling": { "keep_errors": true, "rules": [{ "path_prefix": "/origin/", "log": false }] },
        "exporter": { "cluster": "logtracer-exporter", "flush_interval": "100ms" },
    });
    let collector = Collector::start().unwrap();
    let listener = Listener { direction: "OUTBOUND", ..Listener::new("outbound", filter) };
    let node = json!({ "id": "n", "cluster": "shop" });
    let proxy = Proxy::start(node, &[listener], collector.port()).unwrap();
    let send = |number: u128, path: &str| {
        let mut connection = Connection::open(proxy.address("outbound")).unwrap();
        let b3 = format!("{}-{CALLER}-0", trace(number));
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: shop\r\nb3: {b3}\r\n\r\n")).unwrap();
        assert_eq!(connection.response_head().unwrap().status(), 200);
        connection
    };
    send(0, "/origin/ok");
    for (number, path, error) in
        [(1, "/origin/cut/length/200", "incomplete_response"), (2, "/origin/half/impatient", "timeout")]
    {
        send(number, path).rest();
        let telemetry = proxy.telemetry(&collector, &trace(number)).unwrap();
        let (line, span) = (&telemetry.lines[0], &telemetry.spans[0]);
        assert_eq!((span.kind, span.is_error), ("client", true), "{span:?}");
        assert_eq!(span.attributes.get("error.type"), Some(&Value::from(error)), "{span:?}");
        assert_eq!(line["severity"], "ERROR", "{line}");
    }
    assert!(proxy.lines(&trace(0)).unwrap().is_empty());
    assert!(collector.spans().iter().all(|span| span.trace_id != trace(0)));
}
