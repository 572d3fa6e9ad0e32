//! [`ResponseFuture`]: the future of a handler or a call, polled in its trace.

use std::future::Future;
#[cfg(feature = "client")]
use std::future::poll_fn;
use std::pin::Pin;
#[cfg(feature = "client")]
use std::pin::pin;
use std::task::{Context, Poll, ready};

use http::{HeaderName, Response};
use pin_project_lite::pin_project;

use super::errors::{ErrorLog, log_panics};
use super::{Pending, Record, ResponseBody, ServiceError, Side, TraceBody};
use crate::InTrace;
use crate::errors::KnownErrors;

pin_project! {
    /// The response future of a service within a layer of this crate.
    ///
    /// ```
    /// use logtracer_sdk::server::{ResponseFuture, TraceLayer};
    /// use tower::{Layer, Service, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let handler = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new("hello".to_owned())));
    /// let mut service = TraceLayer::new().layer(handler);
    /// let response: ResponseFuture<_> = service.call(http::Request::new(()));
    /// assert_eq!(response.await.unwrap().status(), 200);
    /// # });
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        pub(super) inner: InTrace<F>,
        pub(super) side: Side,
        pub(super) record: Option<Box<Record>>,
        pub(super) response_header: Option<HeaderName>,
        pub(super) known_errors: KnownErrors,
    }
}

impl<F: Future> ResponseFuture<F> {
    /// Polls the service in its trace, and returns its output with the pending request.
    pub(crate) fn poll_output(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(F::Output, Pending)> {
        let mut this = self.project();
        let side = *this.side;
        let errors = ErrorLog::new(side);
        let (inner, record) = (this.inner.as_mut(), &mut *this.record);
        let (output, scope) =
            ready!(inner.poll_to_end(|future| log_panics(side, record, || future.poll(cx))));
        let pending = Pending {
            side,
            scope,
            record: this.record.take(),
            response_header: this.response_header.take(),
            known_errors: std::mem::take(this.known_errors),
            errors,
        };
        Poll::Ready((output, pending))
    }
}

#[cfg(feature = "client")]
impl<F: Future> ResponseFuture<F> {
    /// Returns the output with the pending request.
    pub(crate) async fn output(self) -> (F::Output, Pending) {
        let mut future = pin!(self);
        poll_fn(|cx| future.as_mut().poll_output(cx)).await
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: ServiceError,
    B: ResponseBody,
{
    type Output = Result<Response<TraceBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (output, mut pending) = ready!(self.poll_output(cx));
        Poll::Ready(match output {
            Ok(mut response) => {
                if let Some((name, value)) = pending.trace_header() {
                    response.headers_mut().insert(name, value);
                }
                pending.record_head(response.status(), response.headers(), !response.body().is_end_stream());
                if let Some(record) = &mut pending.record {
                    record.set_body_length(response.body().size_hint().exact());
                }
                Ok(response.map(|body| pending.wrap_body(body)))
            }
            Err(error) => {
                pending.fail(&error);
                Err(error)
            }
        })
    }
}
