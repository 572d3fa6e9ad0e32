//! Callers that go away, and what is no going away.

use http::Request;
use logtracer_tests::http2::{Http2, Leave};
use logtracer_tests::origin::GRPC_MESSAGE;
use logtracer_tests::proxy::Listener;
use logtracer_tests::wait;
use serde_json::json;

use super::{END, Expected, GRPC, Lives, WELL, exporter, grpc_request, http2};

const LEFT: Expected = Expected {
    status: 499,
    message: " - 499 Client Closed Request",
    attributes: &[("response_flags", "D*"), ("error.type", "-")],
    ..WELL
};

const CANCELLED: Expected = Expected {
    message: " - CANCELLED",
    attributes: &[("rpc.response.status_code", "CANCELLED"), ("error.type", "-")],
    ..GRPC
};

/// Rule 55: who goes away has not found an error.
#[test]
fn callers_that_leave() {
    let mut lives = Lives::start(exporter());

    let connection = lives.begin("before a response", "GET /origin/never/1", END, LEFT);
    at_service(&lives, "/origin/never/1").unwrap();
    drop(connection);

    let flag = &[("response_flags", "DC"), ("error.type", "-")];
    let expected = Expected { attributes: flag, ..WELL };
    let mut connection = lives.begin("in the middle of a response", "GET /origin/half/1", END, expected);
    assert_eq!(connection.response_head().unwrap().status(), 200);
    assert_eq!(connection.bytes(10).unwrap(), b"0123456789");
    drop(connection);

    let expected = Expected { method: "POST", ..LEFT };
    let head = "content-length: 5\r\n\r\nhe";
    let connection = lives.begin("in the middle of the request", "POST /origin/ok?left", head, expected);
    wait::try_until("the request at the filter", || {
        let requests = lives.proxy.envoy.stat("wasmcustom.logtracer_requests")?;
        Ok(Some(()).filter(|()| requests == 3))
    })
    .unwrap();
    drop(connection);

    let http2 = Http2::open(lives.proxy.address("inbound")).unwrap();
    let b3 = lives.case("over HTTP/2", Expected { protocol: "HTTP/2", ..LEFT });
    let request = Request::get("http://shop/origin/never/2").header("b3", b3).body(()).unwrap();
    http2.cancel(request, b"", Leave::BeforeResponse, || at_service(&lives, "/origin/never/2")).unwrap();

    let b3 = lives.case("gRPC, in the middle", CANCELLED);
    let call = grpc_request(&b3, "demo.Shop/Forever");
    http2.cancel(call, GRPC_MESSAGE, Leave::InTheMiddle, || Ok(())).unwrap();
    let b3 = lives.case("gRPC, before a response", Expected { status: 499, ..CANCELLED });
    let envoy = &lives.proxy.envoy;
    let before = envoy.stat("cluster.grpc.upstream_rq_total").unwrap();
    let at_service = || {
        wait::try_until("the call at the service", || {
            envoy.stat("cluster.grpc.upstream_rq_total").map(|now| Some(()).filter(|()| now > before))
        })
    };
    let call = grpc_request(&b3, "demo.Shop/Never");
    http2.cancel(call, GRPC_MESSAGE, Leave::BeforeResponse, at_service).unwrap();
    lives.check();
}

fn at_service(lives: &Lives, path: &str) -> logtracer_tests::Result<()> {
    wait::until("the request at the service", || Some(()).filter(|()| lives.proxy.origin.requests(path) > 0))
}

/// Who breaks the protocol is told so, where there is a way to tell.
#[test]
fn callers_that_break_the_protocol() {
    let mut lives = Lives::start(exporter());
    let expected = Expected {
        status: 400,
        severity: "WARNING",
        method: "POST",
        message: " - 400 Bad Request",
        attributes: &[("response_flags", "DPE")],
        ..WELL
    };
    let rest = "transfer-encoding: chunked\r\n\r\nno size\r\n";
    let mut connection = lives.begin("a chunk without a size", "POST /origin/ok", rest, expected);
    assert_eq!(connection.response().unwrap().status(), 400);

    let expected = Expected { method: "GET", protocol: "HTTP/2", ..expected };
    let b3 = lives.case("a frame of HTTP/2 that belongs to no stream", expected);
    let mut connection = lives.connect();
    connection.send([http2::preface(), http2::get(1, b"/origin/never/1", &b3)].concat()).unwrap();
    at_service(&lives, "/origin/never/1").unwrap();
    const DATA: u8 = 0;
    connection.send(http2::frame(DATA, 0, 0, b"abc")).unwrap();
    connection.rest();
    lives.check();
}

/// Rule 55: it was Envoy that went away.
#[test]
fn a_proxy_that_leaves() {
    let mut lives = Lives::start(exporter());
    let expected = Expected {
        status: 503,
        severity: "ERROR",
        message: " - 503 Service Unavailable",
        is_error: true,
        attributes: &[("response_flags", "DC"), ("response_code_details", "downstream_local_disconnect*")],
        ..WELL
    };
    let mut connection = lives.begin("a listener is removed", "GET /origin/never/1", END, expected);
    at_service(&lives, "/origin/never/1").unwrap();
    lives.proxy.replace(&[Listener::new("other", exporter())]).unwrap();
    assert_eq!(connection.rest(), b"");
    lives.check();
}

/// Rule 60: of a stream that has ended, with an answer or without, nothing is left in the filter.
#[test]
fn streams_that_end_leave_nothing_behind() {
    const STREAMS: u32 = 40_000;
    const TOGETHER: u32 = 1000;
    let lives = Lives::start(json!({ "log_format": "off" }));
    let answered = (0..TOGETHER).flat_map(|stream| http2::get(2 * stream + 1, b"/nowhere", "0"));
    // Its caller leaves before there is an answer.
    let left = http2::get(2 * TOGETHER + 1, b"/demo.Shop/Never", "0");
    let many: Vec<u8> = http2::preface().into_iter().chain(answered).chain(left).collect();
    let mut sent = 0;
    let mut send = |streams: u32| {
        for _ in 0..streams / TOGETHER {
            let mut connection = lives.connect();
            connection.send(&many).unwrap();
            sent += u64::from(TOGETHER) + 1;
            wait_for(&lives, "their beginning", "downstream_rq_total", sent);
        }
        wait_for(&lives, "their end", "downstream_rq_active", 0);
        lives.proxy.envoy.resident_kib().unwrap()
    };
    let before = send(STREAMS / 4);
    let grown = send(STREAMS).saturating_sub(before);
    assert!(grown < 6 * 1024, "{grown} KiB more after {STREAMS} streams");
}

fn wait_for(lives: &Lives, what: &str, statistic: &str, expected: u64) {
    wait::try_until(what, || {
        let found = lives.proxy.envoy.stat(&format!("http.inbound.{statistic}"))?;
        Ok(Some(()).filter(|()| found == expected))
    })
    .unwrap();
}
