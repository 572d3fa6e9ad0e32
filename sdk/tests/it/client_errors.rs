//! Why a call failed: the error and its causes in its line.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use logtracer_sdk::client::{Hosts, RequestLog, TraceLayer, UrlTemplate, peer};
use logtracer_sdk::prelude::*;
use logtracer_sdk::testing::Capture;
use serde_json::Value;
use tonic::transport::Channel;
use tower::{Layer, ServiceExt};

use crate::shop_rpc::buy;

/// Nothing listens on this port.
const NOWHERE: &str = "http://127.0.0.1:1";
const REFUSED: &str = "Connection refused";

fn layer() -> TraceLayer {
    TraceLayer::new().requests(RequestLog::Single)
}

/// Runs a call, and returns its only line.
async fn line_of<T>(call: impl Future<Output = T>) -> Value {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    call.await;
    let mut lines: Vec<_> = capture.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

/// Asserts that the line has the error with the cause, which appears once.
#[track_caller]
fn check(line: &Value, message: &str) {
    assert_eq!(line["severity"], "WARNING", "{line}");
    assert_eq!(line["message"], format!("test - OUTBOUND {message}"));
    let error = line["error"].as_str().unwrap_or_else(|| panic!("{line}"));
    assert_eq!(error.matches(REFUSED).count(), 1, "{error}");
    assert_eq!(line["error.type"], "connection_refused", "{line}");
}

#[tokio::test]
async fn a_connection_fails() {
    let hyper = layer().layer(Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>());
    let request = http::Request::get(format!("{NOWHERE}/x?key=secret")).body(Empty::new()).unwrap();
    let line = line_of(hyper.oneshot(request)).await;
    check(&line, &format!("GET - {NOWHERE}/x?key=REDACTED - no response"));

    let request = reqwest::Client::new().get(format!("{NOWHERE}/x?key=secret"));
    let line = line_of(request.send_through(&layer())).await;
    check(&line, &format!("GET - {NOWHERE}/x?key=REDACTED - no response"));
    assert!(!line.to_string().contains("secret"), "{line}");

    let middleware = reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(layer()).build();
    let line = line_of(middleware.get(format!("{NOWHERE}/x")).send()).await;
    check(&line, &format!("GET - {NOWHERE}/x - no response"));
}

/// A gRPC call is one even if it has no response.
#[tokio::test]
async fn a_connection_of_grpc_fails() {
    let channel = || Channel::from_static(NOWHERE).connect_lazy();
    let line = line_of(buy(layer().peer(http::Uri::from_static(NOWHERE)).layer(channel()), "x", "")).await;
    check(&line, "/demo.Shop/Buy - UNAVAILABLE");
    assert_eq!(line["rpc.method"], "demo.Shop/Buy");
    assert_eq!(line["rpc.response.status_code"], "UNAVAILABLE");
    assert_eq!(line["httpRequest"]["requestUrl"], format!("{NOWHERE}/demo.Shop/Buy"));

    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    assert!(buy(layer().requests(RequestLog::Pair).layer(channel()), "x", "").await.is_err());
    let line = capture.lines().pop().unwrap();
    assert_eq!(line["message"], "test - No response from /demo.Shop/Buy - UNAVAILABLE");
}

/// An error of an application, with a cause whose text it repeats.
#[derive(Debug)]
struct NoStock(std::io::Error);

impl fmt::Display for NoStock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no stock: {}", self.0)
    }
}

impl Error for NoStock {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test]
async fn the_causes_of_a_registered_type_are_logged_once() {
    let fails = || {
        tower::service_fn(async |_: http::Request<Body>| {
            Err::<http::Response<Body>, _>(NoStock(std::io::Error::from(std::io::ErrorKind::ConnectionReset)))
        })
    };
    let request = || http::Request::get("http://stock/").body(Body::empty()).unwrap();
    let line = line_of(layer().layer(fails()).oneshot(request())).await;
    assert_eq!(line["error"], "no stock: connection reset");
    assert!(line["error.type"].as_str().unwrap().ends_with("::NoStock"), "{line}");
    let line = line_of(layer().causes_of::<NoStock>().layer(fails()).oneshot(request())).await;
    assert_eq!(line["error"], "no stock: connection reset");
    assert_eq!(line["error.type"], "connection_reset");
}

