//! gRPC-Web, whose trailers are in the body. The filter sees the status only before they are moved there.

use logtracer_harness::origin::GRPC_MESSAGE;
use logtracer_harness::proxy::Listener;

use super::grpc::{MESSAGE, failed, message};
use super::{Expected, GRPC, SUCCESS, Table, exporter};

/// Sends a gRPC-Web call over HTTP/1.1.
fn call(table: &mut Table, name: &'static str, method: &str, expected: Expected) {
    let headers = "content-type: application/grpc-web+proto\r\ncontent-length: 8\r\n\r\n";
    let body = format!("{headers}{}", std::str::from_utf8(GRPC_MESSAGE).unwrap());
    let response = table.http1(
        name,
        &format!("POST {method}"),
        &body,
        Expected { method: "POST", protocol: "HTTP/1.1", ..expected },
    );
    let body = String::from_utf8_lossy(&response.body);
    assert!(body.contains("grpc-status") != response.header("grpc-status").is_some(), "{response:?}");
}

/// Rule 57: after Envoy's filter for gRPC-Web a call is a gRPC call with trailers.
#[test]
fn behind_the_filter_for_grpc_web() {
    let mut table = Table::start(exporter());
    for (name, method, expected) in [
        ("success", "/demo.Shop/Buy", GRPC),
        ("the caller's error", "/demo.Shop/Missing", failed!("NOT_FOUND", caller)),
        ("the server's error", "/demo.Shop/Broken", failed!("INTERNAL", server)),
        ("trailers only", "/demo.Shop/TrailersOnly", failed!("PERMISSION_DENIED", caller)),
    ] {
        call(&mut table, name, method, expected);
    }
    table.check();
}

/// Rule 57: before that filter the status is in the body, which is not read, so there is no status.
#[test]
fn before_the_filter_for_grpc_web() {
    let before = Listener { filters: &["logtracer", "grpc_web"], ..Listener::new("inbound", exporter()) };
    let mut table = Table::with(&[before]);
    let unseen = Expected { attributes: &[("rpc.system.name", "-"), ("error.type", "-")], ..SUCCESS };
    for (name, method, expected) in [
        ("success", "/demo.Shop/Buy", unseen),
        ("the server's error", "/demo.Shop/Broken", unseen),
        // Without a body the status is a header.
        ("trailers only", "/demo.Shop/TrailersOnly", failed!("PERMISSION_DENIED", caller)),
    ] {
        call(&mut table, name, method, expected);
    }
    table.check();
}

/// Rule 57: a service with native gRPC-Web has its status in the body too.
#[test]
fn a_service_that_speaks_grpc_web() {
    let without = Listener { filters: &["logtracer"], ..Listener::new("inbound", exporter()) };
    let mut table = Table::with(&[without]);
    let unseen = Expected { attributes: &[("rpc.system.name", "-"), ("error.type", "-")], ..SUCCESS };
    call(&mut table, "the server's error", "/origin/grpc-web", unseen);
    table.check();
}
