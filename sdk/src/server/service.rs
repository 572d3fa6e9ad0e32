//! [`TraceService`]: headers to scope.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::caller::Caller;
use super::layer::Options;
use super::{Excluded, RequestLog};
use crate::TraceContext;
use crate::current::Scope;
use crate::exchange::{Begun, Parts, Received, RequestSpan, ResponseFuture, Side, Telling, TraceBody};

/// A service whose requests have a trace; made by [`TraceLayer`](super::TraceLayer).
///
/// ```
/// use logtracer_sdk::server::{TraceLayer, TraceService};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let handler = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new("hello".to_owned())));
/// let service: TraceService<_> = TraceLayer::new().layer(handler);
/// assert_eq!(service.oneshot(http::Request::new(())).await.unwrap().status(), 200);
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct TraceService<S> {
    pub(super) inner: S,
    pub(super) options: Arc<Options>,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for TraceService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    S::Error: fmt::Display + 'static,
    ResponseBody: Body,
    ResponseBody::Error: fmt::Display + 'static,
{
    type Response = Response<TraceBody<ResponseBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let parts = Parts {
            method: request.method(),
            uri: original_uri(&request),
            version: request.version(),
            headers: request.headers(),
            route: route(&request),
            peer: peer(&request),
        };
        let outer = request.extensions().get::<TraceContext>().copied();
        let Started { begun, context, received } = self.options.begin(&parts, outer);
        request.extensions_mut().insert(context);
        if let Some(received) = received {
            request.extensions_mut().insert(received);
        }
        let inner = &mut self.inner;
        begun.call(self.options.response_header.clone(), || inner.call(request))
    }
}

/// A request that has begun, and what its extensions get.
pub(super) struct Started {
    pub(super) begun: Begun,
    pub(super) context: TraceContext,
    received: Option<Arc<Received>>,
}

impl Options {
    /// Finds or makes the trace of a request, which a layer further out may know already, and begins to look at it.
    pub(super) fn begin(&self, parts: &Parts<'_>, outer: Option<TraceContext>) -> Started {
        let is_excluded = self.exclude.matches(parts.uri.path().as_bytes());
        let requests = match self.excluded {
            Excluded::Logs | Excluded::Both if is_excluded => RequestLog::Off,
            _ => self.telling.requests,
        };
        let wants_span = !(is_excluded && matches!(self.excluded, Excluded::Spans | Excluded::Both));

        let caller = Caller::read(&self.propagator, parts.headers);
        let (context, span) = match outer {
            // The request is that layer's, and so is its span.
            Some(outer) => (outer, None),
            None => {
                let names_a_span = caller.names_a_span();
                RequestSpan::start(Side::Server.kind(), caller.context(), wants_span, names_a_span)
            }
        };
        let scope = Scope::new(context, caller.carried(context.trace_id));
        let telling = Telling { requests, ..self.telling };
        let received = (self.reads_messages && requests != RequestLog::Off && telling.is_grpc(parts.headers))
            .then(|| Arc::new(Received::new(requests, scope.clone(), parts.uri.path())));
        let begun = Begun::new(telling, Some(scope), span, received.clone(), parts);
        Started { begun, context, received }
    }
}

/// The route that axum has matched: `/users/{id}`.
#[cfg(feature = "axum")]
fn route<B>(request: &Request<B>) -> &str {
    request.extensions().get::<axum::extract::MatchedPath>().map(|path| path.as_str()).unwrap_or_default()
}

#[cfg(not(feature = "axum"))]
fn route<B>(_request: &Request<B>) -> &str {
    ""
}

/// The other end of the connection, where axum has been told it.
fn peer<B>(request: &Request<B>) -> Option<IpAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(peer)) = request.extensions().get() {
        let peer: &std::net::SocketAddr = peer;
        return Some(peer.ip());
    }
    let _ = request;
    None
}

/// The URI before a nested router has shortened it.
fn original_uri<B>(request: &Request<B>) -> &http::Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = request.extensions().get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    request.uri()
}
