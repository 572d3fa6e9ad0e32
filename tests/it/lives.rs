//! Every way in which a request can live and end: one line, which is one JSON object, and one span.
//!
//! One Envoy serves a table of cases. Each case is a trace of its own, so that what it left behind is found by its
//! trace id.

use std::time::Duration;

use http::Request;
use logtracer_tests::collector::{Collector, Span};
use logtracer_tests::http2::{Http2, Leave};
use logtracer_tests::origin::{GRPC_MESSAGE, PAUSE};
use logtracer_tests::proxy::{Listener, Proxy};
use logtracer_tests::wait;
use logtracer_tests::wire::{Connection, Message};
use serde_json::{Value, json};

const CALLER: &str = "00f067aa0ba902b7";

struct Lives {
    proxy: Proxy,
    collector: Collector,
    cases: Vec<Case>,
    problems: Vec<String>,
}

/// A request that is over, and what has to be left of it.
struct Case {
    name: &'static str,
    trace_id: String,
    expected: Expected,
}

#[derive(Clone, Copy)]
struct Expected {
    status: u16,
    severity: &'static str,
    method: &'static str,
    protocol: &'static str,
    message: &'static str, // its end
    is_error: bool,
    at_least: Duration,
    at_most: Duration,
    /// Attributes of the span; a text that ends with `*` is the beginning of the value, "-" is none.
    attributes: &'static [(&'static str, &'static str)],
    labels: &'static [(&'static str, &'static str)],
}

/// A request that goes well.
const WELL: Expected = Expected {
    status: 200,
    severity: "INFO",
    method: "GET",
    protocol: "HTTP/1.1",
    message: " - 200 OK",
    is_error: false,
    at_least: Duration::ZERO,
    at_most: Duration::from_secs(30),
    attributes: &[],
    labels: &[],
};

const GRPC: Expected = Expected {
    method: "POST",
    protocol: "HTTP/2",
    message: " - OK",
    attributes: &[("rpc.system.name", "grpc"), ("rpc.response.status_code", "OK"), ("error.type", "-")],
    ..WELL
};

impl Lives {
    fn start(filter: Value) -> Lives {
        let collector = Collector::start().unwrap();
        let listener = Listener::new("inbound", filter);
        let proxy =
            Proxy::start(json!({ "id": "n", "cluster": "shop" }), &[listener], collector.port()).unwrap();
        Lives { proxy, collector, cases: Vec::new(), problems: Vec::new() }
    }

    /// Names a case; its request has to carry the header `b3` that this gives.
    fn case(&mut self, name: &'static str, expected: Expected) -> String {
        let trace_id =
            format!("{:032x}", 0x5000_0000_0000_0000_0000_0000_0001_u128 + self.cases.len() as u128);
        let b3 = format!("{trace_id}-{CALLER}-1");
        self.cases.push(Case { name, trace_id, expected });
        b3
    }

    fn connect(&self) -> Connection {
        Connection::open(self.proxy.address("inbound")).unwrap()
    }

    /// Sends one request over HTTP/1.1 and reads its response; `rest` is what follows the request line and the
    /// headers `host` and `b3`.
    fn http1(
        &mut self,
        name: &'static str,
        request: &str,
        rest: impl AsRef<[u8]>,
        expected: Expected,
    ) -> Message {
        let b3 = self.case(name, expected);
        let mut connection = self.connect();
        connection.send(format!("{request} HTTP/1.1\r\nhost: shop\r\nb3: {b3}\r\n")).unwrap();
        connection.send(rest).unwrap();
        let read = if expected.method == "HEAD" { connection.response_head() } else { connection.response() };
        let response = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(response.status(), expected.status, "{name}");
        response
    }

