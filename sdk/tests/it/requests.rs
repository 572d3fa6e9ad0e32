//! The log lines of requests that come in.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, Request, StatusCode};
use axum::routing::get;
use http_body_util::BodyExt;
use logtracer_sdk::propagation::{self, Formats, Propagator};
use logtracer_sdk::server::{Excluded, Query, RequestLog, Routes, TraceLayer};
use logtracer_sdk::testing::Capture;
use logtracer_sdk::{Format, current_trace};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tracing::Level;
use tracing::instrument::WithSubscriber;

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

fn shop(layer: TraceLayer) -> Router {
    Router::new()
        .route("/users/{id}", get(async || "hello"))
        .route("/missing", get(async || StatusCode::NOT_FOUND))
        .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/panics", get(async || -> &'static str { panic!("out of eggs") }))
        .route("/healthz", get(async || "ok"))
        .route("/v1/app-config/x", get(async || "ok"))
        .layer(layer)
}

fn request(target: &str) -> Request<Body> {
    Request::get(target)
        .header("host", "shop:8080")
        .header("b3", format!("{TRACE}-00f067aa0ba902b7-1"))
        .header("user-agent", "curl/8")
        .header("x-forwarded-for", "10.1.2.3, 10.0.0.1")
        .body(Body::empty())
        .unwrap()
}

/// Sends a request, reads the whole response, and returns the log lines.
async fn lines_of(layer: TraceLayer, target: &str) -> Vec<Value> {
    let capture = Capture::new();
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let response = shop(layer).oneshot(request(target)).await.unwrap();
    response.into_body().collect().await.unwrap();
    capture.lines()
}

