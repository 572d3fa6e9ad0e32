//! A panic is logged once, also with tower-http's `CatchPanicLayer`.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use http_body_util::BodyExt;
use logtracer_sdk::server::{RequestLog, TraceLayer};
use logtracer_sdk::testing::Capture;
use serde_json::Value;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

fn panicking() -> Router {
    Router::new()
        .route("/", get(async || -> &'static str { panic!("out of {}", "eggs") }))
        .route("/any", get(async || -> &'static str { std::panic::panic_any(7) }))
}

fn texts(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["message"].as_str().unwrap()).collect()
}

async fn send(app: Router, target: &str) -> u16 {
    let request = Request::get(target).header("host", "shop").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    response.into_body().collect().await.unwrap();
    status
}

#[tokio::test]
async fn a_caught_panic_is_logged_once() {
    let layer = || TraceLayer::new().requests(RequestLog::Single);
    let capture = Capture::with(|logging| logging.level("info"));
    let _default = tracing::dispatcher::set_default(&capture.dispatch());
    let outside = || panicking().layer(layer()).layer(CatchPanicLayer::new());
    let inside = || panicking().layer(CatchPanicLayer::new()).layer(layer());
    // In any order, so that no line takes another one's place.
    for app in [outside(), inside(), inside(), outside()] {
        assert_eq!(send(app, "/").await, 500);
    }
    assert_eq!(send(outside(), "/any").await, 500);
    let request = "test - GET - http://shop/ - 500 Internal Server Error";
    let outside = ["test - panicked: out of eggs", request];
    let inside = ["test - Service panicked: out of eggs", request];
    let any = ["test - panicked: (no text)", "test - GET - http://shop/any - 500 Internal Server Error"];
    assert_eq!(texts(&capture.lines()), [outside, inside, inside, outside, any].concat());
    assert!(capture.lines().iter().all(|line| line["severity"] == "ERROR" && line.get("trace").is_some()));
}
