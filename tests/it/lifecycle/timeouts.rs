//! Timeouts of Envoy and deadlines of callers.

use std::time::Duration;

use logtracer_harness::http2::Http2;
use logtracer_harness::origin::GRPC_MESSAGE;
use logtracer_harness::proxy::Listener;
use serde_json::json;

use super::{END, Expected, GRPC, SUCCESS, Table, exporter, grpc_request};

const TOO_LATE: Expected = Expected {
    status: 504,
    severity: "ERROR",
    message: " - 504 Gateway Timeout",
    is_error: true,
    at_least: Duration::from_millis(250), // of 300
    ..SUCCESS
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
fn timeouts_of_requests() {
    let impatient =
        Listener { manager: json!({ "request_timeout": "0.3s" }), ..Listener::new("impatient", exporter()) };
    let mut table = Table::with(&[Listener::new("inbound", exporter()), impatient]);

    table.http1(
        "the route timeout",
        "GET /origin/never/impatient",
        END,
        Expected { attributes: &[("response_flags", "UT"), ("http.route", "impatient")], ..TOO_LATE },
    );
    table.http1(
        "the timeout of two attempts",
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
    assert_eq!(table.proxy.origin.request_count("/origin/never/twice"), 2);
    table.http1(
        "the idle timeout",
        "GET /origin/never/idle",
        END,
        Expected {
            attributes: &[("response_flags", "SI"), ("response_code_details", "stream_idle_timeout")],
            ..TOO_LATE
        },
    );
    table.http1(
        "the maximum duration",
        "GET /origin/never/short",
        END,
        Expected {
            attributes: &[("response_code_details", "max_duration_timeout"), ("http.route", "short")],
            ..TOO_LATE
        },
    );
    table.listener = "impatient";
    table.http1(
        "an incomplete request",
        "POST /origin/ok",
        "content-length: 5\r\n\r\nhe",
        Expected {
            method: "POST",
            attributes: &[("response_code_details", "request_overall_timeout")],
            ..TIMEOUT
        },
    );
    table.check();
}

/// Rule 57: the deadline of a call is set by its caller.
#[test]
fn calls_with_a_deadline() {
    let mut table = Table::start(exporter());
    let http2 = Http2::open(table.proxy.address("inbound")).unwrap();
    let late = Expected {
        severity: "ERROR",
        is_error: true,
        at_least: TOO_LATE.at_least,
        message: " - DEADLINE_EXCEEDED - downstream duration timeout",
        attributes: &[("rpc.response.status_code", "DEADLINE_EXCEEDED"), ("error.type", "DEADLINE_EXCEEDED")],
        ..GRPC
    };
    let b3 = table.case("no response before the deadline", late);
    let mut call = grpc_request(&b3, "demo.Shop/Never");
    call.headers_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let response = http2.send(call, GRPC_MESSAGE).unwrap();
    assert_eq!(response.headers["grpc-status"], "4", "{response:?}");

    // The stream has begun, so there is no status.
    let b3 = table.case(
        "a stream beyond the deadline",
        Expected { message: " - UNKNOWN", attributes: &[("rpc.response.status_code", "UNKNOWN")], ..late },
    );
    let mut call = grpc_request(&b3, "demo.Shop/Forever");
    call.headers_mut().insert("grpc-timeout", "300m".parse().unwrap());
    assert!(http2.send(call, GRPC_MESSAGE).is_err());
    table.check();
}
