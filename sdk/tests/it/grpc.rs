//! A gRPC service and its client, both with tonic, over a real connection.

use std::net::SocketAddr;

use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{Messages, RequestLog, TraceLayer};
use logtracer_sdk::testing::Capture;
use logtracer_sdk::{TraceContext, client, current_trace};
use serde_json::Value;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::shop_rpc::{BuyReply, BuyRequest, ShopServer, buy, descriptors};

async fn handle(request: Request<BuyRequest>) -> Result<Response<BuyReply>, Status> {
    assert!(current_trace().is_some());
    let request = request.into_inner();
    tracing::info!(item = request.item, "buying");
    match request.item.as_str() {
        "bread" => Ok(Response::new(BuyReply { order: 7 })),
        "caf\u{e9}" => Err(Status::not_found("no caf\u{e9}, 100%")),
        "eggs" => Err(Status::not_found("out of eggs")),
        _ => Err(Status::internal("no such item")),
    }
}

async fn serve(requests: RequestLog) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let messages = Messages::new(&descriptors()).unwrap().redact(["card"]).unwrap();
    let server = tonic::transport::Server::builder()
        .layer(TraceLayer::grpc().requests(requests).messages(messages))
        .add_service(ShopServer(handle))
        .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener));
    tokio::spawn(server);
    address
}

/// Calls the service in a trace, and returns the log lines of both sides.
async fn lines_of(item: &str, requests: RequestLog) -> Vec<Value> {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let address = serve(requests).await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let traced =
        tower::ServiceBuilder::new().layer(client::TraceLayer::new().requests(requests)).service(channel);
    let context = TraceContext::new_root();
    let _ = buy(traced, item, "4111").in_trace(context).await;
    // The server logs its last line at the end of its side of the stream.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let lines = capture.lines();
    assert!(lines.iter().all(|line| line["trace"] == context.trace_id.to_string()), "{lines:?}");
    assert!(!format!("{lines:?}").contains("4111"), "{lines:?}");
    lines
}

fn texts(lines: &[Value]) -> Vec<(String, String)> {
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    lines.iter().map(|line| (text(line, "severity"), text(line, "message"))).collect()
}

#[tokio::test]
async fn the_status_in_the_trailers_is_logged() {
    let pair = texts(&lines_of("bread", RequestLog::Pair).await);
    for expected in [
        ("INFO", "test - /demo.Shop/Buy - outbound gRPC call"),
        ("INFO", "test - /demo.Shop/Buy - received gRPC call"),
        ("INFO", "test - buying"),
        ("INFO", "test - /demo.Shop/Buy - OK - returning gRPC call"),
        ("INFO", "test - Response received from /demo.Shop/Buy - OK"),
    ] {
        assert!(pair.contains(&(expected.0.into(), expected.1.into())), "{expected:?} in {pair:?}");
    }
    assert_eq!(pair.len(), 5, "{pair:?}");
}

/// An error is a response without a body, with its status in the headers.
#[tokio::test]
async fn the_status_of_a_response_without_a_body_is_logged() {
    for (item, severity, code) in
        [("eggs", "WARNING", "NOT_FOUND - out of eggs"), ("gold", "ERROR", "INTERNAL - no such item")]
    {
        let lines = texts(&lines_of(item, RequestLog::Single).await);
        let server = (severity.into(), format!("test - /demo.Shop/Buy - {code}"));
        let client = ("WARNING".into(), format!("test - OUTBOUND /demo.Shop/Buy - {code}"));
        assert!(lines.contains(&server) && lines.contains(&client), "{lines:?}");
    }
}

/// The decoded `grpc-message` is in the lines of both sides.
#[tokio::test]
async fn the_message_of_the_status_is_logged() {
    for (requests, server, client) in [
        (RequestLog::Single, "NOT_FOUND", "OUTBOUND /demo.Shop/Buy - NOT_FOUND"),
        (
            RequestLog::Pair,
            "NOT_FOUND - returning gRPC call",
            "Response received from /demo.Shop/Buy - NOT_FOUND",
        ),
    ] {
        let lines = texts(&lines_of("caf\u{e9}", requests).await);
        let message = "no caf\u{e9}, 100%";
        for expected in [format!("/demo.Shop/Buy - {server} - {message}"), format!("{client} - {message}")] {
            assert!(
                lines.contains(&("WARNING".into(), format!("test - {expected}"))),
                "{expected}: {lines:?}"
            );
        }
    }
}

/// As in bbc/logtracer, the message is in the line of the received call.
#[tokio::test]
async fn the_message_of_a_request_is_logged() {
    for (requests, message) in [
        (RequestLog::Pair, "test - /demo.Shop/Buy - received gRPC call"),
        (RequestLog::Single, "test - /demo.Shop/Buy - OK"),
    ] {
        let lines = lines_of("bread", requests).await;
        let with_request: Vec<_> = lines.iter().filter(|line| line.get("request").is_some()).collect();
        assert_eq!(with_request.len(), 1, "{lines:?}");
        assert_eq!(with_request[0]["message"], message);
        assert_eq!(with_request[0]["request"], "item: \"bread\" card: REDACTED");
    }
}
