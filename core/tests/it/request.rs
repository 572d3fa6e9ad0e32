//! Requests: the message of the line and the attributes of the span.

use expect_test::{Expect, expect};
use logtracer_core::line::Severity;
use logtracer_core::otlp::{self, Attributes, InstrumentationScope};
use logtracer_core::request::url::{Query, UnknownQuery};
use logtracer_core::request::{Exchange, IncompleteCause, Outcome, grpc};
use logtracer_core::span::{Span, SpanKind, SpanStatus};
use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const GET: Exchange<'_> = Exchange {
    method: b"GET",
    scheme: b"http",
    authority: b"shop:8080",
    target: b"/a?x=1?y",
    url: b"http://shop/a",
    protocol: b"HTTP/1.1",
    user_agent: b"curl/8",
    referer: b"",
    remote_ip: b"10.0.0.1",
    server_ip: b"10.0.0.2",
    request_size: 78,
    response_size: 512,
    route: b"",
    outcome: Outcome::Http(200),
    grpc_message: b"",
    duration: core::time::Duration::ZERO,
};

#[test]
fn messages() {
    let http = |status| Exchange { outcome: Outcome::Http(status), ..GET };
    let call = |code, message| Exchange {
        target: b"/demo.Shop/Buy?x=1",
        outcome: Outcome::Grpc { code, http: 200 },
        grpc_message: message,
        ..GET
    };
    for (exchange, expected) in [
        (http(200), "GET - http://shop/a - 200 OK"),
        (http(404), "GET - http://shop/a - 404 Not Found"),
        (http(299), "GET - http://shop/a - 299"),
        (http(0), "GET - http://shop/a - no response"),
        (
            Exchange { outcome: Outcome::Incomplete { status: 200, cause: IncompleteCause::Timeout }, ..GET },
            "GET - http://shop/a - 200 OK - incomplete response",
        ),
        (Exchange { outcome: Outcome::Aborted, ..GET }, "GET - http://shop/a - 499 Client Closed Request"),
        (Exchange { method: b"", ..http(200) }, "http://shop/a - 200 OK"),
        (Exchange { url: b"", ..http(200) }, "GET - 200 OK"),
        (Exchange { method: b"", url: b"", ..http(200) }, "200 OK"),
        (Exchange { url: b"http://shop/\xff", ..http(200) }, "GET - http://shop/\u{fffd} - 200 OK"),
        (call(0, b""), "/demo.Shop/Buy - OK"),
        (call(5, b"no caf\xe9"), "/demo.Shop/Buy - NOT_FOUND - no caf\u{fffd}"),
        (call(99, b"x"), "/demo.Shop/Buy - UNKNOWN - x"),
    ] {
        let mut message = String::new();
        exchange.write_message(&mut message);
        assert_eq!(message, expected);
    }
}

#[test]
fn paths_and_queries() {
    for (target, path, query) in
        [("/a?x=1?y", "/a", "x=1?y"), ("/a?", "/a", ""), ("/a", "/a", ""), ("?x", "", "x"), ("", "", "")]
    {
        let exchange = Exchange { target: target.as_bytes(), ..GET };
        assert_eq!((exchange.path(), exchange.query()), (path.as_bytes(), query.as_bytes()), "{target}");
    }
}

#[test]
fn the_request_of_a_line() {
    let exchange = Exchange {
        referer: b"http://shop/",
        duration: core::time::Duration::from_millis(5),
        outcome: Outcome::Aborted,
        ..GET
    };
    let request = exchange.http_request();
    assert_eq!(
        (request.method, request.url, request.protocol, request.user_agent, request.referer),
        (&b"GET"[..], &b"http://shop/a"[..], &b"HTTP/1.1"[..], &b"curl/8"[..], &b"http://shop/"[..])
    );
    assert_eq!((request.remote_ip, request.server_ip), (&b"10.0.0.1"[..], &b"10.0.0.2"[..]));
    assert_eq!((request.request_size, request.status, request.response_size), (78, 499, 512));
    assert_eq!(request.latency, core::time::Duration::from_millis(5));
}

