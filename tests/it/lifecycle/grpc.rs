//! gRPC calls.

use logtracer_harness::http2::Http2;
use logtracer_harness::origin::{DELAY, GRPC_MESSAGE};

use super::{Expected, GRPC, Table, exporter, grpc_request};

/// The end of the log message of a failed call: the code and the origin's message.
macro_rules! message {
    ($code:literal) => {
        concat!(" - ", $code, " - no\nsuch K\u{e4}se 100%")
    };
}
pub(super) use message;

pub(super) const MESSAGE: &str = "no\nsuch K\u{e4}se 100%";

/// A call that fails by an error of the caller or of the server.
macro_rules! failed {
    ($code:literal, caller) => {
        Expected {
            severity: "WARNING",
            message: message!($code),
            attributes: &[
                ("rpc.response.status_code", $code),
                ("grpc.message", MESSAGE),
                ("error.type", "-"),
            ],
            ..GRPC
        }
    };
    ($code:literal, server) => {
        Expected {
            severity: "ERROR",
            is_error: true,
            message: message!($code),
            attributes: &[
                ("rpc.response.status_code", $code),
                ("grpc.message", MESSAGE),
                ("error.type", $code),
            ],
            ..GRPC
        }
    };
}
pub(super) use failed;

/// A stream whose first message arrives long before its end.
const STREAM: Expected = Expected {
    at_least: DELAY,
    attributes: &[("rpc.response.status_code", "OK"), ("logtracer.time_to_first_byte_ns", "*")],
    ..GRPC
};

/// Rule 57.
#[test]
fn over_grpc() {
    let mut table = Table::start(exporter());
    let http2 = Http2::open(table.proxy.address("inbound")).unwrap();

    for (name, method, expected) in [
        ("success", "Buy", GRPC),
        ("the caller's error", "Missing", failed!("NOT_FOUND", caller)),
        ("the server's error", "Broken", failed!("INTERNAL", server)),
        ("trailers only", "TrailersOnly", failed!("PERMISSION_DENIED", caller)),
        ("the status UNKNOWN", "Puzzled", failed!("UNKNOWN", server)),
        ("a status that is not a number", "Odd", failed!("UNKNOWN", server)),
        (
            "no status",
            "NoStatus",
            Expected {
                severity: "ERROR",
                is_error: true,
                message: " - UNKNOWN",
                attributes: &[("rpc.response.status_code", "UNKNOWN"), ("grpc.message", "-")],
                ..GRPC
            },
        ),
        ("a server's stream", "Watch", STREAM),
    ] {
        let b3 = table.case(name, expected);
        let call = grpc_request(&b3, &format!("demo.Shop/{method}"));
        assert_eq!(http2.send(call, GRPC_MESSAGE).unwrap().status, 200, "{name}");
    }

    let b3 = table.case("a caller's stream", GRPC);
    let call = grpc_request(&b3, "demo.Shop/Collect");
    let response = http2.send_frames(call, &[GRPC_MESSAGE, GRPC_MESSAGE, GRPC_MESSAGE]).unwrap();
    assert_eq!(response.trailers["grpc-status"], "0");

    let b3 = table.case("streams in both directions", GRPC);
    let response =
        http2.converse(grpc_request(&b3, "demo.Shop/Chat"), &[GRPC_MESSAGE, GRPC_MESSAGE]).unwrap();
    assert_eq!(
        (response.body, response.trailers["grpc-status"].as_bytes()),
        (GRPC_MESSAGE.repeat(2), b"0".as_slice())
    );

    let unavailable = Expected {
        status: 503,
        severity: "ERROR",
        is_error: true,
        message: " - UNAVAILABLE",
        attributes: &[("rpc.response.status_code", "UNAVAILABLE"), ("grpc.message", "-")],
        ..GRPC
    };
    let b3 = table.case("a response that is not gRPC", unavailable);
    assert_eq!(http2.send(grpc_request(&b3, "demo.Shop/NotGrpc"), GRPC_MESSAGE).unwrap().status, 503);
    table.check();
}

/// Rules 54 and 57: Envoy's local reply to a gRPC call is a gRPC response.
#[test]
fn local_replies_over_grpc() {
    let mut table = Table::start(exporter());
    let http2 = Http2::open(table.proxy.address("inbound")).unwrap();
    for (name, method, expected) in [
        (
            "the upstream is down",
            "demo.Down/Buy",
            Expected {
                severity: "ERROR",
                is_error: true,
                message: " - UNAVAILABLE - upstream connect error*",
                attributes: &[
                    ("rpc.response.status_code", "UNAVAILABLE"),
                    ("grpc.message", "upstream connect error*"),
                    ("response_flags", "UF"),
                ],
                ..GRPC
            },
        ),
        (
            "no route",
            "demo.Nowhere/Buy",
            Expected {
                severity: "ERROR",
                is_error: true,
                message: " - UNIMPLEMENTED",
                attributes: &[("rpc.response.status_code", "UNIMPLEMENTED"), ("response_flags", "NR")],
                ..GRPC
            },
        ),
        (
            "an earlier filter responds",
            "forbidden/Buy",
            Expected {
                severity: "WARNING",
                message: " - PERMISSION_DENIED - RBAC: access denied",
                attributes: &[
                    ("rpc.response.status_code", "PERMISSION_DENIED"),
                    ("grpc.message", "RBAC: access denied"),
                ],
                ..GRPC
            },
        ),
    ] {
        let b3 = table.case(name, expected);
        let response = http2.send(grpc_request(&b3, method), GRPC_MESSAGE).unwrap();
        assert_eq!(response.status, 200, "{name}");
    }
    table.check();
}