fn texts(lines: &[Value]) -> Vec<(&str, &str)> {
    lines.iter().map(|line| (line["severity"].as_str().unwrap(), line["message"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn one_line_is_logged_for_a_request() {
    let lines = lines_of(TraceLayer::new().requests(RequestLog::Single), "/users/7?token=secret").await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    let mut line = lines[0].clone();
    let latency = line["httpRequest"]["latency"].take();
    assert!(latency.as_str().unwrap().ends_with('s'), "{latency}");
    line["time"].take();
    assert_eq!(
        line,
        json!({
            "severity": "INFO",
            "message": "test - GET - http://shop:8080/users/7?token=REDACTED - 200 OK",
            "time": null,
            "trace": TRACE,
            "spanId": "00f067aa0ba902b7",
            "traceSampled": true,
            "httpRequest": {
                "requestMethod": "GET",
                "requestUrl": "http://shop:8080/users/7?token=REDACTED",
                "status": 200,
                "responseSize": "5",
                "userAgent": "curl/8",
                "latency": null,
                "protocol": "HTTP/1.1",
            },
            "labels": { "route": "/users/{id}" },
        })
    );
}

#[tokio::test]
async fn two_lines_are_logged_for_a_request() {
    let pair = || TraceLayer::new().requests(RequestLog::Pair);
    let lines = lines_of(pair(), "/missing").await;
    assert_eq!(
        texts(&lines),
        [
            ("INFO", "test - GET - http://shop:8080/missing"),
            ("WARNING", "test - 404 Not Found - http://shop:8080/missing")
        ]
    );
    let lines = lines_of(pair().client_errors(Level::ERROR), "/missing").await;
    assert_eq!(lines[1]["severity"], "ERROR");
    let lines = lines_of(pair(), "/broken").await;
    assert_eq!(texts(&lines)[1], ("ERROR", "test - 500 Internal Server Error - http://shop:8080/broken"));
    assert!(lines.iter().all(|line| line["trace"] == TRACE));
    assert_eq!(lines_of(TraceLayer::new(), "/missing").await.len(), 0);
}

/// Rules 55 and 57, for responses without a `grpc-status`.
#[tokio::test]
async fn grpc_calls_without_a_status_are_logged() {
    for (content_type, status, severity, expected) in [
        ("application/grpc", 200, "ERROR", "/demo.Shop/Buy - UNKNOWN"),
        ("application/grpc", 401, "WARNING", "/demo.Shop/Buy - UNAUTHENTICATED"),
        ("application/grpc", 503, "ERROR", "/demo.Shop/Buy - UNAVAILABLE"),
        ("application/grpc-web", 200, "INFO", "POST - http://shop/demo.Shop/Buy - 200 OK"),
        ("application/grpc-web-text", 200, "INFO", "POST - http://shop/demo.Shop/Buy - 200 OK"),
        ("application/grpc-web", 503, "ERROR", "/demo.Shop/Buy - UNAVAILABLE"),
        ("application/grpc", 0, "INFO", "/demo.Shop/Buy - CANCELLED"),
    ] {
        let capture = Capture::new();
        let _default = tracing::dispatcher::set_default(&capture.dispatch());
        let service = move |_: Request<Body>| async move {
            if status == 0 {
                std::future::pending::<()>().await;
            }
            let response = axum::http::Response::builder().status(status).body(Body::from("x"));
            Ok::<_, Infallible>(response.unwrap())
        };
        let service = TraceLayer::grpc().requests(RequestLog::Single).layer(tower::service_fn(service));
        let call = Request::post("http://shop/demo.Shop/Buy").header("content-type", content_type);
        let call = service.oneshot(call.body(Body::empty()).unwrap());
        match tokio::time::timeout(
            std::time::Duration::from_millis(if status == 0 { 10 } else { 10_000 }),
            call,
        )
        .await
        {
            Ok(response) => _ = response.unwrap().into_body().collect().await.unwrap(),
            Err(_) => assert_eq!(status, 0),
        }
        let lines = capture.lines();
        assert_eq!(texts(&lines), [(severity, format!("test - {expected}").as_str())], "{content_type}");
    }
}

#[tokio::test]
async fn a_panic_within_two_layers_is_logged_once() {
    let capture = Capture::new();
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let app = shop(TraceLayer::grpc()).layer(TraceLayer::new());
    assert!(tokio::spawn(app.oneshot(request("/panics"))).await.unwrap_err().is_panic());
    assert_eq!(texts(&capture.lines()), [("ERROR", "test - panicked: out of eggs")]);
}

/// The outer layer of two writes the lines, with the route that only the inner one knows.
#[tokio::test]
async fn two_layers_write_one_line() {
    for (outer, inner, expected) in [
        (RequestLog::Single, RequestLog::Single, 1),
        (RequestLog::Single, RequestLog::Pair, 1),
        (RequestLog::Pair, RequestLog::Single, 2),
        (RequestLog::Off, RequestLog::Single, 1),
        (RequestLog::Single, RequestLog::Off, 1),
    ] {
        let capture = Capture::new();
        let _default = tracing::dispatcher::set_default(&capture.dispatch());
        let app = TraceLayer::new().requests(outer).layer(shop(TraceLayer::new().requests(inner)));
        app.oneshot(request("/users/7")).await.unwrap().into_body().collect().await.unwrap();
        let lines = capture.lines();
        assert_eq!(lines.len(), expected, "{outer:?} {inner:?}: {lines:?}");
        if expected == 1 {
            assert_eq!(lines[0]["labels"]["route"], "/users/{id}", "{outer:?} {inner:?}");
        }
    }
}

/// A request that the outer layer excludes has no line of the inner one. A buffer between them runs the inner one in
/// another task.
#[tokio::test]
async fn two_layers_with_a_buffer_write_one_line() {
    for (target, expected) in [("/users/7", 1), ("/healthz", 0)] {
        let capture = Capture::with(|logging| logging.level("info"));
        let _default = tracing::dispatcher::set_default(&capture.dispatch());
        let log = || TraceLayer::new().requests(RequestLog::Single);
        let outer = log().exclude(Routes::new().exact("/healthz")).exclude_from(Excluded::Logs);
        let (buffer, worker) = tower::buffer::Buffer::pair(shop(log()), 4);
        tokio::spawn(worker.with_subscriber(capture.dispatch()));
        outer.layer(buffer).oneshot(request(target)).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(capture.lines().len(), expected, "{target}: {:?}", capture.lines());
    }
}

#[tokio::test]
async fn excluded_paths_are_not_logged() {
    let routes = || Routes::new().exact("/healthz").contains("/app-config/");
    for (excluded, target, expected) in [
        (Excluded::Spans, "/healthz", 1),
        (Excluded::Logs, "/healthz", 0),
        (Excluded::Both, "/v1/app-config/x?y", 0),
        (Excluded::Both, "/users/7", 1),
    ] {
        let layer = TraceLayer::new().requests(RequestLog::Single).exclude(routes()).exclude_from(excluded);
        assert_eq!(lines_of(layer, target).await.len(), expected, "{excluded:?} {target}");
    }
}

#[tokio::test]
async fn the_response_has_the_trace_id() {
    let layer = TraceLayer::new().response_header(HeaderName::from_static("x-trace-id"));
    let response = shop(layer).oneshot(request("/users/7")).await.unwrap();
    assert_eq!(response.headers()["x-trace-id"], TRACE);
}

/// One line for Error Reporting and one for the request; the panic continues.
#[tokio::test]
async fn a_panic_is_logged_and_continues() {
    let capture = Capture::with(|logging| logging.version("1.2"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let app = shop(TraceLayer::new().requests(RequestLog::Single));
    let outcome = tokio::spawn(app.oneshot(request("/panics"))).await;
    assert!(outcome.unwrap_err().is_panic());
    assert_eq!(current_trace(), None);
    let lines = capture.lines();
    assert_eq!(
        texts(&lines),
        [
            ("ERROR", "test - panicked: out of eggs"),
            ("ERROR", "test - GET - http://shop:8080/panics - 500 Internal Server Error"),
        ]
    );
    assert_eq!(lines[0]["serviceContext"], json!({ "service": "test", "version": "1.2" }));
    assert_eq!(lines[0]["trace"], TRACE);
    assert!(lines[1].get("@type").is_none());
}

/// A body with this number of frames, which then fails (`true`) or ends.
struct Frames(u8, bool);

impl http_body::Body for Frames {
    type Data = axum::body::Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Ready(match self.0 {
            0 => self.1.then_some(Err("lost")),
            _ => {
                self.0 -= 1;
                Some(Ok(http_body::Frame::data("12345".into())))
            }
        })
    }
}

/// The line is logged at the end of the body, with its outcome.
#[tokio::test]
async fn the_line_is_logged_at_the_end_of_the_body() {
    for (fails, read, expected) in [
        (false, 3, ("INFO", "test - GET - http://shop:8080/ - 200 OK")),
        (true, 3, ("ERROR", "test - GET - http://shop:8080/ - 500 Internal Server Error")),
        (false, 1, ("INFO", "test - GET - http://shop:8080/ - 499 Client Closed Request")),
    ] {
        let capture = Capture::new();
        let _default = tracing::dispatcher::set_default(&capture.dispatch());
        let layer = TraceLayer::new().requests(RequestLog::Single);
        let service =
            tower::ServiceBuilder::new().layer(layer).service_fn(move |_: Request<Body>| async move {
                Ok::<_, Infallible>(http::Response::new(Frames(2, fails)))
            });
        let mut body = service.oneshot(request("/")).await.unwrap().into_body();
        for _ in 0..read {
            assert_eq!(capture.lines().len(), 0);
            let _ = body.frame().await;
        }
        drop(body);
        let lines = capture.lines();
        let (request, others) = lines.split_last().unwrap();
        assert_eq!(texts(std::slice::from_ref(request)), [expected]);
        // The error has its own line.
        assert_eq!(others.len(), usize::from(fails), "{lines:?}");
        if !fails {
            let size = if read == 3 { "10" } else { "5" };
            assert_eq!(capture.lines()[0]["httpRequest"]["responseSize"], size);
        }
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_is_logged() {
    let capture = Capture::new();
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let layer = TraceLayer::new().requests(RequestLog::Pair);
    let service = tower::ServiceBuilder::new()
        .layer(layer)
        .service_fn(|_: Request<Body>| std::future::pending::<Result<http::Response<Body>, Infallible>>());
    let waiting = service.oneshot(request("/"));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(1), waiting).await.is_err());
    let lines = capture.lines();
    assert_eq!(texts(&lines)[1], ("INFO", "test - 499 Client Closed Request - http://shop:8080/"));
    assert_eq!(lines[1]["spanId"], "00f067aa0ba902b7");
}

/// Headers of the caller may contain secrets, and may not be valid text.
#[tokio::test]
async fn headers_of_the_caller_are_redacted() {
    let capture = Capture::new();
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let mut request = request("http://me:secret@shop/users/7?token=secret");
    let headers = request.headers_mut();
    headers.insert("referer", "https://me:secret@shop/pay?card=secret".parse().unwrap());
    headers.insert("x-forwarded-proto", "https".parse().unwrap());
    headers.insert("user-agent", http::HeaderValue::from_bytes(b"caf\xe9").unwrap());
    let app = shop(TraceLayer::new().requests(RequestLog::Single).trusted_proxies(1));
    app.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    let http_request = &capture.lines()[0]["httpRequest"];
    assert_eq!(http_request["requestUrl"], "https://shop/users/7?token=REDACTED");
    assert_eq!(http_request["referer"], "https://shop/pay?card=REDACTED");
    assert_eq!(http_request["userAgent"], "caf\u{fffd}");
    assert!(!format!("{:?}", capture.lines()).contains("secret"));
}

/// `logtracer=off` disables request lines and nothing else.
#[tokio::test]
async fn request_lines_have_their_own_level() {
    let capture = Capture::with(|logging| logging.level("info,logtracer=off").format(Format::Local));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let app = shop(TraceLayer::new().requests(RequestLog::Single));
    app.oneshot(request("/users/7")).await.unwrap();
    tracing::info!("still here");
    assert_eq!(texts(&capture.lines()), [("INFO", "test - still here")]);
}

/// A layer within another one joins its trace, with or without trace headers.
#[tokio::test]
async fn nested_layers_have_one_trace() {
    let handler = async || format!("{:?}", current_trace().unwrap());
    let inner = Router::new()
        .route("/", get(handler))
        .layer(TraceLayer::new().response_header(HeaderName::from_static("x-inner")));
    let app = inner.layer(TraceLayer::new().response_header(HeaderName::from_static("x-outer")));
    for b3 in [None, Some(format!("{TRACE}-00f067aa0ba902b7-1")), Some("0".to_owned())] {
        let mut request = Request::get("/");
        if let Some(b3) = &b3 {
            request = request.header("b3", b3);
        }
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()["x-inner"], response.headers()["x-outer"], "{b3:?}");
    }
}

/// Without trusted proxies the caller may have forged the header.
#[tokio::test]
async fn the_address_of_the_caller_is_logged() {
    let with = |trusted_proxies: usize, forwarded_for: Option<&'static [u8]>| async move {
        let capture = Capture::new();
        let _default = tracing::dispatcher::set_default(&capture.dispatch());
        let mut request = request("/users/7");
        request.headers_mut().remove("x-forwarded-for");
        if let Some(forwarded_for) = forwarded_for {
            request
                .headers_mut()
                .insert("x-forwarded-for", http::HeaderValue::from_bytes(forwarded_for).unwrap());
        }
        let peer: std::net::SocketAddr = "[::1]:5005".parse().unwrap();
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
        let app = shop(TraceLayer::new().requests(RequestLog::Single).trusted_proxies(trusted_proxies));
        app.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
        capture.lines()[0]["httpRequest"]["remoteIp"].clone()
    };
    assert_eq!(with(0, None).await, "::1");
    assert_eq!(with(0, Some(b"6.6.6.6")).await, "::1");
    assert_eq!(with(1, None).await, "::1");
    assert_eq!(with(1, Some(b"6.6.6.6, 10.1.2.3")).await, "10.1.2.3");
    assert_eq!(with(2, Some(b" 10.1.2.3 , 10.0.0.1")).await, "10.1.2.3");
    assert_eq!(with(1, Some(b"\xff, 10.1.2.3")).await, "10.1.2.3");
    // The address of the connection is that of the proxy.
    assert_eq!(with(1, Some(b"no address")).await, Value::Null);
    assert_eq!(with(2, Some(b"\xff, 10.1.2.3")).await, Value::Null);
}

#[tokio::test]
async fn the_forwarded_scheme_is_logged() {
    for (trusted_proxies, forwarded_proto, expected) in [
        (0, "https", "http"),
        (1, "https", "https"),
        (1, "https,http", "http"),
        (2, " https , http", "https"),
        (1, "no scheme!", "http"),
        (1, "", "http"),
    ] {
        let capture = Capture::new();
        let _default = tracing::dispatcher::set_default(&capture.dispatch());
        let mut request = request("/users/7");
        request.headers_mut().insert("x-forwarded-proto", forwarded_proto.parse().unwrap());
        let app = shop(TraceLayer::new().requests(RequestLog::Single).trusted_proxies(trusted_proxies));
        app.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
        let url = capture.lines()[0]["httpRequest"]["requestUrl"].clone();
        assert_eq!(url, format!("{expected}://shop:8080/users/7"), "{forwarded_proto}");
    }
}

/// An error with a cause.
fn no_database() -> Box<dyn std::error::Error + Send + Sync> {
    #[derive(Debug)]
    struct NoDatabase(std::io::Error);
    impl std::fmt::Display for NoDatabase {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no database")
        }
    }
    impl std::error::Error for NoDatabase {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    Box::new(NoDatabase(std::io::Error::other("connection refused")))
}

/// The error of a service is logged once, with its causes and its trace. With `report_errors` it is an event of
/// Error Reporting.
#[tokio::test]
async fn the_error_of_a_service_is_logged() {
    for (level, is_report) in [(None, false), (Some(Level::ERROR), true)] {
        let capture = Capture::with(|logging| match level {
            Some(level) => logging.report_errors(level).version("1.2"),
            None => logging,
        });
        let _default = tracing::dispatcher::set_default(&capture.dispatch());
        let fails = tower::service_fn(async |_: Request<Body>| Err::<http::Response<Body>, _>(no_database()));
        let inner = TraceLayer::new().layer(fails);
        let service = TraceLayer::new().requests(RequestLog::Single).layer(inner);
        assert!(service.oneshot(request("/")).await.is_err());
        let lines = capture.lines();
        assert_eq!(
            texts(&lines),
            [
                ("ERROR", "test - failed: no database: connection refused"),
                ("ERROR", "test - GET - http://shop:8080/ - 500 Internal Server Error"),
            ]
        );
        assert_eq!(lines[0]["trace"], TRACE);
        assert_eq!(lines[0].get("@type").is_some(), is_report);
        assert_eq!(lines[0].get("serviceContext").is_some(), is_report);
        // The request line has a status and no cause.
        assert!(lines[1].get("@type").is_none());
    }
}

/// The error of a body is logged even if requests are not.
#[tokio::test]
async fn the_error_of_a_body_is_logged() {
    let capture = Capture::new();
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let service = TraceLayer::new().layer(tower::service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(http::Response::new(Frames(1, true)))
    }));
    let body = service.oneshot(request("/")).await.unwrap().into_body();
    assert!(body.collect().await.is_err());
    assert_eq!(texts(&capture.lines()), [("ERROR", "test - failed: lost")]);
    assert_eq!(capture.lines()[0]["trace"], TRACE);

    // The error of a streaming axum handler is axum's own, with a cause.
    let capture = Capture::new();
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let streams =
        async || Body::from_stream(futures_util::stream::iter([Err::<axum::body::Bytes, _>(no_database())]));
    let app = Router::new().route("/", get(streams)).layer(TraceLayer::new());
    assert!(app.oneshot(request("/")).await.unwrap().into_body().collect().await.is_err());
    let lines = capture.lines();
    let [(severity, message)] = texts(&lines)[..] else { panic!("{lines:?}") };
    assert_eq!(severity, "ERROR");
    assert!(message.starts_with("test - failed: no database"), "{message}");
    assert!(message.ends_with(": connection refused"), "{message}");
}

/// A response with `content-length: 0` is complete, whatever its body does.
#[tokio::test]
async fn a_response_of_length_zero_is_complete() {
    let capture = Capture::new();
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let layer = TraceLayer::new().requests(RequestLog::Single);
    let service = layer.layer(tower::service_fn(async |_: Request<Body>| {
        let response = http::Response::builder().header("content-length", "0").body(Frames(0, false));
        Ok::<_, Infallible>(response.unwrap())
    }));
    drop(service.oneshot(request("/")).await.unwrap());
    assert_eq!(texts(&capture.lines()), [("INFO", "test - GET - http://shop:8080/ - 200 OK")]);
}

/// Without the panic hook, the location of a panic is unknown: the SDK's own would be wrong.
#[tokio::test]
async fn a_panic_without_a_hook_has_no_location() {
    let capture = Capture::new();
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let app = shop(TraceLayer::new());
    assert!(tokio::spawn(app.oneshot(request("/panics"))).await.unwrap_err().is_panic());
    let line = &capture.lines()[0];
    assert!(line.get("sourceLocation").is_none() && line.get("context").is_none(), "{line}");
}

#[tokio::test]
async fn the_query_and_the_formats_can_be_set() {
    for (query, expected) in
        [(Query::Keep, "?token=7"), (Query::Redact, "?token=REDACTED"), (Query::Drop, "")]
    {
        let layer = TraceLayer::new().requests(RequestLog::Single).query(query);
        let lines = lines_of(layer, "/users/7?token=7").await;
        assert_eq!(lines[0]["httpRequest"]["requestUrl"], format!("http://shop:8080/users/7{expected}"));
    }
    let only_w3c =
        Propagator { extract: Formats::of(&[propagation::Format::TraceContext]), ..Propagator::default() };
    let layer = TraceLayer::new().requests(RequestLog::Single).propagator(only_w3c);
    assert_ne!(lines_of(layer, "/users/7").await[0]["trace"], TRACE);
}
