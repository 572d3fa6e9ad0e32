//! The log lines and the headers of requests that go out.

use std::error::Error;
use std::fmt;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use http_body_util::BodyExt;
use logtracer_sdk::client::{Query, RequestLog, TraceLayer as ClientLayer, traced, try_traced};
use logtracer_sdk::prelude::*;
use logtracer_sdk::propagation::{Format, Formats, Propagator};
use logtracer_sdk::server::TraceLayer;
use logtracer_sdk::testing::Capture;
use logtracer_sdk::{TraceContext, current_trace};
use serde_json::json;
use tower::{Layer, ServiceExt};
use tracing::Instrument;
use tracing::instrument::WithSubscriber;

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
async fn two_lines_are_logged_for_a_call() {
    let url = serve(next_hop()).await;
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let context = TraceContext::new_root();
    let client = reqwest::Client::new();
    let response = client.get(format!("{url}/?token=7")).send_traced().in_trace(context).await.unwrap();
    assert_eq!(response.text().await.unwrap(), context.trace_id.to_string());
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

/// A caller may need only the status.
#[tokio::test]
async fn a_response_is_logged_if_its_body_is_not_read() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    for (content_type, expected) in [
        ("text/plain", "POST - http://shop/a.B/C - 503 Service Unavailable"),
        ("application/grpc", "/a.B/C - CANCELLED"),
    ] {
        let service = async |_: http::Request<Body>| {
            let response = http::Response::builder().status(503).body(Body::from("try later"));
            Ok::<_, std::convert::Infallible>(response.unwrap())
        };
        let layer = ClientLayer::new().requests(RequestLog::Single);
        let request = http::Request::post("http://shop/a.B/C").header("content-type", content_type);
        let call = layer.layer(tower::service_fn(service)).oneshot(request.body(Body::empty()).unwrap());
        drop(call.await.unwrap());
        let (_, message) = messages(&capture).pop().unwrap();
        assert_eq!(message, format!("test - OUTBOUND {expected}"));
    }
}

/// The status was received before the body failed.
#[tokio::test]
async fn a_body_that_fails_is_an_incomplete_response() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    for (requests, content_type, expected) in [
        (RequestLog::Single, "text/plain", "OUTBOUND GET - http://shop/a.B/C - 200 OK - incomplete response"),
        (RequestLog::Pair, "text/plain", "200 OK - incomplete response - http://shop/a.B/C"),
        (RequestLog::Single, "application/grpc", "OUTBOUND /a.B/C - UNKNOWN"),
    ] {
        let service = async |_: http::Request<Body>| {
            let chunks = [Ok(Bytes::from("x")), Err(std::io::Error::other("connection reset"))];
            let body = Body::from_stream(futures_util::stream::iter(chunks));
            Ok::<_, std::convert::Infallible>(http::Response::new(body))
        };
        let layer = ClientLayer::new().requests(requests);
        let request = http::Request::get("http://shop/a.B/C").header("content-type", content_type);
        let call = layer.layer(tower::service_fn(service)).oneshot(request.body(Body::empty()).unwrap());
        assert!(call.await.unwrap().into_body().collect().await.is_err());
        let line = capture.lines().pop().unwrap();
        assert_eq!(line["message"], format!("test - {expected}"));
        assert_eq!(line["severity"], "WARNING");
        if requests == RequestLog::Single {
            assert_eq!(line["httpRequest"]["status"], 200);
        }
    }
}

/// Trace headers that the caller copied from another request are replaced.
#[test]
fn stale_headers_are_removed() {
    let client = reqwest::Client::new();
    let with_stale = |url: &str| {
        client
            .get(url)
            .header("b3", "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1")
            .header("x-b3-flags", "1")
            .header("x-request-id", "own")
    };
    let context = TraceContext::new_root();
    let request = context.run(|| with_stale("http://next.hop/").with_trace()).build().unwrap();
    assert_eq!(request.headers()["x-b3-traceid"], context.trace_id.to_string());
    assert_eq!(request.headers()["x-request-id"], "own");
    for stale in ["b3", "x-b3-flags"] {
        assert!(!request.headers().contains_key(stale), "{stale}");
    }
    let invalid = context.run(|| with_stale("no url").with_trace()).build();
    assert!(invalid.unwrap_err().is_builder());
}

