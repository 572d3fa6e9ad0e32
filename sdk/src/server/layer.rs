//! [`TraceLayer`]: the configuration.

use logtracer_core::propagation::Propagator;
use tower_layer::Layer;

use super::TraceService;

/// Gives every request its trace: a layer for axum, hyper, tonic and every other tower server.
///
/// The caller's context is read from whatever dialect it speaks (B3, Google's `X-Cloud-Trace-Context`, W3C
/// `traceparent`, `grpc-trace-bin`).
/// The service *joins* the span that the headers name: the sidecar in front of the service has recorded it, and
/// the logs of the service belong to it.
/// A trace without a span gets one, and a request without a trace begins one.
///
/// The [`TraceContext`](crate::TraceContext) of the request is then
/// * [`current_trace()`](crate::current_trace) wherever the handler runs, and while the response body is polled,
/// * among the extensions of the request.
///
/// No other layer has to stand in a certain order to it, but only what is inside of it sees the trace.
///
/// ```
/// use axum::{Router, routing::get};
/// use logtracer_sdk::{current_trace, server::TraceLayer};
///
/// let app: Router = Router::new()
///     .route("/", get(async || format!("{:?}", current_trace())))
///     .layer(TraceLayer::new());
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceLayer {
    propagator: Propagator,
}

impl TraceLayer {
    /// A layer that reads all dialects, B3 first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the formats that this propagator extracts, in its order.
    #[must_use]
    pub fn propagator(self, propagator: Propagator) -> Self {
        Self { propagator }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = TraceService<S>;

    fn layer(&self, inner: S) -> TraceService<S> {
        TraceService { inner, propagator: self.propagator }
    }
}
