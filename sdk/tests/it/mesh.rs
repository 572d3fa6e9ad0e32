//! A service between a caller and a next hop: axum in, reqwest out.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use http_body_util::BodyExt;
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::TraceLayer;
use logtracer_sdk::{Format, TraceContext, current_trace};
use serde_json::json;
use tower::ServiceExt;
use tracing::instrument::WithSubscriber;

use crate::lines::Lines;
use crate::serving::serve;

/// The next hop, which returns the trace headers of its request.
fn next_hop() -> Router {
    Router::new().route(
        "/",
        get(async |headers: HeaderMap| {
            let known = |name: &str| {
                name.starts_with("x-b3-")
                    || ["b3", "traceparent", "tracestate", "x-cloud-trace-context", "x-request-id"]
                        .contains(&name)
            };
            let headers: serde_json::Map<_, _> = headers
                .iter()
                .filter(|(name, _)| known(name.as_str()))
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
                .collect();
            Json(headers)
        }),
    )
}

/// The service in the middle.
fn shop(next_hop: String) -> Router {
    async fn handler(
        State((client, next_hop)): State<(reqwest::Client, String)>,
        Extension(context): Extension<TraceContext>,
    ) -> Vec<u8> {
        assert_eq!(current_trace(), Some(context));
        tracing::info!(user = "ada", "handling");
        let response = client.get(next_hop).with_trace().send().await.unwrap();
        assert_eq!(current_trace(), Some(context));
        response.bytes().await.unwrap().to_vec()
    }
    Router::new()
        .route("/", get(handler))
        .layer(TraceLayer::new())
        .with_state((reqwest::Client::new(), next_hop))
}

async fn get_json(request: reqwest::RequestBuilder) -> serde_json::Value {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// A level such as `RUST_LOG=warn` disables the line, not the headers.
#[tokio::test]
async fn the_trace_is_propagated_at_any_level() {
    let next_hop = serve(next_hop()).await;
    for (level, lines_expected) in [("info,hyper=off,reqwest=off", 1), ("warn", 0)] {
        let lines = Lines::default();
        let app = shop(next_hop.clone());
        let request = axum::http::Request::get("/")
            .header("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124")
            .header("x-b3-spanid", "00f067aa0ba902b7")
            .header("x-b3-parentspanid", "00000000000000aa")
            .header("x-b3-sampled", "1")
            .header("tracestate", "ignored=1")
            .header("x-request-id", "e6aee9a1")
            .body(Body::empty())
            .unwrap();
        let response =
            app.oneshot(request).with_subscriber(lines.subscriber(Format::Stackdriver, level)).await;
        let body = response.unwrap().into_body().collect().await.unwrap().to_bytes();
        let headers: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            headers,
            json!({
                "x-b3-traceid": "463ac35c9f6413ad48485a3953bb6124",
                "x-b3-spanid": "00f067aa0ba902b7",
                "x-b3-parentspanid": "00000000000000aa",
                "x-b3-sampled": "1",
                "traceparent": "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01",
                "x-cloud-trace-context": "463ac35c9f6413ad48485a3953bb6124/67667974448284343;o=1",
                "x-request-id": "e6aee9a1",
            })
        );
        let lines = lines.json();
        assert_eq!(lines.len(), lines_expected, "{level}: {lines:?}");
        for line in lines {
            assert_eq!(line["logging.googleapis.com/spanId"], "00f067aa0ba902b7");
            assert_eq!(line["user"], "ada");
        }
    }
}

#[tokio::test]
async fn tracestate_is_propagated_with_its_traceparent() {
    let url = serve(shop(serve(next_hop()).await)).await;
    let headers = get_json(
        reqwest::Client::new()
            .get(url)
            .header("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-00")
            .header("tracestate", "vendor=1"),
    )
    .await;
    assert_eq!(headers["tracestate"], "vendor=1");
    assert_eq!(headers["traceparent"], "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-00");
    assert_eq!(headers["x-b3-sampled"], "0");
}

#[tokio::test]
async fn a_request_without_a_trace_starts_one() {
    let url = serve(shop(serve(next_hop()).await)).await;
    let client = reqwest::Client::new();
    let one = get_json(client.get(&url)).await;
    let two = get_json(client.get(&url)).await;
    assert_eq!(one["x-b3-traceid"].as_str().unwrap().len(), 32);
    assert_ne!(one["x-b3-traceid"], two["x-b3-traceid"]);
    assert_eq!(one["x-b3-sampled"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_requests_keep_their_traces() {
    let url = serve(shop(serve(next_hop()).await)).await;
    let client = reqwest::Client::new();
    let requests: Vec<_> = (1..=200u64)
        .map(|number| {
            let (client, url) = (client.clone(), url.clone());
            tokio::spawn(async move {
                let id = format!("{number:016x}");
                let b3 = format!("463ac35c9f6413ad48485a3953bb6124-{id}-1");
                assert_eq!(get_json(client.get(url).header("b3", b3)).await["x-b3-spanid"], id);
            })
        })
        .collect();
    for request in requests {
        request.await.unwrap();
    }
}

/// A streamed body is polled and dropped in the trace of its request.
#[tokio::test]
async fn a_streamed_body_is_in_the_trace() {
    struct Stream(Arc<Mutex<Vec<Option<TraceContext>>>>, u8);
    impl http_body::Body for Stream {
        type Data = axum::body::Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            self.0.lock().unwrap().push(current_trace());
            self.1 += 1;
            std::task::Poll::Ready((self.1 < 3).then(|| Ok(http_body::Frame::data("x".into()))))
        }
    }
    impl Drop for Stream {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(current_trace());
        }
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let body = Stream(Arc::clone(&seen), 0);
    let app = tower::ServiceBuilder::new().layer(TraceLayer::new()).service(tower::service_fn(
        move |request: axum::http::Request<Body>| {
            let body = Stream(Arc::clone(&body.0), 0);
            let context = request.extensions().get::<TraceContext>().copied();
            async move {
                body.0.lock().unwrap().push(context);
                Ok::<_, std::convert::Infallible>(axum::http::Response::new(body))
            }
        },
    ));
    let response = app.oneshot(axum::http::Request::new(Body::empty())).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "xx");
    let mut seen = seen.lock().unwrap().clone();
    // The body in the closure is dropped outside of any request.
    seen.retain(Option::is_some);
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|context| *context == seen[0]));
    assert_eq!(current_trace(), None);
}
