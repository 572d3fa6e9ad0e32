//! Spans of an application, sent to an exporter that this test plays; in a process of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use axum::routing::{get, post};
use logtracer_sdk::client::{self, traced};
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{Routes, TraceLayer};
use logtracer_sdk::spans::{SpanExport, SpanExportError, span};
use logtracer_sdk::{Sampling, TraceContext, current_trace};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tower::{Layer, ServiceExt};

/// The exporter's end: keeps spans, and refuses the first batch once, and all while it is down.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<(u32, Vec<Span>)>>, Arc<AtomicBool>);

impl Received {
    async fn serve(&self) -> String {
        let received = self.clone();
        let is_down = Arc::clone(&self.1);
        let take = async move |headers: HeaderMap, body: Bytes| {
            assert_eq!(headers["b3"], "0", "what takes spans away is not traced");
            let mut received = received.0.lock().unwrap();
            received.0 += 1;
            if received.0 == 1 || is_down.load(Ordering::Relaxed) {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            let spans = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            received.1.extend(spans.flat_map(|scope| scope.spans));
            StatusCode::OK
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn take(&self) -> Vec<Span> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_spans_of_a_process() {
    // Without an export there is no span, and the context stays that of the sidecar.
    let context = TraceContext::new_root().with_sampling(Sampling::Accept);
    context.run(|| {
        let _span = span("nobody records it").enter();
        assert_eq!(current_trace(), Some(context));
    });

    let received = Received::default();
    let exporter = SpanExport::new("shop", received.serve().await).install().unwrap();
    let again = SpanExport::new("shop", "http://127.0.0.1:1").install();
    assert!(matches!(again, Err(SpanExportError::AlreadyInstalled)));
    let exporter = Arc::new(exporter);
    let flush = || {
        let exporter = Arc::clone(&exporter);
        async move {
            let flushed = tokio::task::spawn_blocking(move || exporter.flush(Duration::from_secs(10))).await;
            assert!(flushed.unwrap());
        }
    };

    // Blocks, futures and foreign calls nest, and the first answer of 503 loses nothing.
    let inner = async {
        let mut guard = span("block").attribute("item", "bread").enter();
        guard.fail();
        current_trace().unwrap()
    };
    let future = async {
        tokio::task::yield_now().await;
        traced("payments", inner).await
    };
    let innermost = context.run(|| tokio::spawn(future.in_span("future"))).await.unwrap();
    assert_eq!(current_trace(), None);
    flush().await;
    let spans = received.take();
    assert_eq!(names(&spans), ["block", "payments", "future"]);
    let [block, payments, future] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(block.span_id, innermost.span_id.to_bytes());
    assert_eq!(block.parent_span_id, payments.span_id);
    assert_eq!(payments.parent_span_id, future.span_id);
    assert_eq!(future.parent_span_id, context.span_id.to_bytes());
    assert_eq!(future.trace_id, context.trace_id.to_bytes());
    assert_eq!((payments.kind, block.status.as_ref().unwrap().code), (3, 2));
    assert_eq!(block.attributes[0].key, "item");
    assert!(future.end_time_unix_nano >= payments.end_time_unix_nano);

    // Work outside of any request begins a trace; what is not sampled has no span.
    {
        let _root = span("nightly").enter();
        let root = current_trace().unwrap();
        assert_eq!((root.parent_span_id, root.sampling), (None, Sampling::Accept));
    }
    let denied = context.with_sampling(Sampling::Deny);
    denied.run(|| {
        let _span = span("not sampled").enter();
        assert_eq!(current_trace(), Some(denied));
    });
    flush().await;
    assert_eq!(names(&received.take()), ["nightly"]);

    // A server has a span of its own below the caller's, except where it is excluded.
    let app = Router::new()
        .route("/users/{id}", get(async || format!("{:?}", current_trace().unwrap())))
        .route("/healthz", get(async || format!("{:?}", current_trace().unwrap())))
        .route("/readyz", get(async || drop(span("db").enter())))
        .layer(TraceLayer::new().exclude(Routes::new().exact("/healthz").exact("/readyz")));
    let ask = |path: &str| {
        let request = Request::get(path)
            .header("b3", "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1")
            .header("host", "shop")
            .body(Body::empty());
        app.clone().oneshot(request.unwrap())
    };
    let answer = axum::body::to_bytes(ask("/users/7").await.unwrap().into_body(), 1000).await.unwrap();
    let joined = axum::body::to_bytes(ask("/healthz").await.unwrap().into_body(), 1000).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("parent_span_id: Some(SpanId(00f067aa0ba902b7))"));
    assert!(String::from_utf8_lossy(&joined).contains(" span_id: SpanId(00f067aa0ba902b7)"));
    flush().await;
    let spans = received.take();
    assert_eq!(names(&spans), ["GET /users/{id}"]);
    assert_eq!(
        (spans[0].kind, spans[0].parent_span_id.as_slice()),
        (2, &[0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 2, 0xb7][..])
    );

    // Below a request that is excluded, and that nobody else has a span of, there is none.
    app.clone().oneshot(Request::get("/readyz").body(Body::empty()).unwrap()).await.unwrap();
    flush().await;
    assert_eq!(names(&received.take()), [""; 0]);

    // Credentials of a URL are in no attribute.
    let answer = |_: Request<Body>| async { Ok::<_, std::convert::Infallible>(Response::new(Body::empty())) };
    let client = client::TraceLayer::new().layer(tower::service_fn(answer));
    let call = client.oneshot(Request::get("http://me:secret@shop:81/x").body(Body::empty()).unwrap());
    call.in_trace(context).await.unwrap();
    flush().await;
    let spans = received.take();
    assert_eq!(names(&spans), ["GET /x"]);
    assert!(!format!("{spans:?}").contains("secret"), "{spans:?}");
    let address = spans[0].attributes.iter().find(|attribute| attribute.key == "server.address").unwrap();
    assert!(format!("{:?}", address.value).contains("\"shop\""), "{address:?}");

    // Whoever waits for the spans does not wait for the end of a pause that an outage has made long.
    received.1.store(true, Ordering::Relaxed);
    drop(span("during an outage").enter());
    tokio::time::sleep(Duration::from_millis(2600)).await;
    received.1.store(false, Ordering::Relaxed);
    let waiting = Arc::clone(&exporter);
    let flushed = tokio::task::spawn_blocking(move || waiting.flush(Duration::from_millis(900)));
    assert!(flushed.await.unwrap());
    assert_eq!(names(&received.take()), ["during an outage"]);
    assert!(exporter.flush(Duration::MAX));

    // What is left when the process ends is sent by dropping the handle.
    drop(span("last").enter());
    let exporter = Arc::into_inner(exporter).unwrap();
    assert_eq!(exporter.dropped_spans(), 0);
    tokio::task::spawn_blocking(move || drop(exporter)).await.unwrap();
    assert_eq!(names(&received.take()), ["last"]);
}
