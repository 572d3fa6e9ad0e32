//! Trailers end a response: a server polls its body no further.

use std::convert::Infallible;
use std::pin::pin;

use axum::body::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use logtracer_sdk::server::{RequestLog, TraceLayer};
use logtracer_sdk::testing::{Capture, capture_async};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};

fn with_trailer(
    name: &'static str,
    value: &'static str,
) -> Response<impl http_body::Body<Data = Bytes, Error = Infallible>> {
    let trailers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
    let body = Full::new(Bytes::from("hello")).with_trailers(std::future::ready(Some(Ok(trailers))));
    Response::builder().header("trailer", name).body(body).unwrap()
}

fn texts(lines: &[Value]) -> Vec<(&str, &str)> {
    lines.iter().map(|line| (line["severity"].as_str().unwrap(), line["message"].as_str().unwrap())).collect()
}

/// Reads a body up to its trailers, and drops it.
async fn line_of(content_type: &'static str, name: &'static str, value: &'static str) -> Vec<Value> {
    let service =
        service_fn(move |_: Request<()>| std::future::ready(Ok::<_, Infallible>(with_trailer(name, value))));
    let service = TraceLayer::new().requests(RequestLog::Single).layer(service);
    let request = Request::post("http://shop/demo.Shop/Buy").header("content-type", content_type);
    let exchange = async {
        let mut body = pin!(service.oneshot(request.body(()).unwrap()).await.unwrap().into_body());
        while let Some(frame) = body.frame().await {
            if frame.unwrap().is_trailers() {
                break;
            }
        }
    };
    capture_async(exchange).await.1
}

#[tokio::test]
async fn trailers_complete_a_response() {
    let lines = line_of("text/plain", "server-timing", "db;dur=5").await;
    assert_eq!(texts(&lines), [("INFO", "test - POST - http://shop/demo.Shop/Buy - 200 OK")]);
    assert_eq!(lines[0]["httpRequest"]["responseSize"], "5");
    let lines = line_of("application/grpc", "grpc-status", "5").await;
    assert_eq!(texts(&lines), [("WARNING", "test - /demo.Shop/Buy - NOT_FOUND")]);
    // A call that ends without a status.
    let lines = line_of("application/grpc", "server-timing", "db;dur=5").await;
    assert_eq!(texts(&lines), [("ERROR", "test - /demo.Shop/Buy - UNKNOWN")]);
}

#[tokio::test]
async fn a_body_that_hyper_polls_no_further_is_complete() {
    for is_http2 in [false, true] {
        let capture = Capture::with(|logging| logging.level("info"));
        let _default = tracing::dispatcher::set_default(&capture.dispatch());
        let service = service_fn(async |_: Request<Incoming>| {
            Ok::<_, Infallible>(with_trailer("server-timing", "db;dur=5"))
        });
        let service = TowerToHyperService::new(TraceLayer::new().requests(RequestLog::Single).layer(service));
        let (server, client) = tokio::io::duplex(1 << 16);
        let serving = tokio::spawn(async move {
            let builder = Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(server), service).await;
        });
        let request = Request::get("http://shop/").header("host", "shop").header("te", "trailers");
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let client = TokioIo::new(client);
        let response = if is_http2 {
            let executor = TokioExecutor::new();
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(executor, client).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap().into_body().collect().await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(client).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap().into_body().collect().await.unwrap()
        };
        // Over HTTP/1.1, hyper sends the length that the body names, and then no trailers.
        assert_eq!(response.trailers().is_some(), is_http2);
        serving.await.unwrap();
        assert_eq!(texts(&capture.lines()), [("INFO", "test - GET - http://shop/ - 200 OK")]);
    }
}
