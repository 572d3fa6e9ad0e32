//! Whatever takes too long, and who has lost patience.

use std::time::Duration;

use logtracer_tests::http2::Http2;
use logtracer_tests::origin::GRPC_MESSAGE;
use logtracer_tests::proxy::Listener;
use serde_json::json;

use super::{END, Expected, GRPC, Lives, WELL, exporter, grpc_request};

const TOO_LATE: Expected = Expected {
    status: 504,
    severity: "ERROR",
    message: " - 504 Gateway Timeout",
    is_error: true,
    at_least: Duration::from_millis(250), // of 300
    ..WELL
};

const TIMEOUT: Expected = Expected {
    status: 408,
    severity: "WARNING",
    message: " - 408 Request Timeout",
    is_error: false,
    ..TOO_LATE
};

/// Rules 53 and 66.
#[test]
fn whatever_takes_too_long() {
    let impatient =
        Listener { manager: json!({ "request_timeout": "0.3s" }), ..Listener::new("impatient", exporter()) };
    let mut lives = Lives::with(&[Listener::new("inbound", exporter()), impatient]);

    lives.http1(
        "the upstream, altogether",
        "GET /origin/never/impatient",
        END,
        Expected { attributes: &[("response_flags", "UT"), ("http.route", "impatient")], ..TOO_LATE },
    );
    lives.http1(
        "the upstream, twice",
        "GET /origin/never/twice",
        END,
        Expected {
            at_least: Duration::from_millis(350), // of two times 200
            attributes: &[
                ("response_flags", "UT,URX"),
                ("response_code_details", "upstream_per_try_timeout"),
                ("upstream_request_attempt_count", "2"),
            ],
            ..TOO_LATE
        },
    );
    assert_eq!(lives.proxy.origin.requests("/origin/never/twice"), 2);
    lives.http1(
        "nothing happens",
        "GET /origin/never/idle",
        END,
        Expected {
            attributes: &[("response_flags", "SI"), ("response_code_details", "stream_idle_timeout")],
            ..TOO_LATE
        },
    );
    lives.http1(
        "it lives too long",
        "GET /origin/never/short",
        END,
        Expected {
            attributes: &[("response_code_details", "max_duration_timeout"), ("http.route", "short")],
            ..TOO_LATE
        },
    );
    // The status was sent, and stays; the flags or the details tell what happened then.
    for (name, path, expected) in [
        ("nothing happens any more", "GET /origin/half/idle", &[("response_flags", "SI")]),
        (
            "a response lives too long",
            "GET /origin/half/short",
            &[("response_code_details", "max_duration_timeout")],
        ),
    ] {
        let mut connection = lives.begin(
            name,
            path,
            END,
            Expected { attributes: expected, at_least: TOO_LATE.at_least, ..WELL },
        );
        assert_eq!(connection.response_head().unwrap().status(), 200);
        connection.rest();
    }
    lives.listener = "impatient";
    lives.http1(
        "the request does not end",
        "POST /origin/ok",
        "content-length: 5\r\n\r\nhe",
        Expected {
            method: "POST",
            attributes: &[("response_code_details", "request_overall_timeout")],
            ..TIMEOUT
        },
    );
    lives.check();
}

/// Rule 57: the deadline of a call is its caller's own.
#[test]
fn calls_with_a_deadline() {
    let mut lives = Lives::start(exporter());
    let http2 = Http2::open(lives.proxy.address("inbound")).unwrap();
    let late = Expected {
        severity: "ERROR",
        is_error: true,
        at_least: TOO_LATE.at_least,
        message: " - DEADLINE_EXCEEDED - downstream duration timeout",
        attributes: &[("rpc.response.status_code", "DEADLINE_EXCEEDED"), ("error.type", "DEADLINE_EXCEEDED")],
        ..GRPC
    };
    let b3 = lives.case("nobody answers in time", late);
    let mut call = grpc_request(&b3, "demo.Shop/Never");
    call.headers_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let answer = http2.send(call, GRPC_MESSAGE).unwrap();
    assert_eq!(answer.headers["grpc-status"], "4", "{answer:?}");

    // Too late for a status: what came is the beginning of a stream.
    let b3 = lives.case(
        "a stream lasts too long",
        Expected { message: " - UNKNOWN", attributes: &[("rpc.response.status_code", "UNKNOWN")], ..late },
    );
    let mut call = grpc_request(&b3, "demo.Shop/Forever");
    call.headers_mut().insert("grpc-timeout", "300m".parse().unwrap());
    assert!(http2.send(call, GRPC_MESSAGE).is_err());
    lives.check();
}
