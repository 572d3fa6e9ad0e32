//! Fields that the application adds to the line of its request, and its route.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::routing::get;
use http_body_util::BodyExt;
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{self, RequestLog, TraceLayer};
use logtracer_sdk::testing::Capture;
use logtracer_sdk::{TraceContext, client};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};

use crate::shop_rpc::{BuyReply, BuyRequest, ShopServer, buy};

fn request(target: &str) -> Request<Body> {
    Request::get(target).header("host", "shop").body(Body::empty()).unwrap()
}

async fn lines_of(app: Router, target: &str) -> Vec<Value> {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    app.oneshot(request(target)).await.unwrap().into_body().collect().await.unwrap();
    capture.lines()
}

/// In the handler, in a span below it, and in a task that keeps the trace; only in the last line of the request.
#[tokio::test]
async fn a_handler_adds_fields() {
    let handler = async || {
        server::record("user", "ada");
        server::record("user", format!("ada-{}", 2));
        server::record("labels.tenant", 7);
        server::record("items", 3u64);
        server::record("share", 0.5);
        server::record("severity", "mine");
        async { server::record("cached", true) }.in_span("cache").await;
        logtracer_sdk::spawn(async { server::record("spawned", -1) }).await.unwrap();
        tracing::info!("handling");
        "hello"
    };
    for requests in [RequestLog::Single, RequestLog::Pair] {
        let app = Router::new().route("/", get(handler)).layer(TraceLayer::new().requests(requests));
        let mut lines = lines_of(app, "/").await;
        let last = lines.pop().unwrap();
        let names = ["user", "items", "share", "fields.severity", "cached", "spawned"];
        assert_eq!(
            names.map(|name| last[name].clone()),
            [json!("ada-2"), json!(3), json!(0.5), json!("mine"), json!(true), json!(-1)],
            "{last}"
        );
        assert_eq!((&last["labels"]["tenant"], &last["severity"]), (&json!("7"), &json!("INFO")));
        assert!(lines.iter().all(|line| line.get("user").is_none()), "{lines:?}");
    }
}

/// Of another request, of a new trace, and of none, nothing is added.
#[tokio::test]
async fn fields_stay_in_their_request() {
    server::record("outside", 1);
    server::set_route("/outside");
    let handler = async |request: Request<Body>| {
        TraceContext::new_root().run(|| server::record("other", 1));
        server::record("path", request.uri().path().to_owned());
        tokio::task::yield_now().await;
    };
    let app =
        Router::new().route("/{id}", get(handler)).layer(TraceLayer::new().requests(RequestLog::Single));
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let send = async |number: u8| {
        let response = app.clone().oneshot(request(&format!("/{number}"))).await.unwrap();
        response.into_body().collect().await.unwrap();
    };
    futures_util::future::join_all((0..20).map(send)).await;
    let lines = capture.lines();
    assert_eq!(lines.len(), 20);
    for line in &lines {
        let path = line["path"].as_str().unwrap();
        let expected = format!("test - GET - http://shop{path} - 200 OK");
        assert_eq!(line["message"], expected);
        assert!(line.get("other").is_none() && line.get("outside").is_none(), "{line}");
    }
}

/// An inner layer, such as one for authentication, adds a field. The trace of the caller changes nothing.
#[tokio::test]
async fn an_inner_layer_adds_a_field() {
    let app = Router::new()
        .route("/", get(async || "hello"))
        .layer(axum::middleware::from_fn(async |request: Request<Body>, next: axum::middleware::Next| {
            server::record("user", "ada");
            next.run(request).await
        }))
        .layer(TraceLayer::new().requests(RequestLog::Single));
    assert_eq!(lines_of(app, "/").await[0]["user"], "ada");
}

/// A service on plain hyper sets its route.
#[tokio::test]
async fn a_service_sets_its_route() {
    let service = tower::service_fn(async |request: Request<Body>| {
        server::set_route(if request.uri().path() == "/" { "/" } else { "/users/{id}" });
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let service = TraceLayer::new().requests(RequestLog::Single).layer(service);
    for target in ["/", "/users/7"] {
        service.clone().oneshot(request(target)).await.unwrap();
    }
    let lines = capture.lines();
    let routes: Vec<_> = lines.iter().map(|line| line["labels"]["route"].as_str().unwrap()).collect();
    assert_eq!(routes, ["/", "/users/{id}"]);
}

/// The method and the code of a gRPC call are fields on both sides, and the method is the route of the server.
#[tokio::test]
async fn grpc_calls_have_fields() {
    async fn handle(_: tonic::Request<BuyRequest>) -> Result<tonic::Response<BuyReply>, tonic::Status> {
        server::record("tenant", "gold");
        Err(tonic::Status::not_found("out of eggs"))
    }
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: http::Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let server = tonic::transport::Server::builder()
        .layer(TraceLayer::grpc().requests(RequestLog::Single))
        .add_service(ShopServer(handle))
        .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener));
    tokio::spawn(server);
    let channel = tonic::transport::Channel::builder(url.clone()).connect().await.unwrap();
    let client = client::TraceLayer::new().requests(RequestLog::Single).peer(url.clone()).layer(channel);
    assert!(buy(client, "eggs", "").await.is_err());
    let lines = capture.lines();
    let of = |prefix: &str| {
        let is_it = |line: &&Value| line["message"].as_str().unwrap().starts_with(prefix);
        lines.iter().find(is_it).unwrap_or_else(|| panic!("{prefix}: {lines:?}"))
    };
    let (server, client) = (of("test - /demo"), of("test - OUTBOUND /demo"));
    for line in [server, client] {
        assert_eq!(line["rpc.method"], "demo.Shop/Buy");
        assert_eq!(line["rpc.response.status_code"], "NOT_FOUND");
        assert_eq!(line["httpRequest"]["requestUrl"], format!("{url}demo.Shop/Buy"));
    }
    assert_eq!(server["labels"]["route"], "/demo.Shop/Buy");
    assert_eq!(server["httpRequest"]["remoteIp"], "127.0.0.1");
    assert_eq!(server["tenant"], "gold");
    assert!(client.get("tenant").is_none());
}
