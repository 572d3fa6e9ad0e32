//! Client layers inside one another: one of them writes the lines of a call.

use std::convert::Infallible;

use async_trait::async_trait;
use axum::body::Body;
use futures_util::FutureExt as _;
use http::{Extensions, Request, Response};
use logtracer_sdk::client::{RequestLog, TraceLayer};
use logtracer_sdk::prelude::*;
use logtracer_sdk::testing::capture_async;
use logtracer_sdk::{TraceContext, server};
use reqwest_middleware::{ClientBuilder, Middleware, Next, Result};
use serde_json::Value;
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt, service_fn};

type Client = BoxCloneService<Request<()>, Response<Body>, Infallible>;

fn single() -> TraceLayer {
    TraceLayer::new().requests(RequestLog::Single)
}

fn layered<B>(
    layer: TraceLayer,
    inner: impl Service<Request<()>, Response = Response<B>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static,
) -> Client
where
    B: http_body::Body<Data = axum::body::Bytes, Error: Into<axum::BoxError> + std::fmt::Display>
        + Send
        + 'static,
{
    BoxCloneService::new(layer.layer(inner).map_response(|response| response.map(Body::new)))
}

fn stock() -> Client {
    BoxCloneService::new(service_fn(async |request: Request<()>| {
        assert!(request.headers().contains_key("traceparent"));
        Ok(Response::new(Body::empty()))
    }))
}

/// Sends each request twice, as a retry does.
fn twice(inner: Client) -> Client {
    BoxCloneService::new(service_fn(move |request: Request<()>| {
        let mut inner = inner.clone();
        async move {
            inner.call(request.clone()).await?;
            inner.call(request).await
        }
    }))
}

/// Returns the lines of one request.
async fn lines_of(client: Client) -> Vec<Value> {
    let request = Request::get("http://stock/items").body(()).unwrap();
    let call = client.oneshot(request).in_trace(TraceContext::new_root());
    let (response, lines) = capture_async(call).await;
    drop(response);
    lines
}

#[tokio::test]
async fn one_layer_writes_the_line_of_a_call() {
    let off = TraceLayer::new;
    for (what, client, lines) in [
        ("both have lines", layered(single(), layered(single(), stock())), 1),
        ("the inner one has lines", layered(off(), layered(single(), stock())), 1),
        ("three layers", layered(off(), layered(single(), layered(single(), stock()))), 1),
        ("a retry within", layered(single(), twice(layered(single(), stock()))), 1),
        ("a retry around", twice(layered(single(), layered(single(), stock()))), 2),
        ("each attempt has lines", layered(off(), twice(layered(single(), stock()))), 2),
    ] {
        assert_eq!(lines_of(client).await.len(), lines, "{what}");
    }
}

/// The request of a call that a handler in the same process sends on is another call.
#[tokio::test]
async fn a_forwarded_request_is_another_call() {
    let forward = layered(single(), stock());
    let server = server::TraceLayer::new().layer(forward).map_response(|response| response.map(Body::new));
    assert_eq!(lines_of(layered(single(), server)).await.len(), 2);
}

/// Drops its first attempt, and sends the request again with the same extensions.
struct Retry;

#[async_trait]
impl Middleware for Retry {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response> {
        let again = request.try_clone().unwrap();
        let first = next.clone().run(request, extensions);
        assert!(first.now_or_never().is_none());
        next.run(again, extensions).await
    }
}

#[tokio::test]
async fn one_middleware_writes_the_line_of_a_call() {
    let url = "http://127.0.0.1:1/";
    let client = ClientBuilder::new(reqwest::Client::new()).with(single()).with(single()).build();
    let (response, lines) = capture_async(client.get(url).send()).await;
    assert!(response.is_err());
    assert_eq!(lines.iter().filter(|line| line["message"].as_str().unwrap().contains("OUTBOUND")).count(), 1);

    let client = ClientBuilder::new(reqwest::Client::new()).with(Retry).with(single()).with(single()).build();
    let (response, lines) = capture_async(client.get(url).send()).await;
    assert!(response.is_err());
    let outbound = lines.iter().filter(|line| line["message"].as_str().unwrap().contains("OUTBOUND"));
    assert_eq!(outbound.count(), 2, "{lines:?}");
}
