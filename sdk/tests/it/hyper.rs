//! The layers around a server and a client of plain hyper, over HTTP/1.1 and HTTP/2.

use std::convert::Infallible;

use axum::body::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{RequestLog, TraceLayer};
use logtracer_sdk::testing::Capture;
use logtracer_sdk::{TraceContext, client, current_trace};
use tower::{ServiceBuilder, ServiceExt, service_fn};

async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/users/7", listener.local_addr().unwrap());
    let service = ServiceBuilder::new().layer(TraceLayer::new().requests(RequestLog::Single)).service(
        service_fn(async |_request: Request<Incoming>| {
            tokio::task::yield_now().await;
            let trace = current_trace().map(|trace| trace.trace_id.to_string()).unwrap_or_default();
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(trace))))
        }),
    );
    let service = TowerToHyperService::new(service);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                builder.serve_connection(TokioIo::new(stream), service).await
            });
        }
    });
    url
}

#[tokio::test]
async fn http1_and_http2_have_the_trace() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let url = serve().await;
    for is_http2 in [false, true] {
        let hyper = Client::builder(TokioExecutor::new()).http2_only(is_http2).build_http::<Empty<Bytes>>();
        let client = ServiceBuilder::new().layer(client::TraceLayer::new()).service(hyper);
        let context = TraceContext::new_root();
        let request = Request::get(&url).body(Empty::new()).unwrap();
        let response = client.oneshot(request).in_trace(context).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), context.trace_id.to_string());
    }
    let lines = capture.lines();
    let protocols: Vec<_> =
        lines.iter().map(|line| line["httpRequest"]["protocol"].as_str().unwrap()).collect();
    assert_eq!(protocols, ["HTTP/1.1", "HTTP/2"]);
    assert!(
        lines.iter().all(|line| line["message"].as_str().unwrap().ends_with("/users/7 - 200 OK")),
        "{lines:?}"
    );
}
