//! Each error and each panic has its own line, also if several of them end one poll.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;

use axum::body::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use logtracer_sdk::server::TraceLayer;
use logtracer_sdk::testing::{Capture, capture_async};
use tower::{Layer, Service, ServiceExt, service_fn};

type Body = Full<Bytes>;

fn fails(
    text: &'static str,
) -> impl Service<Request<()>, Response = Response<impl http_body::Body>, Error = std::io::Error, Future: Send>
+ Clone {
    TraceLayer::new().layer(service_fn(move |_: Request<()>| {
        std::future::ready(Err::<Response<Body>, _>(std::io::Error::other(text)))
    }))
}

fn messages(lines: &[serde_json::Value]) -> Vec<&str> {
    lines.iter().map(|line| line["message"].as_str().unwrap()).collect()
}

/// A handler ignores the error of an inner service, and fails with another one, or with one of the same text.
#[tokio::test]
async fn an_ignored_error_hides_no_other() {
    for text in ["no database", "no cache"] {
        let handler = service_fn(move |_: Request<()>| async move {
            let _ = fails("no cache").oneshot(Request::new(())).await;
            Err::<Response<Body>, _>(std::io::Error::other(text))
        });
        let service = TraceLayer::new().layer(handler);
        let (_, lines) = capture_async(service.oneshot(Request::new(()))).await;
        assert_eq!(messages(&lines), ["test - failed: no cache", &format!("test - failed: {text}")]);
        assert_ne!(lines[0]["trace"], lines[1]["trace"]);
    }
}

/// A layer between two others replaces the error.
#[tokio::test]
async fn an_error_with_another_text_has_its_own_line() {
    let service = service_fn(async |request: Request<()>| {
        let error = fails("no cache").oneshot(request).await.map(|_| ()).unwrap_err();
        Err::<Response<Body>, _>(format!("cannot answer: {error}"))
    });
    let service = TraceLayer::new().layer(service);
    let (_, lines) = capture_async(service.oneshot(Request::new(()))).await;
    assert_eq!(messages(&lines), ["test - failed: no cache", "test - failed: cannot answer: no cache"]);
    assert_eq!(lines[0]["trace"], lines[1]["trace"]);
}

/// The same request may fail several times in one poll, as with a retry.
#[tokio::test]
async fn each_attempt_has_a_line() {
    let service = service_fn(async |request: Request<()>| {
        for _ in 0..2 {
            let _ = fails("no cache").oneshot(request.clone()).await;
        }
        Err::<Response<Body>, _>("no cache")
    });
    let service = TraceLayer::new().layer(service);
    let (_, lines) = capture_async(service.oneshot(Request::new(()))).await;
    assert_eq!(messages(&lines), ["test - failed: no cache"; 2]);
}

/// A panic that was caught inside hides no later one.
#[tokio::test]
async fn a_caught_panic_hides_no_other() {
    let capture = Capture::new();
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let handler = service_fn(async |request: Request<()>| {
        let panics =
            service_fn(async |_: Request<()>| -> Result<Response<Body>, Infallible> { panic!("caught") });
        let inner = TraceLayer::new().layer(panics).oneshot(request);
        assert!(AssertUnwindSafe(inner).catch_unwind().await.is_err());
        if true {
            panic!("not caught");
        }
        Ok::<Response<Body>, Infallible>(Response::default())
    });
    let service = TraceLayer::new().layer(TraceLayer::new().layer(handler));
    assert!(AssertUnwindSafe(service.oneshot(Request::new(()))).catch_unwind().await.is_err());
    let lines = capture.lines();
    assert_eq!(messages(&lines), ["test - panicked: caught", "test - panicked: not caught"]);
}