#[tokio::test]
async fn a_middleware_injects_and_logs() {
    let url = serve(next_hop()).await;
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
        .with(ClientLayer::new().requests(RequestLog::Single))
        .build();
    let context = TraceContext::new_root();
    let response = client.get(&url).send().in_trace(context).await.unwrap();
    assert_eq!(response.text().await.unwrap(), context.trace_id.to_string());
    assert_eq!(messages(&capture), [("INFO".into(), format!("test - OUTBOUND GET - {url}/ - 200 OK"))]);
    assert_eq!(capture.lines()[0]["httpRequest"]["status"], 200);
}

/// Baggage is passed to the next hop.
#[tokio::test]
async fn baggage_is_propagated() {
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
    let response =
        reqwest::Client::new().get(url).header("baggage", "user=ada, tier=gold").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "user=ada,tier=gold");
}

/// A call is logged with the scheme of its own URL.
#[tokio::test]
async fn the_scheme_of_a_call_is_logged() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let service =
        async |_: http::Request<Body>| Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()));
    let layer = ClientLayer::new().requests(RequestLog::Single);
    let request = http::Request::get("http://shop/").header("x-forwarded-proto", "https").body(Body::empty());
    layer.layer(tower::service_fn(service)).oneshot(request.unwrap()).await.unwrap();
    assert_eq!(messages(&capture)[0].1, "test - OUTBOUND GET - http://shop/ - 200 OK");
}

/// Other headers are propagated wherever the trace is.
#[tokio::test]
async fn carried_headers_are_propagated_by_every_client() {
    let echo = async |headers: HeaderMap| {
        let values = ["x-request-id", "tracestate", "baggage", "x-b3-traceid"]
            .map(|name| headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned());
        values.join(" ")
    };
    let next_hop = serve(Router::new().route("/", get(echo))).await;
    let capture = Capture::with(|logging| logging.level("info"));
    let handler = async move || {
        let client = reqwest::Client::new();
        let call = || {
            let (client, url) = (client.clone(), next_hop.clone());
            async move { client.get(url).with_trace().send().await.unwrap().text().await.unwrap() }
        };
        let with_middleware =
            reqwest_middleware::ClientBuilder::new(client.clone()).with(ClientLayer::new()).build();
        let hyper = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http::<Body>();
        let in_tower = ClientLayer::new().layer(hyper);
        let request = http::Request::get(&next_hop).body(Body::empty()).unwrap();

        let spawned = logtracer_sdk::spawn(call()).await.unwrap();
        let headers = logtracer_sdk::spawn_blocking(logtracer_sdk::trace_headers).await.unwrap();
        let blocking = client.get(&next_hop).headers(headers).send().await.unwrap().text().await.unwrap();
        let span = tracing::info_span!("task");
        let instrumented = tokio::spawn(call().instrument(span)).await.unwrap();
        let middleware = with_middleware.get(&next_hop).send().await.unwrap().text().await.unwrap();
        let tower = in_tower.oneshot(request).await.unwrap().into_body();
        let tower = String::from_utf8(tower.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        [call().await, spawned, blocking, instrumented, middleware, tower].join("\n")
    };
    let dispatch = capture.dispatch();
    let app = Router::new().route("/", get(async move || handler().with_subscriber(dispatch).await));
    let request = http::Request::get("/")
        .header("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01")
        .header("tracestate", "a=1,b=2")
        .header("x-request-id", "0af76519")
        .header("baggage", "user=ada")
        .body(Body::empty());
    let response = app.layer(TraceLayer::new()).oneshot(request.unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let expected = "0af76519 a=1,b=2 user=ada 463ac35c9f6413ad48485a3953bb6124";
    assert_eq!(String::from_utf8_lossy(&body).lines().collect::<Vec<_>>(), [expected; 6]);
}

/// A spawned call belongs to the trace in which it was made. A dropped call is logged as cancelled.
#[tokio::test]
async fn calls_to_peers_are_logged() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let context = TraceContext::new_root();
    let call = context.run(|| traced("payments", async { current_trace() }));
    assert_eq!(tokio::spawn(call).await.unwrap(), Some(context));
    // Made without a trace, it belongs to the trace in which it is polled.
    let never = traced("slow", std::future::pending::<()>()).in_trace(context);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(5), never).await.is_err());
    let fails = async { Err::<(), _>(std::io::Error::other("connection refused")) };
    assert!(try_traced("database", fails).in_trace(context).await.is_err());
    let panics = traced("panics", async { panic!("on purpose") }).in_trace(context);
    assert!(tokio::spawn(panics).await.is_err());

    assert_eq!(
        messages(&capture),
        [
            ("INFO".into(), "test - OUTBOUND - payments".into()),
            ("INFO".into(), "test - returned - payments".into()),
            ("INFO".into(), "test - OUTBOUND - slow".into()),
            ("INFO".into(), "test - cancelled - slow".into()),
            ("INFO".into(), "test - OUTBOUND - database".into()),
            ("WARNING".into(), "test - failed - database: connection refused".into()),
            ("INFO".into(), "test - OUTBOUND - panics".to_owned()),
        ]
    );
    let lines = capture.lines();
    assert!(lines.iter().all(|line| line["trace"] == context.trace_id.to_string()));
    let (cancelled, failed) = (&lines[3], &lines[5]);
    assert_eq!((&cancelled["error"], &cancelled["error.type"]), (&json!(null), &json!("cancelled")));
    let error_type = &json!("std::io::error::Error");
    assert_eq!((&failed["error"], &failed["error.type"]), (&json!("connection refused"), error_type));
}

