//! [`ResponseFuture`]: the future of a handler or of a call, bound on every poll.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderName, HeaderValue, Response};
use http_body::Body;
use pin_project_lite::pin_project;

use super::seen::{Seen, watch};
use super::{Begun, Side, TraceBody};
use crate::InTrace;
use crate::current::Scope;

pin_project! {
    /// The response of a service within a layer of this crate.
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
        inner: InTrace<F>,
        side: Side,
        seen: Option<Box<Seen>>,
        response_header: Option<HeaderName>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(begun: Begun, future: F, response_header: Option<HeaderName>) -> Self {
        let Begun { side, scope, seen } = begun;
        Self { inner: InTrace::new(scope, future), side, seen, response_header }
    }
}

/// What a service has answered, and what is left to be done about it.
pub(crate) struct Answered<T> {
    pub(crate) answer: T,
    pub(crate) side: Side,
    pub(crate) scope: Option<Scope>,
    pub(crate) seen: Option<Box<Seen>>,
    pub(crate) response_header: Option<HeaderName>,
}

impl<F: Future> ResponseFuture<F> {
    /// Polls the service within the scope.
    pub(crate) fn poll_answer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered<F::Output>> {
        let mut this = self.project();
        let inner = this.inner.as_mut();
        let scope = inner.scope().cloned();
        let answer = ready!(watch(*this.side, scope.as_ref(), this.seen, || inner.poll(cx)));
        Poll::Ready(Answered {
            answer,
            side: *this.side,
            scope,
            seen: this.seen.take(),
            response_header: this.response_header.take(),
        })
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<TraceBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Answered { answer, side, scope, mut seen, response_header } = ready!(self.poll_answer(cx));
        Poll::Ready(match answer {
            Ok(mut response) => {
                if let (Some(name), Some(scope)) = (response_header, &scope) {
                    // Digits are always a valid value.
                    if let Ok(id) = HeaderValue::from_str(&scope.context().trace_id.to_hex()) {
                        response.headers_mut().insert(name, id);
                    }
                }
                if let Some(seen) = &mut seen {
                    seen.response(response.status(), response.headers());
                    if response.body().is_end_stream() {
                        seen.is_complete();
                    }
                }
                // Told at once, for nobody may ever look at an empty body.
                let seen = seen.filter(|_| !response.body().is_end_stream());
                Ok(response.map(|body| TraceBody::new(scope, body, side, seen)))
            }
            Err(error) => {
                if let Some(seen) = &mut seen {
                    seen.failed();
                }
                Err(error)
            }
        })
    }
}