#[test]
fn attributes_of_a_server_span() {
    check(
        SpanKind::Server,
        GET,
        expect![[r#"
            http.request.method = "GET"
            url.scheme = "http"
            url.path = "/a"
            url.query = "x=1?y"
            server.address = "shop"
            server.port = 8080
            client.address = "10.0.0.1"
            network.protocol.version = "1.1"
            user_agent.original = "curl/8"
            http.response.status_code = 200
            http.request.size = 78
            http.response.size = 512
        "#]],
    );
}

#[test]
fn attributes_of_a_client_span() {
    check(
        SpanKind::Client,
        Exchange { outcome: Outcome::Http(404), route: b"basket", ..GET },
        expect![[r#"
            http.request.method = "GET"
            url.full = "http://shop/a"
            server.address = "shop"
            server.port = 8080
            http.route = "basket"
            network.protocol.version = "1.1"
            user_agent.original = "curl/8"
            http.response.status_code = 404
            http.request.size = 78
            http.response.size = 512
            error.type = "404"
        "#]],
    );
}

#[test]
fn attributes_of_a_grpc_call() {
    check(
        SpanKind::Server,
        Exchange {
            method: b"POST",
            authority: b"shop",
            target: b"/demo.Shop/Buy",
            protocol: b"HTTP/2",
            user_agent: b"",
            request_size: 0,
            response_size: 0,
            outcome: Outcome::Grpc { code: 13, http: 200 },
            grpc_message: b"broken",
            ..GET
        },
        expect![[r#"
            http.request.method = "POST"
            url.scheme = "http"
            url.path = "/demo.Shop/Buy"
            server.address = "shop"
            client.address = "10.0.0.1"
            network.protocol.version = "2"
            http.response.status_code = 200
            rpc.system.name = "grpc"
            rpc.method = "demo.Shop/Buy"
            rpc.response.status_code = "INTERNAL"
            grpc.message = "broken"
            error.type = "INTERNAL"
        "#]],
    );
}

/// `error.type` is written for the kind whose span fails, and unknown methods do not become attribute values.
#[test]
fn attributes_that_depend_on_the_request() {
    let http = |status| Exchange { outcome: Outcome::Http(status), ..GET };
    let call = |code| Exchange { outcome: Outcome::Grpc { code, http: 200 }, ..GET };
    let incomplete = |status, cause| Exchange { outcome: Outcome::Incomplete { status, cause }, ..GET };
    use IncompleteCause::{Disconnect, Timeout};
    for (kind, exchange, name, expected) in [
        (SpanKind::Server, http(200), "error.type", None),
        (SpanKind::Client, http(200), "error.type", None),
        (SpanKind::Server, http(404), "error.type", None),
        (SpanKind::Client, http(404), "error.type", Some("404")),
        (SpanKind::Server, http(503), "error.type", Some("503")),
        (SpanKind::Client, http(503), "error.type", Some("503")),
        (SpanKind::Server, call(5), "error.type", None),
        (SpanKind::Client, call(5), "error.type", Some("NOT_FOUND")),
        (SpanKind::Client, call(0), "error.type", None),
        (SpanKind::Client, http(0), "error.type", Some("no_response")),
        (SpanKind::Client, incomplete(200, Disconnect), "error.type", Some("incomplete_response")),
        (SpanKind::Server, incomplete(200, Timeout), "error.type", Some("timeout")),
        (SpanKind::Server, incomplete(404, Timeout), "error.type", Some("timeout")),
        (SpanKind::Client, incomplete(404, Timeout), "error.type", Some("404")),
        (SpanKind::Server, incomplete(503, Disconnect), "error.type", Some("503")),
        (SpanKind::Server, incomplete(503, Disconnect), "http.response.status_code", Some("503")),
        (SpanKind::Server, Exchange { method: b"BREW", ..GET }, "http.request.method", Some("_OTHER")),
        (SpanKind::Server, Exchange { method: b"BREW", ..GET }, "http.request.method_original", Some("BREW")),
        (SpanKind::Server, Exchange { method: b"get", ..GET }, "http.request.method", Some("_OTHER")),
        (SpanKind::Server, Exchange { method: b"PATCH", ..GET }, "http.request.method_original", None),
        (SpanKind::Server, Exchange { method: b"", ..GET }, "http.request.method", None),
        (SpanKind::Server, Exchange { route: b"default", ..GET }, "http.route", None),
        (SpanKind::Server, Exchange { protocol: b"QUIC", ..GET }, "network.protocol.version", None),
        (SpanKind::Client, GET, "client.address", None),
        (SpanKind::Client, GET, "url.path", None),
        (SpanKind::Server, GET, "url.full", None),
        (SpanKind::Server, call(0), "rpc.response.status_code", Some("OK")),
        (SpanKind::Server, GET, "rpc.system.name", None),
    ] {
        let attributes = attributes(kind, &exchange);
        let value = attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim_matches('"'));
        assert_eq!(value, expected, "{kind:?} {name}");
    }
}

/// An error that the caller of the function names, whatever the outcome is.
#[test]
fn attributes_of_an_error() {
    for (kind, outcome) in [
        (SpanKind::Client, Outcome::Http(200)),
        (SpanKind::Client, Outcome::Http(503)),
        (SpanKind::Server, Outcome::Grpc { code: 13, http: 200 }),
        (SpanKind::Server, Outcome::Aborted),
    ] {
        let exchange = Exchange { outcome, ..GET };
        let common = |attributes: Vec<(String, String)>| -> Vec<(String, String)> {
            attributes.into_iter().filter(|(key, _)| key != "error.type").collect()
        };
        let with_error = attributes_by(|attributes| {
            exchange.write_attributes_of_error(kind, "io::Error", attributes);
        });
        let error = ("error.type".to_owned(), "\"io::Error\"".to_owned());
        assert_eq!(with_error.last(), Some(&error), "{outcome:?}");
        assert_eq!(common(with_error), common(attributes(kind, &exchange)), "{outcome:?}");
    }
}

/// A gRPC code decides the severity of a call, not its HTTP status.
#[test]
fn severities_of_grpc_codes() {
    let severities = (0..18).map(|code| Outcome::Grpc { code, http: 200 }.severity());
    for (code, severity) in (0..).zip(severities) {
        let expected = match code {
            grpc::OK | grpc::CANCELLED => Severity::Info,
            2 | 4 | 12..=15 | 17 => Severity::Error,
            _ => Severity::Warning,
        };
        assert_eq!(severity, expected, "{code}");
    }
}

#[test]
fn policies_of_queries_have_their_names() {
    for (name, query) in [
        ("redact", Ok(Query::Redact)),
        ("keep", Ok(Query::Keep)),
        ("drop", Ok(Query::Drop)),
        ("Drop", Err(UnknownQuery)),
    ] {
        assert_eq!(name.parse(), query, "{name}");
    }
    assert_eq!(UnknownQuery.to_string(), "expected one of redact, keep, drop");
}

// === helpers ===

#[track_caller]
fn check(kind: SpanKind, exchange: Exchange<'_>, expected: Expect) {
    let lines = attributes(kind, &exchange).into_iter().map(|(key, value)| format!("{key} = {value}\n"));
    expected.assert_eq(&lines.collect::<String>());
}

/// Returns the attributes that the span of the exchange has in OTLP.
fn attributes(kind: SpanKind, exchange: &Exchange<'_>) -> Vec<(String, String)> {
    attributes_by(|attributes| exchange.write_attributes(kind, attributes))
}

fn attributes_by(write: impl FnOnce(&mut Attributes<'_>)) -> Vec<(String, String)> {
    let span = Span {
        context: TraceContext::root(TraceId::new(1).unwrap(), SpanId::new(2).unwrap(), Sampling::Accept),
        tracestate: "",
        name: b"",
        kind: SpanKind::Internal,
        start_unix_nanos: 1,
        end_unix_nanos: 2,
        status: SpanStatus::Unset,
        link: None,
    };
    let (mut spans, mut request) = (Vec::new(), Vec::new());
    otlp::write_span(&mut spans, &span, write);
    otlp::write_request(&mut request, |_| {}, InstrumentationScope { name: "", version: "" }, &spans);
    let request = ExportTraceServiceRequest::decode(request.as_slice()).expect("valid protobuf");
    let attributes = &request.resource_spans[0].scope_spans[0].spans[0].attributes;
    let value = |value: Option<&Value>| match value {
        Some(Value::StringValue(text)) => format!("{text:?}"),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("no text or number: {other:?}"),
    };
    attributes
        .iter()
        .map(|attribute| {
            (attribute.key.clone(), value(attribute.value.as_ref().and_then(|value| value.value.as_ref())))
        })
        .collect()
}
