//! [`TraceService`]: the start of a request on a server, from its headers to its trace.

use std::net::IpAddr;
use std::sync::Arc;

use http::Request;
use logtracer_core::propagation::TraceHeaders;

use super::extract::Extracted;
use super::layer::Options;
use super::{Excluded, RequestLog, ServerTraceLayer};
use crate::TraceContext;
use crate::current::Scope;
use crate::request::{
    LogOptions, Parts, Pending, Record, RequestFields, RequestHeaders, RequestMessage, RequestSpan,
    ServiceError, Side, StartRequest,
};

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
pub type TraceService<S> = crate::request::TraceService<S, ServerTraceLayer>;

impl StartRequest for ServerTraceLayer {
    fn start<B>(&self, request: &mut Request<B>) -> Pending {
        let (known, trace) = RequestHeaders::with_trace(request.headers());
        let parts = Parts {
            method: request.method(),
            uri: original_uri(request),
            version: Some(request.version()),
            headers: request.headers(),
            known: &known,
            route: route(request),
            caller_ip: caller_ip(request),
            server_uri: None,
        };
        let outer = Outer {
            context: request.extensions().get().copied(),
            recorded: request.extensions().get().cloned(),
        };
        let Started { pending, context, recorded } = self.options.start(&parts, &trace, outer);
        let extensions = request.extensions_mut();
        // A handler may send the same request on.
        #[cfg(feature = "client")]
        extensions.remove::<crate::client::OuterCall>();
        extensions.insert(context);
        if let Some(recorded) = recorded {
            extensions.insert(recorded);
        }
        if let Some(message) = pending.message() {
            extensions.insert(message);
        }
        pending
    }

    fn log_not_ready<E: ServiceError>(&self, error: &E) {
        self.options.ready.log(Side::Server, error, &self.options.known_errors);
    }
}

/// What an outer layer has added to the extensions of a request.
pub(super) struct Outer {
    pub(super) context: Option<TraceContext>,
    pub(super) recorded: Option<OuterRequest>,
}

/// A request that an outer layer logs or records as a span.
#[derive(Debug, Clone)]
pub(super) struct OuterRequest {
    scope: Scope,
    /// True if the outer layer writes the lines. An inner layer leaves the request to it.
    has_lines: bool,
}

/// A request that has started, and what inner layers need to know of it.
pub(super) struct Started {
    pub(super) pending: Pending,
    pub(super) context: TraceContext,
    /// Present if this layer logs or records the request.
    pub(super) recorded: Option<OuterRequest>,
}

impl Options {
    /// Starts a request in the trace of an outer layer, in the trace in its headers, or in a new one.
    pub(super) fn start(&self, parts: &Parts<'_>, trace: &TraceHeaders<'_>, mut outer: Outer) -> Started {
        // A layer of OpenTelemetry may be between the outer layer and this one.
        outer.recorded =
            outer.recorded.map(|outer| OuterRequest { scope: outer.scope.at_foreign_span(), ..outer });
        if let Some(OuterRequest { scope, .. }) = &outer.recorded {
            let carried = scope.carried().filter(|_| !parts.route.is_empty());
            if let Some(fields) = carried.as_ref().and_then(|carried| carried.fields.as_ref()) {
                fields.set_route(parts.route.to_owned().into());
            }
        }
        let outer_scope = match outer.recorded {
            Some(OuterRequest { scope, has_lines: true }) => {
                let context = scope.context();
                return Started { pending: self.pending(scope, None), context, recorded: None };
            }
            recorded => recorded.map(|recorded| recorded.scope),
        };
        let is_excluded = self.exclude.matches(parts.uri.path().as_bytes());
        let requests = match self.excluded {
            Excluded::Logs | Excluded::Both if is_excluded => RequestLog::Off,
            _ => self.log.requests,
        };
        let wants_span = !(is_excluded && matches!(self.excluded, Excluded::Spans | Excluded::Both));

        let extracted = Extracted::new(self, parts.headers, parts.known, trace);
        let (context, span) = match extracted.span_of_outer_layer(outer.context) {
            // The outer layer has the span of this request.
            Some(outer) => (outer, None),
            None => {
                let has_span = extracted.has_span();
                RequestSpan::start(Side::Server.kind(), extracted.join_or_start(), wants_span, has_span)
            }
        };
        // A layer that excludes a request from its lines excludes it from those of the layers within, too.
        let has_lines = self.log.requests != RequestLog::Off;
        let is_recorded = has_lines || span.is_some();
        let scope = outer_scope.unwrap_or_else(|| {
            let fields = is_recorded.then(RequestFields::default);
            Scope::new(context, extracted.into_carried(context.trace_id, fields))
        });
        let recorded = is_recorded.then(|| OuterRequest { scope: scope.clone(), has_lines });
        let log = LogOptions { requests, ..self.log };
        let message = (self.reads_messages && requests != RequestLog::Off && log.is_grpc(parts.known))
            .then(|| Arc::new(RequestMessage::new(requests, scope.clone(), parts.uri.path())));
        let record = Record::start(log, Some(&scope), span, message, parts);
        Started { pending: self.pending(scope, record), context, recorded }
    }

    fn pending(&self, scope: Scope, record: Option<Box<Record>>) -> Pending {
        let response_header = self.response_header.clone();
        Pending::new(Side::Server, Some(scope), record, response_header, self.known_errors.clone())
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

/// Returns the address of the caller, if axum (`into_make_service_with_connect_info`) or tonic has it.
fn caller_ip<B>(request: &Request<B>) -> Option<IpAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(peer)) = request.extensions().get() {
        let peer: &std::net::SocketAddr = peer;
        return Some(peer.ip());
    }
    #[cfg(feature = "tonic")]
    if let Some(info) = request.extensions().get::<tonic::transport::server::TcpConnectInfo>() {
        return info.remote_addr().map(|peer| peer.ip());
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
