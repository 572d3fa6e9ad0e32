//! HTTP/1: final responses and what precedes them.

use super::{END, Expected, SUCCESS, Table, exporter};

/// Rules 58, 59 and 66.
#[test]
fn over_http_1() {
    let mut table = Table::start(exporter());

    table.http1(
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
            ..SUCCESS
        },
    );
    table.http1(
        "with a body",
        "POST /origin/ok",
        "content-length: 5\r\n\r\nhello",
        Expected { method: "POST", ..SUCCESS },
    );
    table.http1(
        "an unknown method",
        "REPORT /origin/418",
        END,
        Expected {
            status: 418,
            severity: "WARNING",
            method: "REPORT",
            message: " - 418 I'm a teapot",
            attributes: &[("http.request.method", "_OTHER"), ("http.request.method_original", "REPORT")],
            ..SUCCESS
        },
    );
    table.http1(
        "a server error",
        "GET /origin/500",
        END,
        Expected {
            status: 500,
            severity: "ERROR",
            message: " - 500 Internal Server Error",
            is_error: true,
            ..SUCCESS
        },
    );
    table.http1(
        "a redirect of the service",
        "GET /origin/moved",
        END,
        Expected { status: 302, message: " - 302 Found", ..SUCCESS },
    );

    table.http1("HEAD", "HEAD /origin/head", END, Expected { method: "HEAD", ..SUCCESS });
    table.http1(
        "204",
        "GET /origin/204",
        END,
        Expected { status: 204, message: " - 204 No Content", ..SUCCESS },
    );
    table.http1(
        "304",
        "GET /origin/304",
        END,
        Expected { status: 304, message: " - 304 Not Modified", ..SUCCESS },
    );

    early_hints(&mut table);
    continue_100(&mut table);
    http_1_0(&mut table);
    table.check();
}

/// Rule 58: only the final response counts.
fn early_hints(table: &mut Table) {
    let mut connection = table.begin("early hints", "GET /origin/hints", END, SUCCESS);
    let mut response = connection.response().unwrap();
    if response.status() == 103 {
        response = connection.response().unwrap();
    }
    assert_eq!(response.status(), 200);
}

/// Rule 58: Envoy itself sends 100 Continue, which is not the response.
fn continue_100(table: &mut Table) {
    let expected = Expected { method: "POST", ..SUCCESS };
    let head = "content-length: 5\r\nexpect: 100-continue\r\n\r\n";
    let mut connection = table.begin("100 Continue", "POST /origin/ok", head, expected);
    assert_eq!(connection.response_head().unwrap().status(), 100);
    connection.send("hello").unwrap();
    assert_eq!(connection.response().unwrap().status(), 200);
}

fn http_1_0(table: &mut Table) {
    let b3 = table.case(
        "HTTP/1.0 without a host",
        Expected {
            protocol: "HTTP/1.0",
            message: " - GET - http://old.example.com/origin/ok - 200 OK",
            attributes: &[("server.address", "old.example.com")],
            ..SUCCESS
        },
    );
    let mut connection = table.connect();
    connection.send(format!("GET /origin/ok HTTP/1.0\r\nb3: {b3}\r\n\r\n")).unwrap();
    assert_eq!(connection.response().unwrap().status(), 200);
}
