//! Callers and proxies that disconnect, protocol errors, and streams that end.

use http::Request;
use logtracer_harness::http2::{Cancel, Http2};
use logtracer_harness::origin::GRPC_MESSAGE;
use logtracer_harness::proxy::Listener;
use logtracer_harness::{shell, wait};
use serde_json::json;

use super::{END, Expected, GRPC, SUCCESS, Table, exporter, grpc_request, http2};

const DISCONNECTED: Expected = Expected {
    status: 499,
    message: " - 499 Client Closed Request",
    attributes: &[("response_flags", "D*"), ("error.type", "-")],
    ..SUCCESS
};

const CANCELLED: Expected = Expected {
    message: " - CANCELLED",
    attributes: &[("rpc.response.status_code", "CANCELLED"), ("error.type", "-")],
    ..GRPC
};

/// Rule 55: a disconnect of the caller is not an error.
#[test]
fn callers_that_disconnect() {
    let mut table = Table::start(exporter());

    let connection = table.begin("before the response", "GET /origin/never/1", END, DISCONNECTED);
    at_service(&table, "/origin/never/1").unwrap();
    drop(connection);

    let flag = &[("response_flags", "DC"), ("error.type", "-")];
    let expected = Expected { attributes: flag, ..SUCCESS };
    let mut connection = table.begin("during the response", "GET /origin/half/1", END, expected);
    assert_eq!(connection.response_head().unwrap().status(), 200);
    assert_eq!(connection.bytes(10).unwrap(), b"0123456789");
    drop(connection);

    let expected = Expected { method: "POST", ..DISCONNECTED };
    let head = "content-length: 5\r\n\r\nhe";
    let connection = table.begin("during the request", "POST /origin/ok?left", head, expected);
    wait::try_until("the request at the filter", || {
        let requests = table.proxy.envoy.stat(&shell::metric("requests"))?;
        Ok(Some(()).filter(|()| requests == 3))
    })
    .unwrap();
    drop(connection);

    let http2 = Http2::open(table.proxy.address("inbound")).unwrap();
    let b3 = table.case("over HTTP/2", Expected { protocol: "HTTP/2", ..DISCONNECTED });
    let request = Request::get("http://shop/origin/never/2").header("b3", b3).body(()).unwrap();
    http2.cancel(request, b"", Cancel::BeforeResponse, || at_service(&table, "/origin/never/2")).unwrap();

    let b3 = table.case("gRPC, during the response", CANCELLED);
    let call = grpc_request(&b3, "demo.Shop/Forever");
    http2.cancel(call, GRPC_MESSAGE, Cancel::DuringResponse, || Ok(())).unwrap();
    let b3 = table.case("gRPC, before the response", Expected { status: 499, ..CANCELLED });
    let envoy = &table.proxy.envoy;
    let before = envoy.stat("cluster.grpc.upstream_rq_total").unwrap();
    let at_service = || {
        wait::try_until("the call at the service", || {
            envoy.stat("cluster.grpc.upstream_rq_total").map(|now| Some(()).filter(|()| now > before))
        })
    };
    let call = grpc_request(&b3, "demo.Shop/Never");
    http2.cancel(call, GRPC_MESSAGE, Cancel::BeforeResponse, at_service).unwrap();
    table.check();
}

fn at_service(table: &Table, path: &str) -> logtracer_harness::Result<()> {
    wait::until("the request at the service", || {
        Some(()).filter(|()| table.proxy.origin.request_count(path) > 0)
    })
}

/// Protocol errors get a response if the protocol still allows one.
#[test]
fn protocol_errors_of_callers() {
    let mut table = Table::start(exporter());
    let expected = Expected {
        status: 400,
        severity: "WARNING",
        method: "POST",
        message: " - 400 Bad Request",
        attributes: &[("response_flags", "DPE")],
        ..SUCCESS
    };
    let rest = "transfer-encoding: chunked\r\n\r\nno size\r\n";
    let mut connection = table.begin("a chunk without a size", "POST /origin/ok", rest, expected);
    assert_eq!(connection.response().unwrap().status(), 400);

    let expected = Expected { method: "GET", protocol: "HTTP/2", ..expected };
    let b3 = table.case("a frame of HTTP/2 that belongs to no stream", expected);
    let mut connection = table.connect();
    connection.send([http2::preface(), http2::get(1, b"/origin/never/1", &b3)].concat()).unwrap();
    at_service(&table, "/origin/never/1").unwrap();
    const DATA: u8 = 0;
    connection.send(http2::frame(DATA, 0, 0, b"abc")).unwrap();
    connection.rest();
    table.check();
}

/// Rule 55: a disconnect by Envoy is an error.
#[test]
fn a_proxy_that_disconnects() {
    let mut table = Table::start(exporter());
    let expected = Expected {
        status: 503,
        severity: "ERROR",
        message: " - 503 Service Unavailable",
        is_error: true,
        attributes: &[("response_flags", "DC"), ("response_code_details", "downstream_local_disconnect*")],
        ..SUCCESS
    };
    let mut connection = table.begin("a listener is removed", "GET /origin/never/1", END, expected);
    at_service(&table, "/origin/never/1").unwrap();
    table.proxy.replace(&[Listener::new("other", exporter())]).unwrap();
    assert_eq!(connection.rest(), b"");
    table.check();
}

/// Rule 60: the filter frees the memory of a stream that has ended, with or without a response.
#[test]
fn ended_streams_leak_no_memory() {
    const STREAMS: u32 = 40_000;
    const TOGETHER: u32 = 1000;
    let table = Table::start(json!({ "log_format": "off" }));
    let complete = (0..TOGETHER).flat_map(|stream| http2::get(2 * stream + 1, b"/nowhere", "0"));
    // Its caller disconnects before the response.
    let cancelled = http2::get(2 * TOGETHER + 1, b"/demo.Shop/Never", "0");
    let many: Vec<u8> = http2::preface().into_iter().chain(complete).chain(cancelled).collect();
    let mut sent = 0;
    let mut send = |streams: u32| {
        for _ in 0..streams / TOGETHER {
            let mut connection = table.connect();
            connection.send(&many).unwrap();
            sent += u64::from(TOGETHER) + 1;
            wait_for(&table, "their beginning", "downstream_rq_total", sent);
        }
        wait_for(&table, "their end", "downstream_rq_active", 0);
        table.proxy.envoy.resident_kib().unwrap()
    };
    let before = send(STREAMS / 4);
    let grown = send(STREAMS).saturating_sub(before);
    assert!(grown < 6 * 1024, "{grown} KiB more after {STREAMS} streams");
}

fn wait_for(table: &Table, what: &str, statistic: &str, expected: u64) {
    wait::try_until(what, || {
        let found = table.proxy.envoy.stat(&format!("http.inbound.{statistic}"))?;
        Ok(Some(()).filter(|()| found == expected))
    })
    .unwrap();
}
