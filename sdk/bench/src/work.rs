//! The work that is the same for all crates: the events, and a service with a request and a response.

use std::convert::Infallible;
use std::future::{Future as _, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tower::Service;

use crate::case::Case;
use crate::measure::Meter;

/// Headers that every request has, with a trace in `traceparent`.
const REQUEST_HEADERS: [(&str, &str); 4] = [
    ("host", "shop:8080"),
    ("user-agent", "curl/8.5.0"),
    ("x-request-id", "e6aee9a1"),
    ("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01"),
];

/// A line in a span, with the same fields for all crates.
pub(crate) fn lines(meter: &mut Meter) {
    let path = String::from("/basket/17");
    let event = || tracing::info!(user_id = 17, path = %path, cached = true, "request handled");
    meter.run(Case::Line, event);
    let span =
        tracing::info_span!("request", method = "GET", route = "/basket/{id}", status = 200, bytes = 7);
    span.in_scope(|| meter.run(Case::LineInSpan, event));
    meter.run(Case::DisabledLine, || tracing::debug!(user_id = 17, "not written"));
}

/// Measures a service without layers, and then with those of a server.
pub(crate) fn serve<S, B>(meter: &mut Meter, mut server: S)
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body,
{
    meter.run(Case::BareService, || exchange(&mut Respond, REQUEST_HEADERS));
    meter.run(Case::Request, || exchange(&mut server, REQUEST_HEADERS));
}

/// Measures a client that calls the same service.
pub(crate) fn call<S, B>(meter: &mut Meter, mut client: S)
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body,
{
    meter.run(Case::Call, || exchange(&mut client, CALL_HEADERS));
}

/// A call has as many headers, so that the same base can be subtracted from it.
const CALL_HEADERS: [(&str, &str); 4] = [
    ("host", "stock:8080"),
    ("user-agent", "shop/1.2.3"),
    ("accept", "application/json"),
    ("if-none-match", "\"33a64df551425fcc55e4d42a148795d9\""),
];

/// The headers of a request with the same trace in two formats; a propagator reads one of them.
pub(crate) fn incoming() -> HeaderMap {
    let b3 = [
        ("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"),
        ("x-b3-spanid", "00f067aa0ba902b7"),
        ("x-b3-sampled", "1"),
    ];
    let all = REQUEST_HEADERS.into_iter().chain(b3);
    all.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// The body of every request.
pub(crate) type RequestBody = Empty<&'static [u8]>;

/// The body of every response.
pub(crate) type ResponseBody = Full<&'static [u8]>;

/// The service within the layers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Respond;

impl Service<Request<RequestBody>> for Respond {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Full::new(b"hello"))))
    }
}

/// Sends one request, and reads its response to the end.
fn exchange<S, B>(service: &mut S, headers: [(&'static str, &'static str); 4])
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body,
{
    let request = Request::get("http://shop:8080/basket/17");
    let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let Ok(request) = request.body(Empty::new()) else { return };
    let mut cx = Context::from_waker(Waker::noop());
    let mut response = pin!(service.call(request));
    if let Poll::Ready(Ok(response)) = response.as_mut().poll(&mut cx) {
        let mut body = pin!(response.into_body().collect());
        let _ = black_box(body.as_mut().poll(&mut cx).is_ready());
    }
}
