//! The lines about requests that go out, and what goes with them.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use logtracer_sdk::TraceContext;
use logtracer_sdk::client::{RequestLog, TraceLayer as ClientLayer};
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::TraceLayer;
use logtracer_sdk::testing::Capture;
use tower::{Layer, ServiceExt};

use crate::serving::serve;

fn next_hop() -> Router {
    let trace = |headers: HeaderMap| headers["x-b3-traceid"].to_str().unwrap().to_owned();
    Router::new()
        .route("/", get(async move |headers: HeaderMap| trace(headers)))
        .route("/broken", get(async || StatusCode::SERVICE_UNAVAILABLE))
}

fn messages(capture: &Capture) -> Vec<(String, String)> {
    let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap().to_owned();
    let lines = capture.lines();
    lines.iter().map(|line| (text(line, "severity"), text(line, "message"))).collect()
}

#[tokio::test]
async fn the_lines_of_the_original() {
    let url = serve(next_hop()).await;
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let context = TraceContext::new_root();
    let client = reqwest::Client::new();
    let answer = client.get(format!("{url}/?token=7")).send_traced().in_trace(context).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), context.trace_id.to_string());
    client.get(format!("{url}/broken")).send_traced().in_trace(context).await.unwrap();
    let unreachable = client.get("http://127.0.0.1:1/").send_traced().in_trace(context).await;
    assert!(unreachable.is_err());
    assert_eq!(
        messages(&capture),
        [
            ("INFO".into(), format!("test - OUTBOUND GET - {url}/?token=REDACTED")),
            ("INFO".into(), format!("test - 200 OK - {url}/?token=REDACTED")),
            ("INFO".into(), format!("test - OUTBOUND GET - {url}/broken")),
            ("WARNING".into(), format!("test - 503 Service Unavailable - {url}/broken")),
            ("INFO".into(), "test - OUTBOUND GET - http://127.0.0.1:1/".into()),
            ("WARNING".into(), "test - no response - http://127.0.0.1:1/".into()),
        ]
    );
}

/// Whoever has seen enough in the status leaves the body unread.
#[tokio::test]
async fn a_response_whose_body_is_not_read() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    for (content_type, expected) in [
        ("text/plain", "POST - http://shop/a.B/C - 503 Service Unavailable"),
        ("application/grpc", "/a.B/C - CANCELLED"),
    ] {
        let answer = async |_: http::Request<Body>| {
            let response = http::Response::builder().status(503).body(Body::from("try later"));
            Ok::<_, std::convert::Infallible>(response.unwrap())
        };
        let layer = ClientLayer::new().requests(RequestLog::Single);
        let request = http::Request::post("http://shop/a.B/C").header("content-type", content_type);
        let call = layer.layer(tower::service_fn(answer)).oneshot(request.body(Body::empty()).unwrap());
        drop(call.await.unwrap());
        let (_, message) = messages(&capture).pop().unwrap();
        assert_eq!(message, format!("test - OUTBOUND {expected}"));
    }
}

/// Whoever hands the headers on that came in has none of them beside those of the trace.
#[test]
fn stale_headers_are_removed() {
    let client = reqwest::Client::new();
    let with_stale = |url: &str| {
        client
            .get(url)
            .header("b3", "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1")
            .header("x-b3-flags", "1")
            .header("x-request-id", "its own")
    };
    let context = TraceContext::new_root();
    let request = context.run(|| with_stale("http://next.hop/").with_trace()).build().unwrap();
    assert_eq!(request.headers()["x-b3-traceid"], context.trace_id.to_string());
    assert_eq!(request.headers()["x-request-id"], "its own");
    for stale in ["b3", "x-b3-flags"] {
        assert!(!request.headers().contains_key(stale), "{stale}");
    }
    let wrong = context.run(|| with_stale("no url").with_trace()).build();
    assert!(wrong.unwrap_err().is_builder());
}

#[tokio::test]
async fn a_middleware_client() {
    let url = serve(next_hop()).await;
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
        .with(ClientLayer::new().requests(RequestLog::Single))
        .build();
    let context = TraceContext::new_root();
    let answer = client.get(&url).send().in_trace(context).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), context.trace_id.to_string());
    assert_eq!(messages(&capture), [("INFO".into(), format!("test - OUTBOUND GET - {url}/ - 200 OK"))]);
    assert_eq!(capture.lines()[0]["httpRequest"]["status"], 200);
}

/// Baggage goes on within its bounds, and a request that has its own keeps it.
#[tokio::test]
async fn baggage_goes_on() {
    let echo = serve(
        Router::new()
            .route("/", get(async |headers: HeaderMap| headers["baggage"].to_str().unwrap().to_owned())),
    )
    .await;
    let client = reqwest::Client::new();
    let middle = Router::new()
        .route(
            "/",
            get(async move || client.get(echo).with_trace().send().await.unwrap().text().await.unwrap()),
        )
        .layer(TraceLayer::new());
    let url = serve(middle).await;
    let answer =
        reqwest::Client::new().get(url).header("baggage", "user=ada, tier=gold").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "user=ada,tier=gold");
}
