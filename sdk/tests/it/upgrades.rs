//! Tasks that live longer than their request: upgraded connections, and spawned tasks in a span.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{RequestLog, TraceLayer};
use logtracer_sdk::testing::Capture;
use logtracer_sdk::{TraceContext, current_trace, trace_headers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::Instrument;
use tracing::instrument::WithSubscriber;

use crate::serving::serve;

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

/// How the task of an upgraded connection gets its trace.
#[derive(Debug, Clone, Copy)]
enum Keep {
    Future,
    Span,
    Context,
}

/// Writes the trace of the task, and its request id, to the upgraded connection.
async fn talk(upgraded: hyper::upgrade::OnUpgrade) {
    let mut socket = TokioIo::new(upgraded.await.unwrap());
    tracing::info!("connected");
    let trace = current_trace().map(|trace| trace.trace_id.to_string()).unwrap_or_default();
    let headers = trace_headers();
    let id = headers.get("x-request-id").map_or("-", |id| id.to_str().unwrap());
    socket.write_all(format!("{trace} {id}").as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
}

async fn upgrade(mut request: Request<Body>, keep: Keep) -> Response<Body> {
    let upgraded = hyper::upgrade::on(&mut request);
    match keep {
        Keep::Future => tokio::spawn(talk(upgraded).in_current_trace().with_current_subscriber()),
        Keep::Span => {
            tokio::spawn(talk(upgraded).instrument(tracing::info_span!("socket")).with_current_subscriber())
        }
        // As the callback of axum's `WebSocketUpgrade::on_upgrade`, which runs in a task of axum.
        Keep::Context => {
            let trace = current_trace().unwrap();
            let callback = move |upgraded| talk(upgraded).in_trace(trace);
            tokio::spawn(async move { callback(upgraded).await }.with_current_subscriber())
        }
    };
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "talk")
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn an_upgraded_connection_keeps_the_trace() {
    for (keep, id) in [(Keep::Future, "0af76519"), (Keep::Span, "0af76519"), (Keep::Context, "-")] {
        let capture = Capture::with(|logging| logging.level("info"));
        let dispatch = capture.dispatch();
        let app = Router::new()
            .route("/", get(async move |request| upgrade(request, keep).with_subscriber(dispatch).await))
            .layer(TraceLayer::new());
        let url = serve(app).await;
        let mut stream = tokio::net::TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: talk\r\n\
             b3: {TRACE}-00f067aa0ba902b7-1\r\nx-request-id: 0af76519\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
        assert!(text.ends_with(&format!("\r\n\r\n{TRACE} {id}")), "{keep:?}: {text}");
        let lines = capture.lines();
        let connected = lines.iter().find(|line| line["message"] == "test - connected").unwrap();
        assert_eq!(connected["trace"], TRACE, "{keep:?}");
    }
}

/// The line of an upgraded request has its status.
#[tokio::test]
async fn an_upgraded_request_is_logged() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let switch = async || StatusCode::SWITCHING_PROTOCOLS;
    let app = Router::new().route("/", get(switch)).layer(TraceLayer::new().requests(RequestLog::Single));
    let request = Request::get("/").header("host", "shop").body(Body::empty()).unwrap();
    drop(tower::ServiceExt::oneshot(app, request).await.unwrap());
    assert_eq!(capture.lines()[0]["message"], "test - GET - http://shop/ - 101 Switching Protocols");
}

/// A task in a span that was created in a request belongs to that request, however long it lives.
#[tokio::test]
async fn a_spawned_task_in_a_span_keeps_the_trace() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let seen = Arc::new(Mutex::new(None));
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let context = TraceContext::new_root();
    let task = context.run(|| {
        let seen = Arc::clone(&seen);
        let work = async move {
            released.await.unwrap();
            *seen.lock().unwrap() = current_trace();
            tracing::info!("done");
        };
        tokio::spawn(work.instrument(tracing::info_span!("work")).with_current_subscriber())
    });
    // The request is over, and another one is being served.
    TraceContext::new_root().run(|| release.send(()).unwrap());
    task.await.unwrap();
    assert_eq!(*seen.lock().unwrap(), Some(context));
    assert_eq!(capture.lines()[0]["trace"], context.trace_id.to_string());
}
