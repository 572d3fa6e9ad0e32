//! Headers that a client must not send on: those of the request that it is given, and those that are carried.

use logtracer_sdk::client::{Hosts, TraceLayer, inject};
use logtracer_sdk::prelude::*;
use logtracer_sdk::server;
use logtracer_sdk::{TraceContext, current_trace};
use tower::{Layer, ServiceExt, service_fn};

const STALE: &str =
    r#"{"X-B3-TraceId": "463ac35c9f6413ad48485a3953bb6124", "X-B3-SpanId": "00f067aa0ba902b7"}"#;

/// Baggage is filtered whether or not there is a trace.
#[test]
fn baggage_is_filtered_without_a_trace() {
    let layer = TraceLayer::new().baggage_keys(["tenant"]);
    let request = || {
        let request = reqwest::Client::new().get("http://stock/").header("baggage", "user=ada,tenant=7");
        request.with_trace_of(&layer).build().unwrap()
    };
    assert_eq!(current_trace(), None);
    assert_eq!(request().headers()["baggage"], "tenant=7");
    assert_eq!(TraceContext::new_root().run(request).headers()["baggage"], "tenant=7");
}

/// The metadata of bbc/logtracer of another trace is replaced or removed, like every other trace header.
#[test]
fn stale_b3_values_are_removed() {
    let context = TraceContext::new_root();
    let uri = http::Uri::from_static("http://stock/demo.Stock/Get");
    let headers = |content_type: &str, inject: &dyn Fn(&mut http::HeaderMap)| {
        let mut headers = http::HeaderMap::new();
        headers.insert("content-type", content_type.parse().unwrap());
        headers.insert("b3-values", STALE.parse().unwrap());
        context.run(|| inject(&mut headers));
        headers.get("b3-values").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(headers("application/grpc", &|headers| inject(headers)), None);
    assert_eq!(headers("application/grpc", &|headers| TraceLayer::new().inject(&uri, headers)), None);
    let writes = TraceLayer::new().write_b3_values();
    assert_eq!(headers("text/plain", &|headers| writes.inject(&uri, headers)), None);
    let written = headers("application/grpc", &|headers| writes.inject(&uri, headers)).unwrap();
    assert!(written.contains(&context.trace_id.to_string()), "{written}");
}

/// The id of the request that is being served is removed from all lines, and an id of the call itself stays.
#[tokio::test]
async fn every_line_of_a_carried_request_id_is_removed() {
    let handler = service_fn(async |_: http::Request<()>| {
        let mut headers = http::HeaderMap::new();
        for id in ["own", "carried", "other", "carried"] {
            headers.append("x-request-id", id.parse().unwrap());
        }
        let uri = http::Uri::from_static("https://api.example.com/");
        TraceLayer::new().hosts(Hosts::none()).inject(&uri, &mut headers);
        let left: Vec<_> = headers.get_all("x-request-id").iter().map(|id| id.to_str().unwrap()).collect();
        Ok::<_, std::convert::Infallible>(http::Response::new(left.join(",")))
    });
    let request = http::Request::get("/").header("x-request-id", "carried").body(()).unwrap();
    let response = server::TraceLayer::new().layer(handler).oneshot(request).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    assert_eq!(body.to_bytes(), "own,other");
}