    fn grpc_request(b3: &str, method: &str) -> Request<()> {
        Request::post(format!("http://shop/demo.Shop/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("b3", b3)
            .body(())
            .unwrap()
    }

    fn problem(&mut self, name: &str, what: String) {
        self.problems.push(format!("{name}: {what}"));
    }

    /// Looks at what all cases left behind.
    fn check(mut self) {
        for case in std::mem::take(&mut self.cases) {
            match self.proxy.traces(&self.collector, &case.trace_id) {
                Ok(traces) => self.check_case(&case, &traces.lines[0], &traces.spans[0]),
                Err(error) => self.problem(case.name, error.to_string()),
            }
            // Whatever would come twice has come by the time that the later cases are complete.
            self.cases.push(case);
        }
        let spans = self.collector.spans();
        for case in std::mem::take(&mut self.cases) {
            let lines = self.proxy.lines(&case.trace_id).unwrap().len();
            let spans = spans.iter().filter(|span| span.trace_id == case.trace_id).count();
            if (lines, spans) != (1, 1) {
                self.problem(case.name, format!("{lines} lines, {spans} spans"));
            }
        }
        assert!(self.problems.is_empty(), "{}", self.problems.join("\n"));
    }

    fn check_case(&mut self, case: &Case, line: &Value, span: &Span) {
        let expected = case.expected;
        let mut problems = Vec::new();
        let mut check = |what: &str, found: Value, wanted: Value| {
            if found != wanted {
                problems.push(format!("{what} is {found}, not {wanted}"));
            }
        };
        let request = &line["httpRequest"];
        check("the severity", line["severity"].clone(), expected.severity.into());
        check("the status", request["status"].clone(), expected.status.into());
        check("the method", request["requestMethod"].clone(), expected.method.into());
        check("the protocol", request["protocol"].clone(), expected.protocol.into());
        check("the line's span", line["logging.googleapis.com/spanId"].clone(), span.span_id.clone().into());
        check("trace_sampled", line["logging.googleapis.com/trace_sampled"].clone(), true.into());
        let message = line["message"].as_str().unwrap_or_default();
        check("the message's end", message.ends_with(expected.message).into(), true.into());

        let latency = request["latency"].as_str().and_then(|text| text.strip_suffix('s')?.parse().ok());
        let latency = Duration::from_secs_f64(latency.unwrap_or(0.0));
        let in_time = latency > Duration::ZERO && latency >= expected.at_least && latency <= expected.at_most;
        check("the latency in time", in_time.into(), true.into());
        let duration = Duration::from_nanos(span.end_unix_nanos - span.start_unix_nanos);
        check("the span's duration", format!("{duration:?}").into(), format!("{latency:?}").into());

        check("the kind", span.kind.into(), "server".into());
        check("the span's error", span.is_error.into(), expected.is_error.into());
        check("the parent", span.parent_span_id.clone().into(), CALLER.into());
        let attribute = |name: &str| match span.attributes.get(name) {
            None => "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let method = if expected.method == "REPORT" { "_OTHER" } else { expected.method };
        check("http.request.method", attribute("http.request.method").into(), method.into());
        let status = expected.status.to_string();
        check(
            "http.response.status_code",
            attribute("http.response.status_code").into(),
            status.clone().into(),
        );
        let version = expected.protocol.trim_start_matches("HTTP/");
        check("network.protocol.version", attribute("network.protocol.version").into(), version.into());
        check("client.address", attribute("client.address").into(), "127.0.0.1".into());
        if expected.is_error && attribute("rpc.system.name") == "-" {
            check("error.type", attribute("error.type").into(), status.into());
        }
        for (name, wanted) in expected.attributes {
            check(name, shortened(&attribute(name), wanted), (*wanted).into());
        }
        for (name, wanted) in expected.labels {
            let labels = &line["logging.googleapis.com/labels"];
            check(name, shortened(labels[*name].as_str().unwrap_or("-"), wanted), (*wanted).into());
        }
        if !problems.is_empty() {
            self.problem(case.name, format!("{}\n  {line}\n  {span:?}", problems.join("; ")));
        }
    }
}

/// The found value, cut to what `wanted` gives of it.
fn shortened(found: &str, wanted: &str) -> Value {
    match wanted.strip_suffix('*') {
        Some(start) if found.starts_with(start) => wanted.into(),
        _ => found.into(),
    }
}

fn exporter() -> Value {
    json!({ "exporter": { "cluster": "logtracer-exporter", "flush_interval": "100ms" } })
}

/// Rules 53, 54, 55, 58, 59 and 66.
#[test]
fn over_http_1() {
    let mut lives = Lives::start(exporter());
    const END: &str = "\r\n";

    lives.http1(
        "normal",
        "GET /origin/ok?x=1",
        END,
        Expected {
            attributes: &[
                ("url.path", "/origin/ok"),
                ("url.query", "x=REDACTED"),
                ("url.scheme", "http"),
                ("server.address", "shop"),
                ("upstream_cluster", "service"),
                ("upstream_address", "127.0.0.1:*"),
                ("response_flags", "-"),
                ("response_code_details", "-"),
                ("upstream_request_attempt_count", "-"),
                ("error.type", "-"),
            ],
            ..WELL
        },
    );
    lives.http1(
        "with a body",
        "POST /origin/ok",
        "content-length: 5\r\n\r\nhello",
        Expected { method: "POST", ..WELL },
    );
    lives.http1(
        "an unknown method",
        "REPORT /origin/418",
        END,
        Expected {
            status: 418,
            severity: "WARNING",
            method: "REPORT",
            message: " - 418 I'm a teapot",
            attributes: &[("http.request.method", "_OTHER"), ("http.request.method_original", "REPORT")],
            ..WELL
        },
    );
    lives.http1(
        "a server error",
        "GET /origin/500",
        END,
        Expected {
            status: 500,
            severity: "ERROR",
            message: " - 500 Internal Server Error",
            is_error: true,
            ..WELL
        },
    );
    lives.http1(
        "a redirect of the service",
        "GET /origin/moved",
        END,
        Expected { status: 302, message: " - 302 Found", ..WELL },
    );
    lives.http1(
        "a redirect of Envoy",
        "GET /moved",
        END,
        Expected {
            status: 301,
            message: " - 301 Moved Permanently",
            attributes: &[
                ("http.route", "moved"),
                ("upstream_cluster", "-"),
                ("response_code_details", "direct_response"),
            ],
            labels: &[("route", "moved")],
            ..WELL
        },
    );
    lives.http1(
        "an answer of Envoy",
        "GET /limited",
        END,
        Expected {
            status: 429,
            severity: "WARNING",
            message: " - 429 Too Many Requests",
            attributes: &[("http.route", "limited")],
            ..WELL
        },
    );
    // The filter hears of this request only when it is over.
    lives.http1(
        "an earlier filter answers",
        "GET /forbidden?x=1",
        "user-agent: lynx\r\n\r\n",
        Expected {
            status: 403,
            severity: "WARNING",
            message: " - GET - http://shop/forbidden?x=REDACTED - 403 Forbidden",
            attributes: &[
                ("url.path", "/forbidden"),
                ("user_agent.original", "lynx"),
                ("response_code_details", "rbac_access_denied*"),
            ],
            ..WELL
        },
    );
    lives.http1(
        "no route",
        "GET /nowhere",
        END,
        Expected {
            status: 404,
            severity: "WARNING",
            message: " - 404 Not Found",
            attributes: &[("response_flags", "NR"), ("response_code_details", "route_not_found")],
            labels: &[("response_flags", "NR")],
            ..WELL
        },
    );
    lives.http1(
        "nobody listens upstream",
        "GET /down",
        END,
        Expected {
            status: 503,
            severity: "ERROR",
            message: " - 503 Service Unavailable",
            is_error: true,
            attributes: &[("response_flags", "UF"), ("upstream_cluster", "down")],
            labels: &[("response_flags", "UF")],
            ..WELL
        },
    );
    lives.http1(
        "the upstream cuts the connection",
        "GET /origin/reset",
        END,
        Expected {
            status: 503,
            severity: "ERROR",
            message: " - 503 Service Unavailable",
            is_error: true,
            attributes: &[("response_flags", "UC")],
            ..WELL
        },
    );
    lives.http1(
        "the upstream takes too long",
        "GET /origin/never",
        END,
        Expected {
            status: 504,
            severity: "ERROR",
            message: " - 504 Gateway Timeout",
            is_error: true,
            at_least: Duration::from_millis(250), // of 300
            attributes: &[("response_flags", "UT"), ("http.route", "impatient")],
            ..WELL
        },
    );
    lives.http1(
        "two retries",
        "GET /origin/retry",
        END,
        Expected {
            attributes: &[("upstream_request_attempt_count", "3"), ("http.route", "retried")],
            ..WELL
        },
    );
    assert_eq!(lives.proxy.origin.requests("/origin/retry"), 3);
    lives.http1("HEAD", "HEAD /origin/head", END, Expected { method: "HEAD", ..WELL });
    lives.http1(
        "204",
        "GET /origin/204",
        END,
        Expected { status: 204, message: " - 204 No Content", ..WELL },
    );
    lives.http1(
        "304",
        "GET /origin/304",
        END,
        Expected { status: 304, message: " - 304 Not Modified", ..WELL },
    );

    early_hints(&mut lives);
    http_1_0(&mut lives);
    callers_that_leave(&mut lives);
    broken_in_the_middle(&mut lives);
    lives.check();
}

/// Rule 58: what comes before the final response does not count.
fn early_hints(lives: &mut Lives) {
    let b3 = lives.case("early hints", WELL);
    let mut connection = lives.connect();
    connection.send(format!("GET /origin/hints HTTP/1.1\r\nhost: shop\r\nb3: {b3}\r\n\r\n")).unwrap();
    let mut response = connection.response().unwrap();
    if response.status() == 103 {
        response = connection.response().unwrap();
    }
    assert_eq!(response.status(), 200);
}

fn http_1_0(lives: &mut Lives) {
    let b3 = lives.case(
        "HTTP/1.0 without a host",
        Expected {
            protocol: "HTTP/1.0",
            message: " - GET - http://old.example.com/origin/ok - 200 OK",
            attributes: &[("server.address", "old.example.com")],
            ..WELL
        },
    );
    let mut connection = lives.connect();
    connection.send(format!("GET /origin/ok HTTP/1.0\r\nb3: {b3}\r\n\r\n")).unwrap();
    assert_eq!(connection.response().unwrap().status(), 200);
}

/// Rule 55: who goes away has not found an error.
fn callers_that_leave(lives: &mut Lives) {
    let b3 = lives.case(
        "the caller leaves before a response",
        Expected {
            status: 499,
            message: " - 499 Client Closed Request",
            attributes: &[("response_flags", "DC"), ("error.type", "-")],
            ..WELL
        },
    );
    let mut connection = lives.connect();
    connection.send(format!("GET /origin/hang HTTP/1.1\r\nhost: shop\r\nb3: {b3}\r\n\r\n")).unwrap();
    let origin = &lives.proxy.origin;
    wait::until("the request at the service", || Some(()).filter(|()| origin.requests("/origin/hang") > 0))
        .unwrap();
    drop(connection);

    let b3 = lives.case(
        "the caller leaves in the middle of a response",
        Expected { attributes: &[("response_flags", "DC"), ("error.type", "-")], ..WELL },
    );
    let mut connection = lives.connect();
    connection.send(format!("GET /origin/half HTTP/1.1\r\nhost: shop\r\nb3: {b3}\r\n\r\n")).unwrap();
    assert_eq!(connection.response_head().unwrap().status(), 200);
    assert_eq!(connection.bytes(10).unwrap(), b"0123456789");
}

/// The status was sent, and stays; the flags and the details tell what happened then.
fn broken_in_the_middle(lives: &mut Lives) {
    let b3 = lives.case(
        "the upstream cuts the connection in the middle of a response",
        Expected {
            attributes: &[("response_flags", "U*"), ("response_code_details", "upstream_reset*")],
            ..WELL
        },
    );
    let mut connection = lives.connect();
    connection
        .send(format!("GET /origin/half-and-reset HTTP/1.1\r\nhost: shop\r\nb3: {b3}\r\n\r\n"))
        .unwrap();
    assert_eq!(connection.response_head().unwrap().status(), 200);
    assert_eq!(connection.rest(), b"0123456789");
}

/// Rules 38, 39, 58, 62 and 68.
#[test]
fn whatever_the_headers_hold() {
    let mut lives = Lives::start(json!({
        "exporter": { "cluster": "logtracer-exporter", "flush_interval": "100ms" },
        "request_headers": ["x-note"],
    }));
    let long = format!("GET /origin/{}", "a".repeat(20_000));
    lives.http1("a long path", &long, "\r\n", Expected { message: " - 200 OK", ..WELL });

    lives.http1(
        "headers that are not UTF-8",
        "GET /origin/ok",
        b"user-agent: \xff\xfe\x80\r\nx-note: \xe4\r\n\r\n",
        Expected {
            attributes: &[("user_agent.original", "\u{fffd}\u{fffd}\u{fffd}")],
            labels: &[("http.request.header.x-note", "\u{fffd}")],
            ..WELL
        },
    );
    lives.http1(
        "a line break in disguise",
        "GET /origin/%0d%0a%22%7b",
        "user-agent: \"}\\u000a{\"\r\n\r\n",
        Expected {
            attributes: &[("user_agent.original", "\"}\\u000a{\""), ("url.path", "/origin/%0d%0a%22%7b")],
            ..WELL
        },
    );
    let many: String = (0..60).map(|index| format!("x-filler-{index}: {}\r\n", "f".repeat(1000))).collect();
    lives.http1("60 KiB of headers", "GET /origin/ok", format!("{many}\r\n"), WELL);
    lives.http1(
        "an enormous header",
        "GET /origin/ok",
        format!("x-note: {}\r\n\r\n", "n".repeat(60_000)),
        WELL,
    );

    lives.http1(
        "repeated headers",
        "GET /origin/ok",
        "x-note: a\r\nx-note: b\r\nuser-agent: one\r\n\r\n",
        Expected {
            attributes: &[("user_agent.original", "one"), ("http.request.header.x-note", r#"["a","b"]"#)],
            ..WELL
        },
    );

    // A path that is not UTF-8: whether Envoy takes it at all is its own affair; the line is there in any case.
    let b3 = lives.case("a path that is not UTF-8", WELL);
    let mut connection = lives.connect();
    connection
        .send(
            [
                b"GET /origin/\xff\xfe HTTP/1.1\r\nhost: shop\r\n".as_slice(),
                format!("b3: {b3}\r\n\r\n").as_bytes(),
            ]
            .concat(),
        )
        .unwrap();
    match connection.response().map(|response| response.status()) {
        Ok(200) => {}
        _ => drop(lives.cases.pop()), // refused before there was a request
    }

    // What is too much for Envoy is refused without harm to others.
    let mut connection = lives.connect();
    connection
        .send(format!("GET /origin/ok HTTP/1.1\r\nhost: shop\r\nx: {}\r\n\r\n", "x".repeat(120_000)))
        .unwrap();
    assert_eq!(connection.response().unwrap().status(), 431);
    lives.http1("and after all that", "GET /origin/ok", "\r\n", WELL);

    for line in logtracer_tests::lines::raw(lives.proxy.envoy.stdout()).unwrap() {
        assert!(line.len() < 64 * 1024, "{} bytes", line.len());
    }
    lives.check();
}

/// Rule 56.
#[test]
fn tunnels_and_streams() {
    let mut lives = Lives::start(exporter());

    let b3 = lives.case(
        "a WebSocket",
        Expected {
            status: 101,
            message: " - 101 Switching Protocols",
            at_least: Duration::from_millis(200),
            attributes: &[("error.type", "-"), ("logtracer.time_to_first_byte_ns", "*")],
            ..WELL
        },
    );
    let mut connection = lives.connect();
    connection
        .send(format!(
            "GET /origin/websocket HTTP/1.1\r\nhost: shop\r\nb3: {b3}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
        ))
        .unwrap();
    assert_eq!(connection.response_head().unwrap().status(), 101);
    connection.send("ping").unwrap();
    assert_eq!(connection.bytes(4).unwrap(), b"ping");
    std::thread::sleep(Duration::from_millis(250));
    drop(connection);

    // The target of the tunnel is the origin itself, which answers a request inside.
    let b3 = lives.case(
        "CONNECT",
        Expected {
            method: "CONNECT",
            attributes: &[
                ("error.type", "-"),
                ("http.route", "tunnel"),
                ("logtracer.time_to_first_byte_ns", "*"),
            ],
            ..WELL
        },
    );
    let mut connection = lives.connect();
    connection.send(format!("CONNECT shop:443 HTTP/1.1\r\nhost: shop:443\r\nb3: {b3}\r\n\r\n")).unwrap();
    assert_eq!(connection.response_head().unwrap().status(), 200);
    connection.send("GET /origin/418 HTTP/1.1\r\nhost: inside\r\n\r\n").unwrap();
    assert_eq!(connection.response_head().unwrap().status(), 418);
    drop(connection);

    let b3 = lives.case(
        "server-sent events",
        Expected { at_least: PAUSE, attributes: &[("logtracer.time_to_first_byte_ns", "*")], ..WELL },
    );
    let mut connection = lives.connect();
    connection.send(format!("GET /origin/events HTTP/1.1\r\nhost: shop\r\nb3: {b3}\r\n\r\n")).unwrap();
    assert_eq!(connection.response().unwrap().body, b"data: 1\n\ndata: 2\n\n");

    lives.http1("a slow answer", "GET /origin/slow", "\r\n", Expected { at_least: PAUSE, ..WELL });
    lives.http1(
        "a quick answer",
        "GET /origin/ok",
        "\r\n",
        Expected {
            at_most: Duration::from_secs(10),
            attributes: &[("logtracer.time_to_first_byte_ns", "-")],
            ..WELL
        },
    );
    lives.check();
}

/// Rules 55 and 57.
#[test]
fn over_http_2_and_grpc() {
    let mut lives = Lives::start(exporter());
    let http2 = Http2::open(lives.proxy.address("inbound")).unwrap();

    let b3 = lives.case("HTTP/2", Expected { protocol: "HTTP/2", ..WELL });
    let request = Request::get("http://shop/origin/ok").header("b3", b3).body(()).unwrap();
    let answer = http2.send(request, b"").unwrap();
    assert_eq!((answer.status, answer.headers.contains_key("x-answer")), (200, true));

    let b3 = lives.case(
        "HTTP/2, cancelled before a response",
        Expected {
            status: 499,
            protocol: "HTTP/2",
            message: " - 499 Client Closed Request",
            attributes: &[("response_flags", "D*"), ("error.type", "-")],
            ..WELL
        },
    );
    let request = Request::get("http://shop/origin/hang").header("b3", b3).body(()).unwrap();
    let origin = &lives.proxy.origin;
    let at_service = || {
        wait::until("the request at the service", || {
            Some(()).filter(|()| origin.requests("/origin/hang") > 0)
        })
    };
    http2.cancel(request, b"", Leave::BeforeResponse, at_service).unwrap();

    let error = |name, severity, code, is_error, method| {
        (name, Expected { severity, is_error, ..GRPC }, code, method)
    };
    for (name, expected, code, method) in [
        error("gRPC, well", "INFO", "OK", false, "Buy"),
        error("gRPC, the caller's error", "WARNING", "NOT_FOUND", false, "Missing"),
        error("gRPC, the server's error", "ERROR", "INTERNAL", true, "Broken"),
        error("gRPC, trailers only", "WARNING", "PERMISSION_DENIED", false, "TrailersOnly"),
        error("gRPC, no status", "ERROR", "UNKNOWN", true, "NoStatus"),
        error("gRPC, a status that is no number", "ERROR", "UNKNOWN", true, "Odd"),
        error("gRPC, a server's stream", "INFO", "OK", false, "Watch"),
    ] {
        let b3 = lives
            .case(name, Expected { message: message_of(code), attributes: attributes_of(code), ..expected });
        let answer = http2.send(Lives::grpc_request(&b3, method), GRPC_MESSAGE).unwrap();
        assert_eq!(answer.status, 200, "{name}");
    }

    let b3 = lives.case(
        "gRPC, an answer that is HTTP only",
        Expected {
            status: 503,
            severity: "ERROR",
            is_error: true,
            message: " - UNAVAILABLE",
            attributes: &[("rpc.response.status_code", "UNAVAILABLE")],
            ..GRPC
        },
    );
    assert_eq!(http2.send(Lives::grpc_request(&b3, "NotGrpc"), GRPC_MESSAGE).unwrap().status, 503);

    let cancelled = Expected { message: " - CANCELLED", attributes: attributes_of("CANCELLED"), ..GRPC };
    let b3 = lives.case("gRPC, cancelled in the middle", cancelled);
    http2.cancel(Lives::grpc_request(&b3, "Forever"), GRPC_MESSAGE, Leave::InTheMiddle, || Ok(())).unwrap();
    let b3 = lives.case("gRPC, cancelled before a response", Expected { status: 499, ..cancelled });
    let envoy = &lives.proxy.envoy;
    let before = envoy.stat("cluster.grpc.upstream_rq_total").unwrap();
    let at_service = || {
        wait::try_until("the call at the service", || {
            envoy.stat("cluster.grpc.upstream_rq_total").map(|now| Some(()).filter(|()| now > before))
        })
    };
    http2.cancel(Lives::grpc_request(&b3, "Never"), GRPC_MESSAGE, Leave::BeforeResponse, at_service).unwrap();

    grpc_web(&mut lives);
    lives.check();
}

const fn message_of(code: &'static str) -> &'static str {
    code
}

fn attributes_of(code: &'static str) -> &'static [(&'static str, &'static str)] {
    match code {
        "OK" => GRPC.attributes,
        "NOT_FOUND" => &[("rpc.response.status_code", "NOT_FOUND"), ("error.type", "-")],
        "PERMISSION_DENIED" => &[("rpc.response.status_code", "PERMISSION_DENIED"), ("error.type", "-")],
        "INTERNAL" => &[("rpc.response.status_code", "INTERNAL"), ("error.type", "INTERNAL")],
        "UNKNOWN" => &[("rpc.response.status_code", "UNKNOWN"), ("error.type", "UNKNOWN")],
        "CANCELLED" => &[("rpc.response.status_code", "CANCELLED"), ("error.type", "-")],
        other => panic!("{other}"),
    }
}

/// The trailers of gRPC-Web stand in the body, where Envoy's own filter puts them: what is left to see is HTTP.
fn grpc_web(lives: &mut Lives) {
    let headers = "content-type: application/grpc-web+proto\r\ncontent-length: 8\r\n\r\n";
    let body = format!("{headers}{}", std::str::from_utf8(GRPC_MESSAGE).unwrap());
    let expected = Expected { method: "POST", attributes: &[("error.type", "-")], ..WELL };
    for (name, request) in [
        ("gRPC-Web, well", "POST /demo.Shop/Buy"),
        ("gRPC-Web, the server's error", "POST /demo.Shop/Broken"),
    ] {
        let answer = lives.http1(name, request, &body, expected);
        assert!(String::from_utf8_lossy(&answer.body).contains("grpc-status"), "{answer:?}");
    }
    // Without a body the status is a header.
    lives.http1(
        "gRPC-Web, trailers only",
        "POST /demo.Shop/TrailersOnly",
        &body,
        Expected {
            severity: "WARNING",
            message: " - PERMISSION_DENIED",
            attributes: attributes_of("PERMISSION_DENIED"),
            ..expected
        },
    );
}

/// Rule 61: Envoy sends the request through the filters once more, and logs both: the second is a child of the
/// first, and no new root.
#[test]
fn an_internal_redirect_is_two_spans_of_one_trace() {
    let lives = Lives::start(exporter());
    let trace_id = "463ac35c9f6413ad48485a3953bb6124";
    let mut connection = lives.connect();
    connection
        .send(format!("GET /origin/internal HTTP/1.1\r\nhost: shop\r\nb3: {trace_id}-{CALLER}-1\r\n\r\n"))
        .unwrap();
    assert_eq!(connection.response().unwrap().status(), 200);
    assert_eq!(lives.proxy.origin.requests("/origin/ok?from=internal"), 1);

    let traces = wait::try_until("both spans", || {
        let traces = lives.proxy.traces(&lives.collector, trace_id)?;
        Ok(Some(traces).filter(|traces| traces.spans.len() == 2 && traces.lines.len() == 2))
    })
    .unwrap();
    let span = |parent: &str| {
        let found = traces.spans.iter().find(|span| span.parent_span_id == parent);
        found.unwrap_or_else(|| panic!("nothing below {parent}: {:#?}", traces.spans))
    };
    let first = span(CALLER);
    assert_eq!(first.attributes["http.response.status_code"], 302);
    assert_eq!(span(&first.span_id).attributes["http.response.status_code"], 200);
}
