//! The allocations of a log line, none when the buffers are warm, and the most that the layers add to a request.

use std::convert::Infallible;
use std::future::{Future as _, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use logtracer_allocations::measure;
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::RequestLog;
use logtracer_sdk::{Format, Logging, TraceContext, client, current_trace, server};
use tower::{Layer as _, Service};
use tracing_subscriber::prelude::*;

#[track_caller]
fn check(what: &str, work: impl FnMut()) {
    assert_eq!(measure(work).allocations, 0.0, "{what}");
}

#[test]
fn a_line_allocates_nothing() {
    for format in [Format::Stackdriver, Format::Local] {
        check_lines(format);
    }
}

fn check_lines(format: Format) {
    let logging = Logging::new("my-project", "shop").format(format).level("info").ignore_environment();
    let logging = logging.output(|line| {
        black_box(line);
    });
    let subscriber = tracing_subscriber::registry().with(logging.layer().unwrap());
    tracing::subscriber::with_default(subscriber, || {
        TraceContext::new_root().run(|| {
            let path = String::from("/basket/17");
            let event = || tracing::info!(user_id = 17, path = %path, cached = true, "request handled");
            check("a line without a span", event);
            let span = tracing::info_span!(
                "request",
                method = "GET",
                route = "/basket/{id}",
                status = 200,
                bytes = 7
            );
            span.in_scope(|| check("a line in a span with four fields", event));
            check("entering a span", || span.in_scope(|| {}));
            let labelled = tracing::info_span!("job", labels.team = "data");
            labelled.in_scope(|| {
                check("a line with labels", || tracing::info!(labels.step = 3, "step done"));
            });
            check("a line with an `httpRequest`", || {
                tracing::info!(
                    http_request.request_method = "GET",
                    http_request.request_url = path,
                    http_request.status = 200,
                    http_request.response_size = 5,
                    http_request.latency = 0.25,
                    "fetched",
                );
            });
            check("a line with `logtracer.severity`", || {
                tracing::info!(logtracer.severity = "NOTICE", error = %std::fmt::Error, "noted");
            });
        });
        check("a disabled line", || tracing::debug!(user_id = 17, "not written"));
    });
}

/// A record without key-values. Key-values are copied.
#[test]
fn a_record_of_log_allocates_nothing() {
    let logging = Logging::new("my-project", "shop").level("info").ignore_environment().output(|line| {
        black_box(line);
    });
    let _handle = logging.install().unwrap();
    TraceContext::new_root().run(|| {
        check("a record of `log`", || log::info!("{} rows", 42));
        check("a disabled record", || log::debug!("{} rows", 42));
        assert!(
            measure(|| log::info!(rows = 42; "counted")).allocations > 0.0,
            "update the documents: key-values are not copied"
        );
    });
}

#[test]
fn the_current_trace_allocates_nothing() {
    TraceContext::new_root().run(|| {
        check("current_trace()", || {
            black_box(current_trace());
        });
    });
}

/// The maximum number of allocations that a layer may add. Most of them are the values of headers, which `http`
/// allocates, and the contexts of OpenTelemetry with the feature `opentelemetry`, which all tests have.
#[test]
fn the_layers_add_few_allocations() {
    let bare = measure(|| exchange(&mut Respond)).allocations;
    let check_at_most = |most: f64, what: &str, work: &mut dyn FnMut()| {
        let added = measure(work).allocations - bare;
        assert!(added <= most, "{what} adds {added} allocations");
    };
    let logging = Logging::new("my-project", "shop").level("info").ignore_environment().output(|line| {
        black_box(line);
    });
    let subscriber = tracing_subscriber::registry().with(logging.layer().unwrap());
    tracing::subscriber::with_default(subscriber, || {
        let mut server = server::TraceLayer::new().layer(Respond);
        check_at_most(6.0, "a server", &mut || exchange(&mut server));
        let mut server = server::TraceLayer::new().requests(RequestLog::Single).layer(Respond);
        check_at_most(9.0, "a server with request lines", &mut || exchange(&mut server));
        TraceContext::new_root().run(|| {
            let mut client = client::TraceLayer::new().layer(Respond);
            check_at_most(8.0, "a client", &mut || exchange(&mut client));
            let mut client = client::TraceLayer::new().requests(RequestLog::Single).layer(Respond);
            // Three of them are the extension for the layers within, in a request without other extensions.
            check_at_most(13.0, "a client with lines", &mut || exchange(&mut client));
        });
    });
}

#[derive(Clone)]
struct Respond;

impl Service<Request<()>> for Respond {
    type Response = Response<Full<&'static [u8]>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Full::new(b"hello"))))
    }
}

/// Sends one request with a trace, and reads its response to the end.
fn exchange<S, B>(service: &mut S)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body,
{
    let request = Request::get("http://shop:8080/basket/17")
        .header("user-agent", "curl/8.5.0")
        .header("x-request-id", "e6aee9a1")
        .header("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01");
    let mut cx = Context::from_waker(Waker::noop());
    let mut response = pin!(service.call(request.body(()).unwrap()));
    let Poll::Ready(Ok(response)) = response.as_mut().poll(&mut cx) else { panic!("no response") };
    let mut body = pin!(response.into_body().collect());
    assert!(body.as_mut().poll(&mut cx).is_ready());
}
