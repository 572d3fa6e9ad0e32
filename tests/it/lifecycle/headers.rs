//! Unusual headers.

use logtracer_harness::wait;
use serde_json::{Value, json};

use super::{Expected, SUCCESS, Table, exporter, http2};
use crate::{CALLER, trace, values};

/// Rules 38, 39, 58, 62 and 68.
#[test]
fn any_header_value() {
    let mut table = Table::start(json!({
        "exporter": { "cluster": "logtracer-exporter", "flush_interval": "100ms" },
        "request_headers": ["x-note"],
    }));
    let long = format!("GET /origin/{}", "a".repeat(20_000));
    table.http1("a long path", &long, "\r\n", Expected { message: " - 200 OK", ..SUCCESS });

    table.http1(
        "headers that are not UTF-8",
        "GET /origin/ok",
        b"user-agent: \xff\xfe\x80\r\nx-note: \xe4\r\n\r\n",
        Expected {
            attributes: &[("user_agent.original", "\u{fffd}\u{fffd}\u{fffd}")],
            labels: &[("http.request.header.x-note", "\u{fffd}")],
            ..SUCCESS
        },
    );
    table.http1(
        "an escaped line break",
        "GET /origin/%0d%0a%22%7b",
        "user-agent: \"}\\u000a{\"\r\n\r\n",
        Expected {
            attributes: &[("user_agent.original", "\"}\\u000a{\""), ("url.path", "/origin/%0d%0a%22%7b")],
            ..SUCCESS
        },
    );
    let many: String = (0..60).map(|index| format!("x-filler-{index}: {}\r\n", "f".repeat(1000))).collect();
    table.http1("60 KiB of headers", "GET /origin/ok", format!("{many}\r\n"), SUCCESS);
    table.http1(
        "an enormous header",
        "GET /origin/ok",
        format!("x-note: {}\r\n\r\n", "n".repeat(60_000)),
        SUCCESS,
    );

    table.http1(
        "repeated headers",
        "GET /origin/ok",
        "x-note: a\r\nx-note: b\r\nuser-agent: one\r\n\r\n",
        Expected {
            attributes: &[("user_agent.original", "one"), ("http.request.header.x-note", r#"["a","b"]"#)],
            ..SUCCESS
        },
    );

    // Envoy rejects it over HTTP/1.
    let expected = Expected {
        protocol: "HTTP/2",
        message: "/origin/\u{fffd}\u{fffd} - 200 OK",
        attributes: &[("url.path", "/origin/\u{fffd}\u{fffd}")],
        ..SUCCESS
    };
    let b3 = table.case("a path that is not UTF-8", expected);
    let mut connection = table.connect();
    connection.send([http2::preface(), http2::get(1, b"/origin/\xff\xfe", &b3)].concat()).unwrap();

    // Headers that exceed Envoy's limit are rejected without an effect on other requests.
    let mut connection = table.connect();
    connection
        .send(format!("GET /origin/ok HTTP/1.1\r\nhost: shop\r\nx: {}\r\n\r\n", "x".repeat(120_000)))
        .unwrap();
    assert_eq!(connection.response().unwrap().status(), 431);
    table.http1("a request after that", "GET /origin/ok", "\r\n", SUCCESS);

    for line in logtracer_harness::lines::raw(table.proxy.envoy.stdout()).unwrap() {
        assert!(line.len() < 64 * 1024, "{} bytes", line.len());
    }
    table.check();
}

/// Rule 52: Envoy writes its own sampling decision to `x-request-id`; the filter uses only the caller's headers.
#[test]
fn nothing_depends_on_x_request_id() {
    let table = Table::start(exporter());
    let mut connection = table.connect();
    let mut number = 0;
    for id in [
        "7",
        "",
        "463ac35c-9f64-4d48-8a39-53bb61240000",
        "463ac35c-9f64-9d48-8a39-53bb61240000",
        &"x".repeat(300),
    ] {
        for is_sampled in [true, false] {
            number += 1;
            let b3 = format!("{}-{CALLER}-{}", trace(number), u8::from(is_sampled));
            connection
                .send(format!(
                    "GET /origin/ok HTTP/1.1\r\nhost: shop\r\nx-request-id: {id}\r\nb3: {b3}\r\n\r\n"
                ))
                .unwrap();
            let body: Value = serde_json::from_slice(&connection.response().unwrap().body).unwrap();
            let headers: Vec<(String, String)> = serde_json::from_value(body["headers"].clone()).unwrap();
            let decision = if is_sampled { "1" } else { "0" };
            assert_eq!(values(&headers, "x-b3-traceid"), [trace(number)], "{id}");
            assert_eq!(values(&headers, "x-b3-sampled"), [decision], "{id}");
        }
    }
    let sampled: Vec<bool> = (1..=number)
        .map(|number| {
            let lines = wait::try_until("its line", || {
                table.proxy.lines(&trace(number)).map(|lines| Some(lines).filter(|lines| !lines.is_empty()))
            });
            lines.unwrap()[0]["logging.googleapis.com/trace_sampled"].as_bool().unwrap()
        })
        .collect();
    assert_eq!(sampled, [true, false].repeat(5));
}
