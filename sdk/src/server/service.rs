//! [`TraceService`]: the start of a request on a server, from its headers to its trace.

use std::net::IpAddr;
use std::sync::Arc;

use http::Request;

use super::extract::Extracted;
use super::layer::Options;
use super::{Excluded, RequestLog, TraceLayer};
use crate::TraceContext;
use crate::current::Scope;
use crate::request::{LogOptions, Parts, Pending, Record, RequestMessage, RequestSpan, Side, StartRequest};

/// A service whose requests have a trace; made by [`TraceLayer`].
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
pub type TraceService<S> = crate::request::TraceService<S, TraceLayer>;

impl StartRequest for TraceLayer {
    fn start<B>(&self, request: &mut Request<B>) -> Pending {
        let parts = Parts {
            method: request.method(),
            uri: original_uri(request),
            version: request.version(),
            headers: request.headers(),
            route: route(request),
            peer: peer(request),
        };
        let outer = request.extensions().get::<TraceContext>().copied();
        let (pending, context) = self.options.start(&parts, outer);
        request.extensions_mut().insert(context);
        if let Some(message) = pending.message() {
            request.extensions_mut().insert(message);
        }
        pending
    }
}

impl Options {
    /// Starts a request in the trace of an outer layer, in the trace in its headers, or in a new one.
    pub(super) fn start(&self, parts: &Parts<'_>, outer: Option<TraceContext>) -> (Pending, TraceContext) {
        let is_excluded = self.exclude.matches(parts.uri.path().as_bytes());
        let requests = match self.excluded {
            Excluded::Logs | Excluded::Both if is_excluded => RequestLog::Off,
            _ => self.log.requests,
        };
        let wants_span = !(is_excluded && matches!(self.excluded, Excluded::Spans | Excluded::Both));

        let extracted = Extracted::from_headers(&self.propagator, parts.headers);
        let (context, span) = match extracted.span_of_outer_layer(outer) {
            // The outer layer has the span of this request.
            Some(outer) => (outer, None),
            None => {
                let has_span = extracted.has_span();
                RequestSpan::start(Side::Server.kind(), extracted.join_or_start(), wants_span, has_span)
            }
        };
        let scope = Scope::new(context, extracted.into_carried(context.trace_id));
        let log = LogOptions { requests, ..self.log };
        let message = (self.reads_messages && requests != RequestLog::Off && log.is_grpc(parts.headers))
            .then(|| Arc::new(RequestMessage::new(requests, scope.clone(), parts.uri.path())));
        let record = Record::start(log, Some(&scope), span, message, parts);
        (Pending::new(Side::Server, Some(scope), record, self.response_header.clone()), context)
    }
}

/// Returns the route that axum matched, such as `/users/{id}`.
#[cfg(feature = "axum")]
fn route<B>(request: &Request<B>) -> &str {
    request.extensions().get::<axum::extract::MatchedPath>().map(|path| path.as_str()).unwrap_or_default()
}

#[cfg(not(feature = "axum"))]
fn route<B>(_request: &Request<B>) -> &str {
    ""
}

/// Returns the address of the caller, if axum has it (`into_make_service_with_connect_info`).
fn peer<B>(request: &Request<B>) -> Option<IpAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(peer)) = request.extensions().get() {
        let peer: &std::net::SocketAddr = peer;
        return Some(peer.ip());
    }
    let _ = request;
    None
}

/// Returns the URI as it was before a nested router shortened it.
fn original_uri<B>(request: &Request<B>) -> &http::Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = request.extensions().get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    request.uri()
}