#[tokio::test]
async fn a_body_fails() {
    let service = tower::service_fn(async |_: http::Request<Body>| {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let chunks = futures_util::stream::iter([Ok(Bytes::from("x")), Err(reset)]);
        Ok::<_, Infallible>(http::Response::new(Body::from_stream(chunks)))
    });
    let request = http::Request::get("http://stock/").body(Body::empty()).unwrap();
    let line = line_of(async {
        let body = layer().layer(service).oneshot(request).await.unwrap().into_body();
        assert!(body.collect().await.is_err());
    })
    .await;
    assert_eq!(
        (&line["error"], &line["error.type"]),
        (&"connection reset".into(), &"connection_reset".into())
    );
}

/// The layer of reqwest-middleware takes the template from the extensions of the request.
#[tokio::test]
async fn a_call_has_the_template_of_its_url() {
    let middleware = reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(layer()).build();
    let call = middleware.get(format!("{NOWHERE}/items/7")).with_extension(UrlTemplate("/items/{id}"));
    assert_eq!(line_of(call.send()).await["labels"]["route"], "/items/{id}");
}

/// A call that its caller drops has no response.
#[tokio::test]
async fn a_dropped_call_has_no_response() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let hangs = tower::service_fn(async |_: http::Request<Body>| {
        std::future::pending::<Result<http::Response<Body>, Infallible>>().await
    });
    let client = TraceLayer::new().requests(RequestLog::Pair).layer(hangs);
    let request =
        http::Request::post("http://stock/demo.Stock/Get").header("content-type", "application/grpc");
    let mut call = Box::pin(client.oneshot(request.body(Body::empty()).unwrap()));
    assert!(futures_util::poll!(&mut call).is_pending());
    drop(call);
    let lines = capture.lines();
    let texts: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(
        texts,
        [
            "test - /demo.Stock/Get - outbound gRPC call",
            "test - No response from /demo.Stock/Get - CANCELLED"
        ]
    );
}

/// The protocol of a call over a client that takes no layer is unknown.
#[tokio::test]
async fn a_call_to_a_peer_has_no_protocol() {
    let call = peer("payments").requests(RequestLog::Single).run(async {}, |()| http::StatusCode::OK);
    let line = line_of(call).await;
    assert_eq!(line["httpRequest"]["status"], 200);
    assert_eq!(line["httpRequest"]["protocol"], Value::Null, "{line}");
}

/// What `tracer.unsupported_requests` of bbc/logtracer logs.
#[tokio::test]
async fn a_call_to_a_peer_has_its_url_and_status() {
    let app = axum::Router::new().route(
        "/pay",
        axum::routing::get(async |headers: http::HeaderMap| {
            assert!(
                !headers.contains_key("x-b3-traceid") && !headers.contains_key("traceparent"),
                "{headers:?}"
            );
            http::StatusCode::PAYMENT_REQUIRED
        }),
    );
    let url = format!("{}/pay?card=4111", crate::serving::serve(app).await);
    let redacted = url.replace("4111", "REDACTED");
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let context = logtracer_sdk::TraceContext::new_root();
    let client = reqwest::Client::new();
    let through = TraceLayer::new().requests(RequestLog::Pair).hosts(Hosts::none());
    let response = client.get(&url).send_through(&through).in_trace(context).await.unwrap();
    assert_eq!(response.status(), 402);
    let call = context.run(|| {
        peer("payments")
            .request(http::Method::GET, url.parse().unwrap())
            .try_run(client.get(&url).send(), |response| response.status())
    });
    call.await.unwrap();
    let lines = capture.lines();
    let texts: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect();
    let pair =
        [format!("test - OUTBOUND GET - {redacted}"), format!("test - 402 Payment Required - {redacted}")];
    assert_eq!(texts, [pair.clone(), pair].concat());
    assert!(lines.iter().all(|line| line["trace"] == context.trace_id.to_string()), "{lines:?}");
}
