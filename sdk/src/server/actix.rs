//! Actix: [`TraceLayer`] is a middleware of its own kind, too.
//!
//! Actix has its own requests, bodies and services, and an older `http`. What is different stands here; what a trace
//! is and what is told of a request is the same as for all other servers.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::header as actix_header;
use actix_web::{Error, HttpMessage, web};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use pin_project_lite::pin_project;

use super::service::Started;
use super::{ResponseFuture, TraceBody, TraceLayer, TraceService};
use crate::TraceContext;
use crate::errors::Failure;
use crate::exchange::{Answered, Parts, Rest, lines};

impl<S, B> Transform<S, ServiceRequest> for TraceLayer
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
        ready(Ok(TraceService { inner, options: Arc::clone(&self.options) }))
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
        self.inner.poll_ready(cx)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let method = Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default();
        let uri = request.uri().to_string().parse::<Uri>().unwrap_or_default();
        let headers: HeaderMap = request.headers().iter().filter_map(newer).collect();
        let parts = Parts {
            method: &method,
            uri: &uri,
            version: version(request.version()),
            headers: &headers,
            route: &request.match_pattern().unwrap_or_default(),
            peer: request.peer_addr().map(|peer| peer.ip()),
        };
        let outer = request.extensions().get::<TraceContext>().copied();
        let Started { begun, context, .. } = self.options.begin(&parts, outer);
        request.extensions_mut().insert(context);
        let response_header = self.options.response_header.clone();
        ActixResponse { inner: begun.call(response_header, || self.inner.call(request)) }
    }
}

pin_project! {
    /// The response of a service of Actix within [`TraceLayer`].
    ///
    /// ```
    /// use actix_web::{App, test, web};
    /// use logtracer_sdk::current_trace;
    /// use logtracer_sdk::server::TraceLayer;
    ///
    /// actix_web::rt::System::new().block_on(async {
    ///     let answer = async || current_trace().map(|trace| trace.trace_id.to_string()).unwrap_or_default();
    ///     let app = App::new().route("/", web::get().to(answer)).wrap(TraceLayer::new());
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
        let Answered { answer, mut rest } = ready!(self.project().inner.poll_answer(cx));
        Poll::Ready(match answer {
            Ok(mut response) => {
                if let Some((name, value)) = rest.header().as_ref().and_then(older) {
                    response.headers_mut().insert(name, value);
                }
                // Of an error in a handler Actix has made the response.
                if let Some(error) = response.response().error() {
                    tell(&rest, error);
                }
                let size = response.response().body().size();
                let has_body = !matches!(size, BodySize::None | BodySize::Sized(0));
                rest.see(status(response.status()), &length(size), has_body);
                Ok(response.map_body(|_, body| rest.body(body)))
            }
            // Actix makes a response of it further out.
            Err(error) => {
                tell(&rest, &error);
                rest.see(status(error.as_response_error().status_code()), &HeaderMap::new(), false);
                Err(error)
            }
        })
    }
}

/// Tells of an error, unless it is the caller's fault.
fn tell(rest: &Rest, error: &Error) {
    if error.as_response_error().status_code().is_server_error() {
        rest.tell_failure(Failure(error));
    }
}

fn length(size: BodySize) -> HeaderMap {
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
        self.poll_piece(
            |body| body.poll_next(cx).map_err(Into::into),
            |seen, piece| seen.data(piece.len()),
            |_| false,
            |error: &Self::Error| lines::failed(Failure(error)),
        )
    }
}

// === the older `http` and the newer ===

fn newer(
    (name, value): (&actix_header::HeaderName, &actix_header::HeaderValue),
) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
    Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
}

fn version(version: actix_web::http::Version) -> Version {
    use actix_web::http::Version as Older;
    match version {
        Older::HTTP_09 => Version::HTTP_09,
        Older::HTTP_10 => Version::HTTP_10,
        Older::HTTP_2 => Version::HTTP_2,
        Older::HTTP_3 => Version::HTTP_3,
        _ => Version::HTTP_11,
    }
}

fn status(status: actix_web::http::StatusCode) -> StatusCode {
    StatusCode::from_u16(status.as_u16()).unwrap_or_default()
}

fn older(
    (name, value): &(HeaderName, HeaderValue),
) -> Option<(actix_header::HeaderName, actix_header::HeaderValue)> {
    let name = actix_header::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
    Some((name, actix_header::HeaderValue::from_bytes(value.as_bytes()).ok()?))
}
