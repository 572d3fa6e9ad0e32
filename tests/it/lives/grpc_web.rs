//! gRPC-Web, whose trailers stand in the body: what is told hangs on who puts them there.

use logtracer_tests::origin::GRPC_MESSAGE;
use logtracer_tests::proxy::Listener;

use super::grpc::{MESSAGE, failed, says};
use super::{Expected, GRPC, Lives, WELL, exporter};

/// Sends a call of gRPC-Web over HTTP/1.1.
fn call(lives: &mut Lives, name: &'static str, method: &str, expected: Expected) {
    let headers = "content-type: application/grpc-web+proto\r\ncontent-length: 8\r\n\r\n";
    let body = format!("{headers}{}", std::str::from_utf8(GRPC_MESSAGE).unwrap());
    let answer = lives.http1(
        name,
        &format!("POST {method}"),
        &body,
        Expected { method: "POST", protocol: "HTTP/1.1", ..expected },
    );
    let body = String::from_utf8_lossy(&answer.body);
    assert!(body.contains("grpc-status") != answer.header("grpc-status").is_some(), "{answer:?}");
}

/// Rule 57: behind Envoy's own filter for it a call is one of gRPC, whose trailers are seen before they are moved.
#[test]
fn behind_the_filter_for_grpc_web() {
    let mut lives = Lives::start(exporter());
    for (name, method, expected) in [
        ("well", "/demo.Shop/Buy", GRPC),
        ("the caller's error", "/demo.Shop/Missing", failed!("NOT_FOUND", caller)),
        ("the server's error", "/demo.Shop/Broken", failed!("INTERNAL", server)),
        ("trailers only", "/demo.Shop/TrailersOnly", failed!("PERMISSION_DENIED", caller)),
    ] {
        call(&mut lives, name, method, expected);
    }
    lives.check();
}

/// Rule 57: before it there is no body to look into, and nothing is told that was not seen.
#[test]
fn before_the_filter_for_grpc_web() {
    let before = Listener { filters: &["logtracer", "grpc_web"], ..Listener::new("inbound", exporter()) };
    let mut lives = Lives::with(&[before]);
    let unseen = Expected { attributes: &[("rpc.system.name", "-"), ("error.type", "-")], ..WELL };
    for (name, method, expected) in [
        ("well", "/demo.Shop/Buy", unseen),
        ("the server's error", "/demo.Shop/Broken", unseen),
        // Without a body the status is a header.
        ("trailers only", "/demo.Shop/TrailersOnly", failed!("PERMISSION_DENIED", caller)),
    ] {
        call(&mut lives, name, method, expected);
    }
    lives.check();
}

/// Rule 57: the same of a service that speaks gRPC-Web itself.
#[test]
fn a_service_that_speaks_grpc_web() {
    let without = Listener { filters: &["logtracer"], ..Listener::new("inbound", exporter()) };
    let mut lives = Lives::with(&[without]);
    let unseen = Expected { attributes: &[("rpc.system.name", "-"), ("error.type", "-")], ..WELL };
    call(&mut lives, "the server's error", "/origin/grpc-web", unseen);
    lives.check();
}
