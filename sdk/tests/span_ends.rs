//! What a span has at its end: its status after a panic, and attributes with unique keys.

mod exported;
mod received;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::panic::AssertUnwindSafe;

use axum::body::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use logtracer_sdk::client::{self, peer, traced};
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{self, TraceLayer};
use logtracer_sdk::spans::{SpanEvent, SpanLink, current_span};
use logtracer_sdk::{TraceContext, current_trace, job};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tower::{Layer, ServiceExt, service_fn};

use exported::{export, sampled, spans_of};
use received::names;

/// Returns the attributes, whose keys are unique.
#[track_caller]
fn unique(attributes: &[KeyValue]) -> HashMap<&str, &Value> {
    let mut unique = HashMap::new();
    for KeyValue { key, value, .. } in attributes {
        let value = value.as_ref().and_then(|value| value.value.as_ref()).unwrap();
        assert!(unique.insert(key.as_str(), value).is_none(), "{key} in {attributes:?}");
    }
    unique
}

type BoxFuture = std::pin::Pin<Box<dyn Future<Output = ()>>>;

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn is_failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == 2)
}

/// The panic is caught around the future, which is dropped later.
#[tokio::test]
async fn a_caught_panic_fails_the_span() {
    let context = sampled();
    async fn panics() -> u16 {
        panic!("on purpose")
    }
    let futures: [(&str, BoxFuture); 3] = [
        ("in a span", Box::pin(async { _ = panics().in_span("in a span").await })),
        ("traced", Box::pin(async { _ = traced("traced", panics()).await })),
        (
            "peer",
            Box::pin(async {
                let call = peer("peer").request(Method::GET, Uri::from_static("http://stock/"));
                call.run(panics(), |status| StatusCode::from_u16(*status).unwrap()).await;
            }),
        ),
    ];
    for (name, future) in futures {
        let mut future = Box::pin(AssertUnwindSafe(future.in_trace(context)).catch_unwind());
        assert!((&mut future).await.is_err(), "{name}");
        drop(future);
    }
    let spans = spans_of(context.trace_id).await;
    assert_eq!(names(&spans), ["in a span", "traced", "peer"]);
    assert!(spans.iter().all(is_failed), "{spans:?}");
    assert_eq!(unique(&spans[1].attributes)["error.type"], &text("panic"));
    let peer = unique(&spans[2].attributes);
    assert_eq!((peer["error.type"], peer["error.message"]), (&text("panic"), &text("panicked: on purpose")));
    assert!(!peer.contains_key("http.response.status_code"));
}

#[tokio::test]
async fn a_caught_panic_fails_the_span_of_a_job() {
    export();
    let trace = std::sync::OnceLock::new();
    let run = job("nightly", async {
        trace.set(current_trace().unwrap()).unwrap();
        panic!("on purpose")
    });
    let run: Result<(), _> = AssertUnwindSafe(run).catch_unwind().await;
    assert!(run.is_err());
    let spans = spans_of(trace.get().unwrap().trace_id).await;
    assert_eq!(names(&spans), ["nightly"]);
    assert!(is_failed(&spans[0]));
}

/// A value of the application replaces that of the layer.
#[tokio::test]
async fn keys_of_attributes_are_unique() {
    let context = sampled();
    let service = TraceLayer::new().layer(service_fn(async |_: Request<()>| {
        let span = current_span().unwrap();
        span.attribute("error.type", "out_of_stock");
        span.attribute("http.request.method", "mine");
        span.attribute("items", 1);
        server::record("items", 2);
        span.event(SpanEvent::new("retry").attribute("attempt", 1).attribute("attempt", 2));
        span.link(SpanLink::new(TraceContext::new_root()).attribute("id", 1).attribute("id", 2));
        let response = Response::builder().status(500).body(Full::new(Bytes::from("x")));
        Ok::<_, Infallible>(response.unwrap())
    }));
    let b3 = format!("{}-{}-1", context.trace_id, context.span_id);
    let request = Request::get("http://shop/basket").header("b3", b3).body(()).unwrap();
    service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    let spans = spans_of(context.trace_id).await;
    let attributes = unique(&spans[0].attributes);
    assert_eq!(attributes["error.type"], &text("out_of_stock"));
    assert_eq!(attributes["http.request.method"], &text("mine"));
    assert_eq!(attributes["items"], &Value::IntValue(2));
    // What the application has not set is there.
    assert_eq!(attributes["http.response.status_code"], &Value::IntValue(500));
    assert_eq!(unique(&spans[0].events[0].attributes)["attempt"], &Value::IntValue(2));
    assert_eq!(unique(&spans[0].links[0].attributes)["id"], &Value::IntValue(2));
}

/// There is no status without a response.
#[tokio::test]
async fn a_cancelled_call_has_no_status() {
    let context = sampled();
    let endless =
        service_fn(async |_: Request<()>| pending::<Result<Response<Full<Bytes>>, Infallible>>().await);
    for content_type in ["text/plain", "application/grpc"] {
        let request = Request::get("http://stock/demo.Stock/Get").header("content-type", content_type);
        let client = client::TraceLayer::new().layer(endless);
        let call = client.oneshot(request.body(()).unwrap()).in_trace(context);
        assert!(call.now_or_never().is_none());
    }
    let spans = spans_of(context.trace_id).await;
    let error_types = ["cancelled", "CANCELLED"].map(text);
    assert_eq!(spans.len(), 2);
    for (span, error_type) in spans.iter().zip(&error_types) {
        let attributes = unique(&span.attributes);
        assert!(!attributes.contains_key("http.response.status_code"), "{span:?}");
        assert_eq!((attributes["error.type"], is_failed(span)), (error_type, true));
    }
}
