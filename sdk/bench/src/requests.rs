//! The cost that the server layer adds to a request.

use std::convert::Infallible;
use std::future::{Future as _, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Waker};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use logtracer_allocations::{Cost, measure};
use logtracer_sdk::Logging;
use logtracer_sdk::server::{RequestLog, TraceLayer};
use tower::{Layer, Service};
use tracing_subscriber::prelude::*;

use crate::report;

type Body = Full<&'static [u8]>;

#[derive(Clone)]
struct Respond;

impl Service<Request<()>> for Respond {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<()>) -> Self::Future {
        ready(Ok(Response::new(Full::new(b"hello"))))
    }
}

/// Serves one request with the headers of a sidecar, to the end of its response.
fn serve<S, B>(service: &mut S)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body,
{
    let request = Request::get("http://shop:8080/basket/17")
        .header("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124")
        .header("x-b3-spanid", "00f067aa0ba902b7")
        .header("x-b3-sampled", "1")
        .header("x-request-id", "e6aee9a1")
        .body(());
    let Ok(request) = request else { return };
    let mut cx = Context::from_waker(Waker::noop());
    let mut response = pin!(service.call(request));
    if let std::task::Poll::Ready(Ok(response)) = response.as_mut().poll(&mut cx) {
        let mut body = pin!(response.into_body().collect());
        let _ = black_box(body.as_mut().poll(&mut cx).is_ready());
    }
}

pub(crate) fn run() {
    let plain = measure(|| serve(&mut Respond));
    report("a tower service, with its request and response", plain);
    let adds = |what: &str, cost: Cost| {
        let allocations = cost.allocations - plain.allocations;
        report(what, Cost { allocations, nanos: cost.nanos - plain.nanos });
    };
    let mut traced = TraceLayer::new().layer(Respond);
    adds("server::TraceLayer adds to it", measure(|| serve(&mut traced)));
    let logging = Logging::new("my-project", "shop").level("info").ignore_environment().output(|line| {
        black_box(line);
    });
    if let Ok(layer) = logging.layer() {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let mut logged = TraceLayer::new().requests(RequestLog::Single).layer(Respond);
            adds("server::TraceLayer with a line for the request adds", measure(|| serve(&mut logged)));
        });
    }
}
