//! A service that fails before it takes a request.

use std::future::Ready;
use std::io;
use std::task::{Context, Poll};

use axum::body::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use logtracer_sdk::testing::capture_async;
use logtracer_sdk::{client, server};
use serde_json::Value;
use tower::{Layer, Service, ServiceExt};

#[derive(Clone)]
struct NotReady;

impl Service<Request<()>> for NotReady {
    type Response = Response<Full<Bytes>>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Err(io::Error::other(Closed(io::Error::other("connection refused"))).into()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        unreachable!("a service that is not ready is not called")
    }
}

#[derive(Debug)]
struct Closed(io::Error);

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the worker is closed")
    }
}

impl std::error::Error for Closed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Sends three requests, and returns the lines.
async fn lines_of<S: Service<Request<()>, Error: std::fmt::Debug> + Clone>(service: S) -> Vec<Value> {
    let requests = async {
        for _ in 0..3 {
            assert!(service.clone().oneshot(Request::new(())).await.is_err());
        }
    };
    capture_async(requests).await.1
}

fn texts(lines: &[Value]) -> Vec<(&str, &str)> {
    lines.iter().map(|line| (line["severity"].as_str().unwrap(), line["message"].as_str().unwrap())).collect()
}

/// Each of them would have the same line, so there is one in a minute.
#[tokio::test]
async fn an_error_of_poll_ready_is_logged_once() {
    const TEXT: &str = "test - not ready: the worker is closed: connection refused";
    let lines = lines_of(server::TraceLayer::new().layer(NotReady)).await;
    assert_eq!(texts(&lines), [("ERROR", TEXT)]);
    let layer = client::TraceLayer::new().requests(client::RequestLog::Single);
    assert_eq!(texts(&lines_of(layer.layer(NotReady)).await), [("WARNING", TEXT)]);
    // Without lines, the error is left to the caller.
    assert!(lines_of(client::TraceLayer::new().layer(NotReady)).await.is_empty());
}
