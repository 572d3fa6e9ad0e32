//! [`ServerTraceLayer`] as a middleware of Actix.
//!
//! Actix has its own types of requests, bodies and services, and an older version of `http`. This module converts
//! them; the rest is shared with all other servers.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::header as actix_header;
use actix_web::{Error, HttpMessage, web};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use pin_project_lite::pin_project;

use super::service::{Outer, Started};
use super::{ResponseFuture, ServerTraceLayer, TraceBody, TraceService};
use crate::request::{Parts, Pending, Record, RequestHeaders, StartRequest};

impl<S, B> Transform<S, ServiceRequest> for ServerTraceLayer
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Response = ServiceResponse<TraceBody<B>>;
    type Error = Error;
    type Transform = TraceService<S>;
    type InitError = ();
    type Future = Ready<Result<TraceService<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(TraceService { inner, layer: self.clone() }))
    }
}

impl<S, B> Service<ServiceRequest> for TraceService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Response = ServiceResponse<TraceBody<B>>;
    type Error = Error;
    type Future = ActixResponse<S::Future>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(|error| {
            self.layer.log_not_ready(&error);
            error
        })
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let method = Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default();
        let uri = request.uri().to_string().parse::<Uri>().unwrap_or_default();
        let headers: HeaderMap = request.headers().iter().filter_map(from_actix).collect();
        let (known, trace) = RequestHeaders::with_trace(&headers);
        let parts = Parts {
            method: &method,
            uri: &uri,
            version: Some(version(request.version())),
            headers: &headers,
            known: &known,
            route: &request.match_pattern().unwrap_or_default(),
            caller_ip: request.peer_addr().map(|peer| peer.ip()),
            server_uri: None,
        };
        let outer = {
            let extensions = request.extensions();
            Outer { context: extensions.get().copied(), recorded: extensions.get().cloned() }
        };
        let Started { pending, context, recorded } = self.layer.options.start(&parts, &trace, outer);
        {
            let mut extensions = request.extensions_mut();
            extensions.insert(context);
            if let Some(recorded) = recorded {
                extensions.insert(recorded);
            }
        }
        ActixResponse { inner: pending.call(|| self.inner.call(request)) }
    }
}

pin_project! {
    /// The response future of an Actix service within [`TraceLayer`](super::TraceLayer).
    ///
    /// ```
    /// use actix_web::{App, test, web};
    /// use logtracer_sdk::current_trace;
    /// use logtracer_sdk::server::TraceLayer;
    ///
    /// actix_web::rt::System::new().block_on(async {
    ///     let handler = async || current_trace().map(|trace| trace.trace_id.to_string()).unwrap_or_default();
    ///     let app = App::new().route("/", web::get().to(handler)).wrap(TraceLayer::new());
    ///     let app = test::init_service(app).await;
    ///     let response = test::call_service(&app, test::TestRequest::get().uri("/").to_request()).await;
    ///     assert_eq!(test::read_body(response).await.len(), 32);
    /// });
    /// ```
    #[derive(Debug)]
    pub struct ActixResponse<F> {
        #[pin]
        inner: ResponseFuture<F>,
    }
}

impl<F, B> Future for ActixResponse<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
    B: MessageBody,
{
    type Output = Result<ServiceResponse<TraceBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (output, mut pending) = ready!(self.project().inner.poll_output(cx));
        Poll::Ready(match output {
            Ok(mut response) => {
                if let Some((name, value)) = pending.trace_header().as_ref().and_then(to_actix) {
                    response.headers_mut().insert(name, value);
                }
                // Actix has turned the error of a handler into a response.
                if let Some(error) = response.response().error() {
                    log_server_error(&mut pending, error);
                }
                let size = response.response().body().size();
                let has_body = !matches!(size, BodySize::None | BodySize::Sized(0));
                pending.record_head(status(response.status()), &content_length(size), has_body);
                Ok(response.map_body(|_, body| pending.wrap_body(body)))
            }
            // Actix makes the response in an outer service.
            Err(error) => {
                log_server_error(&mut pending, &error);
                pending.record_head(
                    status(error.as_response_error().status_code()),
                    &HeaderMap::new(),
                    false,
                );
                Err(error)
            }
        })
    }
}

/// Logs an error unless the caller caused it.
fn log_server_error(pending: &mut Pending, error: &Error) {
    if error.as_response_error().status_code().is_server_error() {
        pending.log_error(error);
    }
}

fn content_length(size: BodySize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let BodySize::Sized(bytes) = size {
        headers.insert(header::CONTENT_LENGTH, bytes.into());
    }
    headers
}

impl<B: MessageBody> MessageBody for TraceBody<B> {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.inner().map_or(BodySize::None, MessageBody::size)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<web::Bytes, Self::Error>>> {
        self.poll_chunk(
            |body| body.poll_next(cx).map_err(Into::into),
            |record: &mut Record, chunk: &web::Bytes| record.add_data(chunk.len()),
            |_| false,
        )
    }
}

// === conversions between Actix's `http` and ours ===

fn from_actix(
    (name, value): (&actix_header::HeaderName, &actix_header::HeaderValue),
) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
    Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
}

fn version(version: actix_web::http::Version) -> Version {
    use actix_web::http::Version as ActixVersion;
    match version {
        ActixVersion::HTTP_09 => Version::HTTP_09,
        ActixVersion::HTTP_10 => Version::HTTP_10,
        ActixVersion::HTTP_2 => Version::HTTP_2,
        ActixVersion::HTTP_3 => Version::HTTP_3,
        _ => Version::HTTP_11,
    }
}

fn status(status: actix_web::http::StatusCode) -> StatusCode {
    StatusCode::from_u16(status.as_u16()).unwrap_or_default()
}

fn to_actix(
    (name, value): &(HeaderName, HeaderValue),
) -> Option<(actix_header::HeaderName, actix_header::HeaderValue)> {
    let name = actix_header::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
    Some((name, actix_header::HeaderValue::from_bytes(value.as_bytes()).ok()?))
}
