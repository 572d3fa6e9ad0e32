//! Where the ids of a request may go.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response};
use axum::routing::get;
use logtracer_sdk::client::{Hosts, TraceLayer};
use logtracer_sdk::prelude::*;
use logtracer_sdk::server;
use tower::{Layer, ServiceExt};

use crate::serving::serve;

/// The headers that must not leave.
const NAMES: [&str; 9] = [
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "traceparent",
    "tracestate",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "baggage",
    "x-request-id",
];

fn names(headers: &HeaderMap) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| headers.contains_key(*name)).collect()
}

/// Runs a client in a request with a trace, baggage and a request id.
async fn in_request<F>(work: impl FnOnce() -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let app = Router::new().route("/", get(async move || work().await)).layer(server::TraceLayer::new());
    let request = Request::get("/")
        .header("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01")
        .header("tracestate", "a=1")
        .header("baggage", "user=ada,tenant=7;ttl=1, tenants=8")
        .header("x-request-id", "0af76519")
        .body(Body::empty());
    assert_eq!(app.oneshot(request.unwrap()).await.unwrap().status(), 200);
}

fn internal() -> TraceLayer {
    TraceLayer::new().hosts(Hosts::new(["stock", "*.shop.svc.cluster.local", "::1"]).unwrap())
}

/// Sends a request through tower, and returns the headers that arrive.
async fn sent(layer: TraceLayer, uri: &str, headers: &[(&'static str, &str)]) -> HeaderMap {
    let seen = Arc::new(Mutex::new(HeaderMap::new()));
    let service = {
        let seen = Arc::clone(&seen);
        tower::service_fn(move |request: Request<Body>| {
            *seen.lock().unwrap() = request.headers().clone();
            std::future::ready(Ok::<_, Infallible>(Response::new(Body::empty())))
        })
    };
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    layer.layer(service).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    seen.lock().unwrap().clone()
}

#[tokio::test]
async fn only_listed_hosts_get_the_trace() {
    in_request(async || {
        let all = [
            "x-b3-traceid",
            "x-b3-spanid",
            "traceparent",
            "tracestate",
            "x-cloud-trace-context",
            "baggage",
            "x-request-id",
        ];
        for (uri, is_listed) in [
            ("http://stock/items", true),
            ("http://STOCK:8080/items", true),
            ("http://me:pw@stock/items", true),
            ("http://a.shop.svc.cluster.local/", true),
            ("http://[::1]:80/", true),
            ("http://shop.svc.cluster.local/", false),
            ("http://stock.example.com/", false),
            ("http://stock@evil.example.com/", false),
            ("https://api.example.com/stock", false),
            ("/items", false),
        ] {
            let headers = sent(internal(), uri, &[]).await;
            assert_eq!(names(&headers), if is_listed { &all[..] } else { &[] }, "{uri}");
        }
        let with_peer = internal().peer(http::Uri::from_static("http://stock:9000"));
        assert_eq!(names(&sent(with_peer, "/items", &[]).await), all);
        assert!(names(&sent(TraceLayer::new().hosts(Hosts::none()), "http://stock/", &[]).await).is_empty());
        assert_eq!(names(&sent(TraceLayer::new(), "http://anywhere/", &[]).await), all);
    })
    .await;
}

/// Headers that a handler has copied from its own request do not leave either. An id of the call itself does.
#[tokio::test]
async fn copied_headers_are_removed() {
    in_request(async || {
        let copied = [
            ("b3", "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1"),
            ("grpc-trace-bin", "AA"),
            ("baggage", "user=ada"),
            ("x-request-id", "0af76519"),
        ];
        assert!(names(&sent(internal(), "http://api.example.com/", &copied).await).is_empty());
        let own = sent(internal(), "http://api.example.com/", &[("x-request-id", "own")]).await;
        assert_eq!(own["x-request-id"], "own");
    })
    .await;
    // Without a current trace as well.
    assert!(names(&sent(internal(), "http://api.example.com/", &[("b3", "0")]).await).is_empty());
}

#[tokio::test]
async fn only_listed_keys_of_baggage_are_sent() {
    in_request(async || {
        let baggage = async |keys: &[&str], own: &[(&'static str, &str)]| {
            let layer = internal().baggage_keys(keys.iter().copied());
            let headers = sent(layer, "http://stock/", own).await;
            headers.get("baggage").map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(baggage(&["tenant"], &[]).await.as_deref(), Some("tenant=7;ttl=1"));
        assert_eq!(baggage(&["tenants", "user"], &[]).await.as_deref(), Some("user=ada,tenants=8"));
        assert_eq!(baggage(&["Tenant"], &[]).await, None);
        assert_eq!(baggage(&[], &[]).await, None);
        let own = [("baggage", "tenant = 9 , user=bob"), ("baggage", "tenant=10")];
        assert_eq!(baggage(&["tenant"], &own).await.as_deref(), Some("tenant = 9,tenant=10"));
    })
    .await;
}

/// reqwest and reqwest-middleware, over connections.
#[tokio::test]
async fn reqwest_sends_only_to_listed_hosts() {
    let echo = async |headers: HeaderMap| names(&headers).join(" ");
    let url = serve(Router::new().route("/", get(echo))).await;
    in_request(async move || {
        let client = reqwest::Client::new();
        for (hosts, is_listed) in [("127.0.0.1", true), ("stock", false)] {
            let layer = TraceLayer::new().hosts(Hosts::new([hosts]).unwrap());
            let middleware =
                reqwest_middleware::ClientBuilder::new(client.clone()).with(layer.clone()).build();
            let texts = [
                client.get(&url).with_trace_of(&layer).send().await.unwrap().text().await.unwrap(),
                client.get(&url).send_through(&layer).await.unwrap().text().await.unwrap(),
                middleware.get(&url).send().await.unwrap().text().await.unwrap(),
            ];
            for text in texts {
                assert_eq!(text.contains("traceparent") && text.contains("baggage"), is_listed, "{text}");
                assert_eq!(text.is_empty(), !is_listed, "{text}");
            }
        }
    })
    .await;
}

/// A fleet that is half migrated from bbc/logtracer: its gRPC metadata is read, and written where asked for.
#[tokio::test]
async fn the_metadata_of_the_original_is_read_and_written() {
    in_request(async || {
        let grpc = ("content-type", "application/grpc");
        let layer = internal().write_b3_values();
        let headers = sent(layer.clone(), "http://stock/demo.Stock/Get", &[grpc]).await;
        assert_eq!(
            headers["b3-values"],
            r#"{"X-B3-TraceId": "463ac35c9f6413ad48485a3953bb6124", "X-B3-SpanId": "00f067aa0ba902b7", "X-B3-Sampled": "1"}"#
        );
        assert!(!sent(layer.clone(), "http://stock/", &[]).await.contains_key("b3-values"));
        assert!(!sent(internal(), "http://stock/", &[grpc]).await.contains_key("b3-values"));
        assert!(!sent(layer, "http://api.example.com/", &[grpc]).await.contains_key("b3-values"));

        let seen = tower::service_fn(async |_: Request<Body>| {
            let trace = logtracer_sdk::current_trace().unwrap();
            Ok::<_, Infallible>(Response::new(format!("{}-{}", trace.trace_id, trace.span_id)))
        });
        let mut request = Request::get("http://stock/demo.Stock/Get").body(Body::empty()).unwrap();
        request.headers_mut().insert("b3-values", headers["b3-values"].clone());
        let response = server::TraceLayer::grpc().layer(seen).oneshot(request).await.unwrap();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7");
    })
    .await;
}
