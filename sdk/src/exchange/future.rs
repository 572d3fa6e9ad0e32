//! [`ResponseFuture`]: the future of a handler or of a call, bound on every poll.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;

use super::failures::Failures;
use super::seen::{Seen, watch};
use super::{Begun, Side, TraceBody, lines};
use crate::InTrace;
use crate::current::Scope;
use crate::errors::Failure;

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
    pub(crate) rest: Rest,
}

/// What is left of an exchange when the service has answered.
pub(crate) struct Rest {
    side: Side,
    scope: Option<Scope>,
    seen: Option<Box<Seen>>,
    response_header: Option<HeaderName>,
    failures: Failures,
}

impl<F: Future> ResponseFuture<F> {
    /// Polls the service within the scope.
    pub(crate) fn poll_answer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered<F::Output>> {
        let mut this = self.project();
        let inner = this.inner.as_mut();
        let scope = inner.scope().cloned();
        let side = *this.side;
        let failures = Failures::before(side);
        let answer = ready!(watch(side, scope.as_ref(), this.seen, || inner.poll(cx)));
        let (seen, response_header) = (this.seen.take(), this.response_header.take());
        Poll::Ready(Answered { answer, rest: Rest { side, scope, seen, response_header, failures } })
    }
}

impl Rest {
    /// The header that tells the caller its trace.
    pub(crate) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, scope) = (self.response_header.clone()?, self.scope.as_ref()?);
        // Digits are always a valid value.
        Some((name, HeaderValue::from_str(&scope.context().trace_id.to_hex()).ok()?))
    }

    /// Looks at the head of a response.
    pub(crate) fn see(&mut self, status: StatusCode, headers: &HeaderMap, has_body: bool) {
        if let Some(seen) = &mut self.seen {
            seen.response(status, headers);
            if !has_body {
                seen.is_complete();
                // Told at once, for nobody may ever look at an empty body.
                self.seen = None;
            }
        }
    }

    /// The body of the response, which is looked at, too.
    pub(crate) fn body<B>(self, body: B) -> TraceBody<B> {
        TraceBody::new(self.scope, body, self.side, self.seen)
    }

    /// There is no response.
    pub(crate) fn failed(&mut self, why: impl fmt::Display) {
        self.tell_failure(why);
        if let Some(seen) = &mut self.seen {
            seen.failed();
        }
    }

    /// Tells what went wrong, whatever the response is.
    pub(crate) fn tell_failure(&self, why: impl fmt::Display) {
        self.failures.tell(self.scope.clone(), || lines::failed(why));
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: fmt::Display + 'static,
    B: Body,
{
    type Output = Result<Response<TraceBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Answered { answer, mut rest } = ready!(self.poll_answer(cx));
        Poll::Ready(match answer {
            Ok(mut response) => {
                if let Some((name, value)) = rest.header() {
                    response.headers_mut().insert(name, value);
                }
                rest.see(response.status(), response.headers(), !response.body().is_end_stream());
                Ok(response.map(|body| rest.body(body)))
            }
            Err(error) => {
                rest.failed(Failure(&error));
                Err(error)
            }
        })
    }
}
