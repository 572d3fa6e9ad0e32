//! What headers may hold.

use logtracer_tests::wait;
use serde_json::{Value, json};

use super::{Expected, Lives, WELL, exporter, http2};
use crate::{CALLER, trace, values};

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

    // Over HTTP/1 Envoy refuses it.
    let expected = Expected {
        protocol: "HTTP/2",
        message: "/origin/\u{fffd}\u{fffd} - 200 OK",
        attributes: &[("url.path", "/origin/\u{fffd}\u{fffd}")],
        ..WELL
    };
    let b3 = lives.case("a path that is not UTF-8", expected);
    let mut connection = lives.connect();
    connection.send([http2::preface(), http2::get(1, b"/origin/\xff\xfe", &b3)].concat()).unwrap();

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

/// Rule 52: Envoy marks its own decision to trace in `x-request-id`; the filter goes by the caller's headers alone.
#[test]
fn nothing_depends_on_x_request_id() {
    let lives = Lives::start(exporter());
    let mut connection = lives.connect();
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
                lives.proxy.lines(&trace(number)).map(|lines| Some(lines).filter(|lines| !lines.is_empty()))
            });
            lines.unwrap()[0]["logging.googleapis.com/trace_sampled"].as_bool().unwrap()
        })
        .collect();
    assert_eq!(sampled, [true, false].repeat(5));
}
