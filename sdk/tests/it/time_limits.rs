//! Requests that a time limit ends: each is an error of the server, and not a caller that went away.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use http_body_util::BodyExt;
use logtracer_sdk::client;
use logtracer_sdk::server::{RequestLog, TraceLayer};
use logtracer_sdk::testing::Capture;
use serde_json::Value;
use tonic::transport::{Channel, Server};
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::shop_rpc::{BUY, BuyReply, BuyRequest, ShopServer, buy};

const LIMIT: Duration = Duration::from_millis(30);

fn text(line: &Value) -> (&str, &str) {
    (line["severity"].as_str().unwrap(), line["message"].as_str().unwrap())
}

/// Waits until the capture has this many lines of the server, and returns them.
async fn server_lines(capture: &Capture, count: usize) -> Vec<Value> {
    let wait = async {
        loop {
            let lines: Vec<_> = capture
                .lines()
                .into_iter()
                .filter(|line| !line["message"].as_str().unwrap().contains("OUTBOUND"))
                .collect();
            if lines.len() >= count {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the line is written")
}

/// A gRPC method that never returns.
async fn hang(_: tonic::Request<BuyRequest>) -> Result<tonic::Response<BuyReply>, tonic::Status> {
    std::future::pending().await
}

async fn serve(server: Server, layer: TraceLayer) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(server.layer(layer).add_service(ShopServer(hang)).serve_with_incoming(incoming));
    address
}

async fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// All layers of a tonic server are within its timeout.
#[tokio::test]
async fn the_timeout_of_a_tonic_server() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    for (requests, expected) in [
        (RequestLog::Single, "test - /demo.Shop/Buy - DEADLINE_EXCEEDED"),
        (RequestLog::Pair, "test - /demo.Shop/Buy - DEADLINE_EXCEEDED - returning gRPC call"),
    ] {
        let before = capture.lines().len();
        let layer = TraceLayer::grpc().requests(requests).timeout(LIMIT);
        let address = serve(Server::builder().timeout(LIMIT), layer).await;
        assert!(buy(connect(address).await, "bread", "").await.is_err());
        let lines = server_lines(&capture, before + if requests == RequestLog::Pair { 2 } else { 1 }).await;
        let last = lines.last().unwrap();
        assert_eq!(text(last), ("ERROR", expected));
        assert_eq!(last["error.type"], "timeout");
        assert_eq!(last["rpc.response.status_code"], "DEADLINE_EXCEEDED");
        assert_eq!(last["rpc.method"], "demo.Shop/Buy");
    }
}

/// The caller's limit is in its request, so that it needs no option. This caller leaves it to the server to end the
/// call.
#[tokio::test]
async fn the_deadline_of_a_caller() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let address = serve(Server::builder(), TraceLayer::grpc().requests(RequestLog::Single)).await;
    let executor = hyper_util::rt::TokioExecutor::new();
    let hyper = hyper_util::client::legacy::Client::builder(executor).http2_only(true).build_http();
    let mut grpc = tonic::client::Grpc::with_origin(hyper, format!("http://{address}").parse().unwrap());
    grpc.ready().await.unwrap();
    let mut request = tonic::Request::new(BuyRequest::default());
    request.set_timeout(LIMIT);
    let codec = tonic_prost::ProstCodec::<BuyRequest, BuyReply>::default();
    let path = http::uri::PathAndQuery::from_static(BUY);
    assert!(grpc.unary(request, path, codec).await.is_err());
    let lines = server_lines(&capture, 1).await;
    assert_eq!(text(&lines[0]), ("ERROR", "test - /demo.Shop/Buy - DEADLINE_EXCEEDED"));
}

/// A caller that goes away before its deadline has cancelled the call.
#[tokio::test]
async fn a_caller_that_cancels() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let layer = TraceLayer::grpc().requests(RequestLog::Single).timeout(Duration::from_secs(60));
    let address = serve(Server::builder(), layer).await;
    let call = buy(connect(address).await, "bread", "");
    assert!(tokio::time::timeout(LIMIT, call).await.is_err());
    let lines = server_lines(&capture, 1).await;
    assert_eq!(text(&lines[0]), ("INFO", "test - /demo.Shop/Buy - CANCELLED"));
}

fn request() -> Request<Body> {
    Request::get("http://shop/").body(Body::empty()).unwrap()
}

