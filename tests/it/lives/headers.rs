//! What headers may hold.

use super::{Expected, Lives, WELL, http2};

use serde_json::json;

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

    // Over HTTP/1 Envoy refuses a path that is not UTF-8 before there is a request, over HTTP/2 it lets it pass.
    let mut connection = lives.connect();
    connection.send(b"GET /origin/\xff\xfe HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    assert_eq!(connection.response().unwrap().status(), 400);
    let expected = Expected {
        protocol: "HTTP/2",
        message: "/origin/\u{fffd}\u{fffd} - 200 OK",
        attributes: &[("url.path", "/origin/\u{fffd}\u{fffd}")],
        ..WELL
    };
    let b3 = lives.case("a path that is not UTF-8", expected);
    let mut connection = lives.connect();
    connection.send(http2::head("GET", b"/origin/\xff\xfe", &b3)).unwrap();

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
