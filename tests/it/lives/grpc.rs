//! gRPC.

use logtracer_tests::http2::Http2;
use logtracer_tests::origin::{GRPC_MESSAGE, PAUSE};

use super::{Expected, GRPC, Lives, exporter, grpc_request};

/// What the origin says of whatever went wrong, with its code before it.
macro_rules! says {
    ($code:literal) => {
        concat!(" - ", $code, " - no\nsuch K\u{e4}se 100%")
    };
}
pub(super) use says;

pub(super) const MESSAGE: &str = "no\nsuch K\u{e4}se 100%";

/// A call that fails by the fault of its caller, or of its server.
macro_rules! failed {
    ($code:literal, caller) => {
        Expected {
            severity: "WARNING",
            message: says!($code),
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
            message: says!($code),
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

/// Its first message comes long before its end.
const STREAM: Expected = Expected {
    at_least: PAUSE,
    attributes: &[("rpc.response.status_code", "OK"), ("logtracer.time_to_first_byte_ns", "*")],
    ..GRPC
};

/// Rule 57.
#[test]
fn over_grpc() {
    let mut lives = Lives::start(exporter());
    let http2 = Http2::open(lives.proxy.address("inbound")).unwrap();

    for (name, method, expected) in [
        ("well", "Buy", GRPC),
        ("the caller's error", "Missing", failed!("NOT_FOUND", caller)),
        ("the server's error", "Broken", failed!("INTERNAL", server)),
        ("trailers only", "TrailersOnly", failed!("PERMISSION_DENIED", caller)),
        ("the status for what is not known", "Puzzled", failed!("UNKNOWN", server)),
        ("a status that is no number", "Odd", failed!("UNKNOWN", server)),
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
        let b3 = lives.case(name, expected);
        let call = grpc_request(&b3, &format!("demo.Shop/{method}"));
        assert_eq!(http2.send(call, GRPC_MESSAGE).unwrap().status, 200, "{name}");
    }

    let b3 = lives.case("a caller's stream", GRPC);
    let call = grpc_request(&b3, "demo.Shop/Collect");
    let answer = http2.send_pieces(call, &[GRPC_MESSAGE, GRPC_MESSAGE, GRPC_MESSAGE]).unwrap();
    assert_eq!(answer.trailers["grpc-status"], "0");

    let b3 = lives.case("streams in both directions", GRPC);
    let answer = http2.converse(grpc_request(&b3, "demo.Shop/Chat"), &[GRPC_MESSAGE, GRPC_MESSAGE]).unwrap();
    assert_eq!(
        (answer.body, answer.trailers["grpc-status"].as_bytes()),
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
    let b3 = lives.case("an answer that is HTTP only", unavailable);
    assert_eq!(http2.send(grpc_request(&b3, "demo.Shop/NotGrpc"), GRPC_MESSAGE).unwrap().status, 503);
    lives.check();
}

/// Rules 54 and 57: Envoy answers a call of gRPC in its own terms.
#[test]
fn answers_of_envoy_over_grpc() {
    let mut lives = Lives::start(exporter());
    let http2 = Http2::open(lives.proxy.address("inbound")).unwrap();
    for (name, method, expected) in [
        (
            "nobody listens upstream",
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
            "an earlier filter answers",
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
        let b3 = lives.case(name, expected);
        let answer = http2.send(grpc_request(&b3, method), GRPC_MESSAGE).unwrap();
        assert_eq!(answer.status, 200, "{name}");
    }
    lives.check();
}