/// The limits of tower and tower-http outside of the layer drop the request.
#[tokio::test]
async fn a_limit_outside_of_the_layer() {
    let hangs = || {
        tower::service_fn(async |_: Request<Body>| {
            std::future::pending::<Result<http::Response<Body>, Infallible>>().await
        })
    };
    for is_stated in [true, false] {
        let capture = Capture::with(|logging| logging.level("info"));
        let _default = tracing::dispatcher::set_default(&capture.dispatch());
        let layer = TraceLayer::new().requests(RequestLog::Single);
        let layer = if is_stated { layer.timeout(LIMIT) } else { layer };
        let tower = ServiceBuilder::new().timeout(LIMIT).layer(layer.clone()).service(hangs());
        assert!(tower.oneshot(request()).await.is_err());
        let limit =
            tower_http::timeout::TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, LIMIT);
        let tower_http = ServiceBuilder::new().layer(limit).layer(layer).service(hangs());
        assert_eq!(tower_http.oneshot(request()).await.unwrap().status(), 503);
        let expected = if is_stated {
            ("ERROR", "test - GET - http://shop/ - 504 Gateway Timeout")
        } else {
            ("INFO", "test - GET - http://shop/ - 499 Client Closed Request")
        };
        let lines = capture.lines();
        assert_eq!(lines.iter().map(text).collect::<Vec<_>>(), [expected; 2], "{is_stated}");
    }
}

/// A limit within the layer has a status.
#[tokio::test]
async fn a_limit_within_the_layer() {
    for (status, is_stated, expected) in [
        (StatusCode::GATEWAY_TIMEOUT, false, ("ERROR", "test - GET - http://shop/ - 504 Gateway Timeout")),
        (StatusCode::REQUEST_TIMEOUT, false, ("WARNING", "test - GET - http://shop/ - 408 Request Timeout")),
        (StatusCode::REQUEST_TIMEOUT, true, ("ERROR", "test - GET - http://shop/ - 408 Request Timeout")),
    ] {
        let capture = Capture::with(|logging| logging.level("info"));
        let _default = tracing::dispatcher::set_default(&capture.dispatch());
        let layer = TraceLayer::new().requests(RequestLog::Single);
        let layer = if is_stated { layer.timeout(LIMIT) } else { layer };
        let app = Router::new()
            .route("/", get(async || std::future::pending::<()>().await))
            .layer(tower_http::timeout::TimeoutLayer::with_status_code(status, LIMIT))
            .layer(layer);
        let response = app.oneshot(request()).await.unwrap();
        response.into_body().collect().await.unwrap();
        assert_eq!(text(&capture.lines()[0]), expected);
    }
}

/// The time limit of a call, on the side of the client.
#[tokio::test]
async fn the_time_limit_of_a_call() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let address = serve(Server::builder(), TraceLayer::grpc()).await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let channel = channel.timeout(LIMIT).connect().await.unwrap();
    let traced = client::TraceLayer::new().requests(RequestLog::Single).layer(channel);
    assert!(buy(traced, "bread", "").await.is_err());
    let lines = capture.lines();
    assert_eq!(text(&lines[0]), ("WARNING", "test - OUTBOUND /demo.Shop/Buy - DEADLINE_EXCEEDED"));
    assert_eq!(lines[0]["error.type"], "timeout");
}

/// A handler that fails with the error of a time limit has timed out, and one that only mentions such an error has not.
#[tokio::test]
async fn the_error_of_a_time_limit() {
    type BoxError = Box<dyn std::error::Error + Send + Sync>;
    for (error, expected) in [
        (BoxError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)), Value::from("timeout")),
        (tower::timeout::error::Elapsed::new().into(), Value::from("timeout")),
        (BoxError::from("no payments: request timed out"), Value::Null),
        (BoxError::from("out of eggs"), Value::Null),
    ] {
        let capture = Capture::with(|logging| logging.level("info"));
        let _default = tracing::dispatcher::set_default(&capture.dispatch());
        let text = error.to_string();
        let error = std::sync::Mutex::new(Some(error));
        let fails = tower::service_fn(async |_: Request<Body>| {
            Err::<http::Response<Body>, _>(error.lock().unwrap().take().unwrap())
        });
        let layer = TraceLayer::new().requests(RequestLog::Single);
        assert!(layer.layer(fails).oneshot(request()).await.is_err());
        assert_eq!(capture.lines().last().unwrap()["error.type"], expected, "{text}");
    }
}