/// An error that repeats the text of its cause, as `#[error(transparent)]` and `#[error("cannot pay: {0}")]` do.
#[derive(Debug)]
struct Wrapped {
    text: &'static str,
    cause: reqwest::Error,
}

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, self.cause)
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

/// The errors of reqwest contain the whole URL.
#[tokio::test]
async fn urls_in_client_errors_are_redacted() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let client = reqwest::Client::new();
    let url = "http://me:secret@127.0.0.1:1/pay?card=secret";
    let error = try_traced("payments", client.get(url).send()).await.unwrap_err();
    tracing::error!(error = &error as &dyn Error, "failed");
    let client = reqwest_middleware::ClientBuilder::new(client).build();
    assert!(try_traced("payments", client.get(url).send()).await.is_err());
    let wrapped = Wrapped { text: "", cause: error };
    assert!(wrapped.source().is_some(), "{wrapped}");
    let wrapped = try_traced("payments", async { Err::<(), _>(wrapped) }).await.unwrap_err();
    let wrapped = Wrapped { text: "cannot pay: ", ..wrapped };
    tracing::error!(error = &wrapped as &dyn Error, "failed");
    let lines = capture.lines();
    assert_eq!(lines.len(), 8, "{lines:?}");
    assert!(!format!("{lines:?}").contains("secret"), "{lines:?}");
    let texts = [
        &lines[1]["message"],
        &lines[1]["error"],
        &lines[2]["error"],
        &lines[4]["message"],
        &lines[6]["message"],
        &lines[7]["error"],
    ];
    for text in texts {
        assert!(text.as_str().unwrap().contains("http://127.0.0.1:1/pay?card=REDACTED"), "{text}");
    }
}

#[tokio::test]
async fn the_query_and_the_formats_can_be_set() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let only_b3 = Propagator { inject: Formats::of(&[Format::B3]), ..Propagator::default() };
    let service = async |request: http::Request<Body>| {
        assert!(request.headers().contains_key("b3"));
        assert!(!request.headers().contains_key("traceparent"));
        Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
    };
    for (query, expected) in [(Query::Keep, "?key=7"), (Query::Redact, "?key=REDACTED"), (Query::Drop, "")] {
        let layer = ClientLayer::new().requests(RequestLog::Single).query(query).propagator(only_b3);
        let request = http::Request::get("http://stock/items?key=7").body(Body::empty()).unwrap();
        let call = layer.layer(tower::service_fn(service)).oneshot(request);
        call.in_trace(TraceContext::new_root()).await.unwrap();
        let (_, message) = messages(&capture).pop().unwrap();
        assert_eq!(message, format!("test - OUTBOUND GET - http://stock/items{expected} - 200 OK"));
    }
}
