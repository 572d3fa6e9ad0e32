//! The server layer as a middleware of Actix.

use std::time::Duration;

use actix_web::http::header::HeaderMap;
use actix_web::rt::System;
use actix_web::web::{Bytes, Path};
use actix_web::{App, HttpResponse, HttpServer, test, web};
use futures_util::StreamExt as _;
use logtracer_sdk::current_trace;
use logtracer_sdk::server::{Excluded, RequestLog, Routes, TraceLayer};
use logtracer_sdk::testing::Capture;
use serde_json::Value;

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

fn trace() -> String {
    current_trace().map(|trace| format!("{}-{}", trace.trace_id, trace.span_id)).unwrap_or_default()
}

async fn user(id: Path<u32>) -> String {
    actix_web::rt::time::sleep(Duration::from_millis(1)).await;
    tracing::info!(user = id.into_inner(), "looking up");
    trace()
}

/// A body whose chunks are made while it is sent.
async fn streamed() -> HttpResponse {
    let chunks = (0..3).map(|_| async { Ok::<_, std::io::Error>(Bytes::from(trace())) });
    HttpResponse::Ok().streaming(futures_util::stream::iter(chunks).then(|chunk| chunk))
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/users/{id}", web::get().to(user))
        .route("/streamed", web::get().to(streamed))
        .route("/empty", web::get().to(async || HttpResponse::NoContent()))
        .route("/panics", web::get().to(async || -> String { panic!("out of eggs") }))
        .route("/healthz", web::get().to(async || "ok"));
}

fn layer() -> TraceLayer {
    TraceLayer::new()
        .requests(RequestLog::Single)
        .exclude(Routes::new().exact("/healthz"))
        .exclude_from(Excluded::Both)
        .response_header(http::HeaderName::from_static("x-trace-id"))
        .trusted_proxies(1)
}

/// Sends a request, and returns the headers and the body of the response, and the log lines.
fn send(path: &str) -> (HeaderMap, Bytes, Vec<Value>) {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let (headers, body) = System::new().block_on(async {
        let app = test::init_service(App::new().configure(routes).wrap(layer())).await;
        let request = test::TestRequest::get()
            .uri(path)
            .insert_header(("host", "shop"))
            .insert_header(("b3", format!("{TRACE}-00f067aa0ba902b7-1")))
            .insert_header(("x-forwarded-for", "10.1.2.3"));
        let response = test::call_service(&app, request.to_request()).await;
        (response.headers().clone(), test::read_body(response).await)
    });
    assert_eq!(current_trace(), None);
    (headers, body, capture.lines())
}

fn texts(lines: &[Value]) -> Vec<(&str, &str)> {
    lines.iter().map(|line| (line["severity"].as_str().unwrap(), line["message"].as_str().unwrap())).collect()
}

#[test]
fn a_request_has_its_trace_and_its_line() {
    let (headers, body, lines) = send("/users/7?token=secret");
    assert_eq!(headers.get("x-trace-id").unwrap(), TRACE);
    assert_eq!(body, format!("{TRACE}-00f067aa0ba902b7"));
    let request = ("INFO", "test - GET - http://shop/users/7?token=REDACTED - 200 OK");
    assert_eq!(texts(&lines), [("INFO", "test - looking up"), request]);
    assert!(lines.iter().all(|line| line["trace"] == TRACE));
    assert_eq!(lines[1]["labels"]["route"], "/users/{id}");
    assert_eq!(lines[1]["httpRequest"]["responseSize"], body.len().to_string());
    assert_eq!(lines[1]["httpRequest"]["remoteIp"], "10.1.2.3");
}

#[test]
fn every_kind_of_response_is_logged() {
    let (_, body, lines) = send("/streamed");
    assert_eq!(body, format!("{TRACE}-00f067aa0ba902b7").repeat(3));
    assert_eq!(texts(&lines), [("INFO", "test - GET - http://shop/streamed - 200 OK")]);
    assert_eq!(lines[0]["httpRequest"]["responseSize"], body.len().to_string());
    assert_eq!(texts(&send("/empty").2), [("INFO", "test - GET - http://shop/empty - 204 No Content")]);
    assert_eq!(texts(&send("/missing").2), [("WARNING", "test - GET - http://shop/missing - 404 Not Found")]);
    // An extractor that fails.
    assert_eq!(
        texts(&send("/users/ada").2),
        [("WARNING", "test - GET - http://shop/users/ada - 404 Not Found")]
    );
    assert!(send("/healthz").2.is_empty());
}

#[test]
fn a_panic_is_reported_and_goes_on() {
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let caught = std::panic::catch_unwind(|| {
        System::new().block_on(async {
            let app = test::init_service(App::new().configure(routes).wrap(layer())).await;
            let request = test::TestRequest::get().uri("/panics").insert_header(("host", "shop"));
            test::call_service(&app, request.to_request()).await;
        });
    });
    assert!(caught.is_err());
    assert_eq!(current_trace(), None);
    let expected = [
        ("ERROR", "test - panicked: out of eggs"),
        ("ERROR", "test - GET - http://shop/panics - 500 Internal Server Error"),
    ];
    assert_eq!(texts(&capture.lines()), expected);
}

