//! [`TraceService`]: a tower service that gives each request its trace, for servers and clients.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{Pending, ResponseBody, ResponseFuture, ServiceError, TraceBody};

/// The layer of a server or a client.
pub(crate) trait StartRequest {
    /// Finds the trace of a request, logs its first line and begins its record.
    fn start<B>(&self, request: &mut Request<B>) -> Pending;

    /// Logs why the service is not ready.
    fn log_not_ready<E: ServiceError>(&self, error: &E);
}

/// A service whose requests have a trace; its name is `TraceService` in [`server`](crate::server) and
/// [`client`](crate::client).
///
/// ```
/// use logtracer_sdk::server::TraceLayer;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let service = TraceLayer::new().layer(service_fn(async |request: http::Request<()>| {
///     assert!(request.extensions().get::<logtracer_sdk::TraceContext>().is_some());
///     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
/// }));
/// service.oneshot(http::Request::new(())).await.unwrap();
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct TraceService<S, L> {
    pub(crate) inner: S,
    pub(crate) layer: L,
}

impl<S, L, R, B> Service<Request<R>> for TraceService<S, L>
where
    L: StartRequest,
    S: Service<Request<R>, Response = Response<B>>,
    S::Error: ServiceError,
    B: ResponseBody,
{
    type Response = Response<TraceBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx).map_err(|error| {
            self.layer.log_not_ready(&error);
            error
        })
    }

    fn call(&mut self, mut request: Request<R>) -> Self::Future {
        self.layer.start(&mut request).call(|| self.inner.call(request))
    }
}
