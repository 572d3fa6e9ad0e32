//! HTTP/1: what a service answers, and what comes before its answer.

use super::{END, Expected, Lives, WELL, exporter};

/// Rules 58, 59 and 66.
#[test]
fn over_http_1() {
    let mut lives = Lives::start(exporter());

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
    permission_to_send(&mut lives);
    http_1_0(&mut lives);
    lives.check();
}

/// Rule 58: what comes before the final response does not count.
fn early_hints(lives: &mut Lives) {
    let mut connection = lives.begin("early hints", "GET /origin/hints", END, WELL);
    let mut response = connection.response().unwrap();
    if response.status() == 103 {
        response = connection.response().unwrap();
    }
    assert_eq!(response.status(), 200);
}

/// Rule 58: Envoy permits the body itself, and that is no response.
fn permission_to_send(lives: &mut Lives) {
    let expected = Expected { method: "POST", ..WELL };
    let head = "content-length: 5\r\nexpect: 100-continue\r\n\r\n";
    let mut connection = lives.begin("permission to send a body", "POST /origin/ok", head, expected);
    assert_eq!(connection.response_head().unwrap().status(), 100);
    connection.send("hello").unwrap();
    assert_eq!(connection.response().unwrap().status(), 200);
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