/// Many requests at once on one thread of a real server, each with its own trace.
#[test]
fn concurrent_requests_keep_their_traces() {
    System::new().block_on(async {
        let server = HttpServer::new(|| App::new().configure(routes).wrap(layer())).workers(1);
        let server = server.bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/users/7", server.addrs()[0]);
        let server = server.disable_signals().run();
        let handle = server.handle();
        let serving = actix_web::rt::spawn(server);
        let client = reqwest::Client::new();
        let requests = (1..=100u64).map(|number| {
            let id = format!("{number:016x}");
            let request = client.get(&url).header("b3", format!("{TRACE}-{id}-1"));
            async move {
                let text = request.send().await.unwrap().text().await.unwrap();
                assert_eq!(text, format!("{TRACE}-{id}"));
            }
        });
        futures_util::future::join_all(requests).await;
        handle.stop(false).await;
        serving.await.unwrap().unwrap();
    });
}

/// An error of the service is logged with its text, an error of the caller is not. Without a proxy, the caller's
/// address is that of the connection.
#[test]
fn errors_and_addresses_are_logged() {
    let fails = web::get().to(async || -> Result<String, actix_web::Error> {
        Err(actix_web::error::ErrorInternalServerError("no database"))
    });
    let forbids = web::get().to(async || -> Result<String, actix_web::Error> {
        Err(actix_web::error::ErrorForbidden("not you"))
    });
    let breaks = web::get().to(async || {
        let chunks = [Ok(Bytes::from("x")), Err(std::io::Error::other("disk full"))];
        HttpResponse::Ok().streaming(futures_util::stream::iter(chunks))
    });
    let capture = Capture::with(|logging| logging.level("info").report_errors(tracing::Level::ERROR));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    System::new().block_on(async {
        let app = App::new().route("/fails", fails).route("/forbids", forbids).route("/breaks", breaks);
        let app = test::init_service(app.wrap(layer())).await;
        for path in ["/fails", "/forbids"] {
            let request = test::TestRequest::get()
                .uri(path)
                .insert_header(("host", "shop"))
                .peer_addr("10.9.8.7:5005".parse().unwrap());
            test::call_and_read_body(&app, request.to_request()).await;
        }
        let request = test::TestRequest::get().uri("/breaks").insert_header(("host", "shop"));
        let response = test::call_service(&app, request.to_request()).await;
        assert!(actix_web::body::to_bytes(response.into_body()).await.is_err());
    });
    let lines = capture.lines();
    assert_eq!(
        texts(&lines),
        [
            ("ERROR", "test - failed: no database"),
            ("ERROR", "test - GET - http://shop/fails - 500 Internal Server Error"),
            ("WARNING", "test - GET - http://shop/forbids - 403 Forbidden"),
            ("ERROR", "test - failed: disk full"),
            ("ERROR", "test - GET - http://shop/breaks - 500 Internal Server Error"),
        ]
    );
    let reports: Vec<_> = lines.iter().map(|line| line.get("@type").is_some()).collect();
    assert_eq!(reports, [true, false, false, true, false]);
    assert_eq!(lines[1]["httpRequest"]["remoteIp"], "10.9.8.7");
}

/// An error with a cause, as a service has it.
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

impl actix_web::ResponseError for NoDatabase {}

/// Actix hides the causes of an error, except of types that the layer knows.
#[test]
fn the_causes_of_an_error_are_logged_once() {
    let known = web::get().to(async || Err::<String, _>(NoDatabase(std::io::Error::other("disk gone"))));
    let boxed = web::get().to(async || {
        let error: Box<dyn std::error::Error> = Box::new(NoDatabase(std::io::Error::other("disk gone")));
        Err::<String, _>(error)
    });
    let io = web::get().to(async || Err::<String, _>(std::io::Error::other("disk gone")));
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    System::new().block_on(async {
        let app = App::new().route("/known", known).route("/boxed", boxed).route("/io", io);
        let layer = TraceLayer::new().causes_of_response_error::<NoDatabase>();
        let app = test::init_service(app.wrap(layer)).await;
        for path in ["/known", "/boxed", "/io"] {
            test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await;
        }
    });
    assert_eq!(
        texts(&capture.lines()),
        [
            ("ERROR", "test - failed: no database: disk gone"),
            ("ERROR", "test - failed: no database: disk gone"),
            ("ERROR", "test - failed: disk gone"),
        ]
    );
}

/// A field that the handler adds is in the line. Two layers write one line.
#[test]
fn a_handler_adds_fields() {
    let handler = web::get().to(async || {
        logtracer_sdk::server::record("user", "ada");
        "hello"
    });
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    System::new().block_on(async {
        let app = App::new().route("/", handler).wrap(layer()).wrap(layer());
        let app = test::init_service(app).await;
        let request = test::TestRequest::get().uri("/").insert_header(("host", "shop"));
        test::call_and_read_body(&app, request.to_request()).await;
    });
    let lines = capture.lines();
    assert_eq!(texts(&lines), [("INFO", "test - GET - http://shop/ - 200 OK")]);
    assert_eq!(lines[0]["user"], "ada");
}
