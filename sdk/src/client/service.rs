//! [`TraceService`]: the start of a call, from the current trace to its headers.

use http::{HeaderMap, Method, Request, Uri, Version};

use super::{TraceLayer, inject_with};
use crate::current::Scope;
use crate::request::{Parts, Pending, Record, RequestSpan, StartRequest};

/// A client whose requests carry the trace; made by [`TraceLayer`].
///
/// ```
/// use logtracer_sdk::client::{TraceLayer, TraceService};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let stock = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
/// let client: TraceService<_> = TraceLayer::new().layer(stock);
/// assert_eq!(client.oneshot(http::Request::new(())).await.unwrap().status(), 200);
/// # });
/// ```
pub type TraceService<S> = crate::request::TraceService<S, TraceLayer>;

impl StartRequest for TraceLayer {
    fn start<B>(&self, request: &mut Request<B>) -> Pending {
        let (method, uri, version) = (request.method().clone(), request.uri().clone(), request.version());
        self.start_call(&method, &uri, version, request.headers_mut())
    }
}

impl TraceLayer {
    /// Starts a call: injects the trace into its headers and logs its first line.
    pub(super) fn start_call(
        &self,
        method: &Method,
        uri: &Uri,
        version: Version,
        headers: &mut HeaderMap,
    ) -> Pending {
        let (scope, span) = match Scope::current() {
            Some(scope) => {
                let (context, span) = RequestSpan::start(self.log.side.kind(), scope.context(), true, true);
                (Some(Scope::of(context)), span)
            }
            None => (None, None),
        };
        if let Some(scope) = scope.clone() {
            scope.run(|| inject_with(&self.propagator, headers));
        }
        let parts = Parts { method, uri, version, headers, route: "", peer: None };
        let record = Record::start(self.log, scope.as_ref(), span, None, &parts);
        Pending::new(self.log.side, scope, record, None)
    }
}
