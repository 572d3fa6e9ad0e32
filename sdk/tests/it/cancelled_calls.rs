//! Calls that are dropped before their response: they have no status.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

use axum::body::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use logtracer_sdk::client::{RequestLog, TraceLayer};
use logtracer_sdk::testing::capture_async;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};

/// Starts a call, drops it, and returns its last line.
async fn last_line(requests: RequestLog, content_type: &str) -> Value {
    let endless =
        service_fn(async |_: Request<()>| pending::<Result<Response<Full<Bytes>>, Infallible>>().await);
    let client = TraceLayer::new().requests(requests).layer(endless);
    let request = Request::get("http://stock/demo.Stock/Get").header("content-type", content_type);
    let cancelled = async {
        let mut call = pin!(client.oneshot(request.body(()).unwrap()));
        poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    };
    let (_, mut lines) = capture_async(cancelled).await;
    lines.pop().unwrap()
}

#[tokio::test]
async fn a_cancelled_call_has_no_status() {
    for (requests, content_type, message, error_type) in [
        (
            RequestLog::Single,
            "text/plain",
            "OUTBOUND GET - http://stock/demo.Stock/Get - cancelled",
            json!("cancelled"),
        ),
        (RequestLog::Pair, "text/plain", "cancelled - http://stock/demo.Stock/Get", json!("cancelled")),
        (RequestLog::Single, "application/grpc", "OUTBOUND /demo.Stock/Get - CANCELLED", Value::Null),
        (RequestLog::Pair, "application/grpc", "No response from /demo.Stock/Get - CANCELLED", Value::Null),
    ] {
        let line = last_line(requests, content_type).await;
        assert_eq!(line["message"], format!("test - {message}"));
        assert_eq!((&line["severity"], &line["error.type"]), (&json!("INFO"), &error_type), "{line}");
        assert!(line["httpRequest"].get("status").is_none(), "{line}");
    }
}
