//! Upgrades, tunnels and streams.

use std::time::Duration;

use http::{Method, Request};
use logtracer_harness::http2::Http2;
use logtracer_harness::origin::DELAY;

use super::{Expected, SUCCESS, Table, exporter};

/// Rule 56.
#[test]
fn tunnels_and_streams() {
    let mut table = Table::start(exporter());

    let b3 = table.case(
        "a WebSocket",
        Expected {
            status: 101,
            message: " - 101 Switching Protocols",
            at_least: Duration::from_millis(200),
            attributes: &[("error.type", "-"), ("logtracer.time_to_first_byte_ns", "*")],
            ..SUCCESS
        },
    );
    let mut connection = table.connect();
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

    // The target of the tunnel is the origin, which responds to a request inside.
    let b3 = table.case(
        "CONNECT",
        Expected {
            method: "CONNECT",
            attributes: &[
                ("error.type", "-"),
                ("http.route", "tunnel"),
                ("logtracer.time_to_first_byte_ns", "*"),
            ],
            ..SUCCESS
        },
    );
    let mut connection = table.connect();
    connection.send(format!("CONNECT shop:443 HTTP/1.1\r\nhost: shop:443\r\nb3: {b3}\r\n\r\n")).unwrap();
    assert_eq!(connection.response_head().unwrap().status(), 200);
    connection.send("GET /origin/418 HTTP/1.1\r\nhost: inside\r\n\r\n").unwrap();
    assert_eq!(connection.response_head().unwrap().status(), 418);
    drop(connection);

    let b3 = table.case(
        "server-sent events",
        Expected { at_least: DELAY, attributes: &[("logtracer.time_to_first_byte_ns", "*")], ..SUCCESS },
    );
    let mut connection = table.connect();
    connection.send(format!("GET /origin/events HTTP/1.1\r\nhost: shop\r\nb3: {b3}\r\n\r\n")).unwrap();
    assert_eq!(connection.response().unwrap().body, b"data: 1\n\ndata: 2\n\n");

    table.http1("a slow response", "GET /origin/slow", "\r\n", Expected { at_least: DELAY, ..SUCCESS });
    table.http1(
        "a fast response",
        "GET /origin/ok",
        "\r\n",
        Expected {
            at_most: Duration::from_secs(10),
            attributes: &[("logtracer.time_to_first_byte_ns", "-")],
            ..SUCCESS
        },
    );
    table.check();
}

const TUNNEL: Expected = Expected {
    protocol: "HTTP/2",
    attributes: &[("error.type", "-"), ("logtracer.time_to_first_byte_ns", "*")],
    ..SUCCESS
};

/// Rule 56.
#[test]
fn tunnels_over_http_2() {
    let mut table = Table::start(exporter());
    let http2 = Http2::open(table.proxy.address("inbound")).unwrap();

    let b3 = table.case("CONNECT", Expected { method: "CONNECT", ..TUNNEL });
    let request = Request::builder().method(Method::CONNECT).uri("shop:443").header("b3", b3);
    let inside = b"GET /origin/418 HTTP/1.1\r\nhost: inside\r\n\r\n";
    let response = http2.converse(request.body(()).unwrap(), &[inside]).unwrap();
    assert_eq!(response.status, 200);
    assert!(response.body.starts_with(b"HTTP/1.1 418 "), "{response:?}");

    // For the filter and the service it is an upgrade of HTTP/1.1.
    let upgrade = Expected { status: 101, message: " - 101 Switching Protocols", ..TUNNEL };
    let b3 = table.case("a WebSocket over HTTP/2", upgrade);
    http2.wait_for_extended_connect().unwrap();
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://shop/origin/websocket")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .header("b3", b3);
    let response = http2.converse(request.body(()).unwrap(), &[b"ping", b"bye"]).unwrap();
    assert_eq!((response.status, response.body.as_slice()), (200, b"pingbye".as_slice()));
    table.check();
}

/// Rule 56: a rejected upgrade is a normal request.
#[test]
fn rejected_upgrades() {
    let mut table = Table::start(exporter());
    table.http1(
        "by the service",
        "GET /origin/418",
        "connection: upgrade\r\nupgrade: websocket\r\n\r\n",
        Expected { status: 418, severity: "WARNING", message: " - 418 I'm a teapot", ..SUCCESS },
    );
    table.http1(
        "by Envoy",
        "GET /origin/ok",
        "connection: upgrade\r\nupgrade: telnet\r\n\r\n",
        Expected {
            status: 403,
            severity: "WARNING",
            message: " - 403 Forbidden",
            attributes: &[("response_code_details", "upgrade_failed"), ("upstream_address", "-")],
            ..SUCCESS
        },
    );
    table.check();
}
