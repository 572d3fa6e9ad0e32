//! [`TraceBody`]: a response body that is still written for the request, bound on every poll.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::Side;
use super::failures::Failures;
use super::lines;
use super::seen::{Seen, watch};
use crate::InTrace;
use crate::current::Scope;
use crate::errors::Failure;

pin_project! {
    /// The body of a response that goes through a layer of this crate: a stream in it sees the trace, too.
    ///
    /// ```
    /// use http_body_util::BodyExt;
    /// use logtracer_sdk::server::{TraceBody, TraceLayer};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let handler = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new("hello".to_owned())));
    /// let service = TraceLayer::new().layer(handler);
    /// let body: TraceBody<String> = service.oneshot(http::Request::new(())).await.unwrap().into_body();
    /// assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    /// # });
    /// ```
    #[derive(Debug)]
    pub struct TraceBody<B> {
        #[pin]
        inner: InTrace<B>,
        side: Side,
        // The line is written when this is dropped, at the end of the body or of the connection.
        seen: Option<Box<Seen>>,
    }
}

impl<B> TraceBody<B> {
    pub(crate) fn new(scope: Option<Scope>, body: B, side: Side, seen: Option<Box<Seen>>) -> Self {
        Self { inner: InTrace::new(scope, body), side, seen }
    }

    pub(crate) fn inner(&self) -> Option<&B> {
        self.inner.inner()
    }

    /// Polls for the next piece of the body within the scope, looks at it, and tells why there is none.
    pub(crate) fn poll_piece<T, E>(
        self: Pin<&mut Self>,
        poll: impl FnOnce(Pin<&mut B>) -> Poll<Option<Result<T, E>>>,
        look: impl FnOnce(&mut Seen, &T),
        is_over: impl FnOnce(&B) -> bool,
        tell: impl FnOnce(&E),
    ) -> Poll<Option<Result<T, E>>> {
        let mut this = self.project();
        let inner = this.inner.as_mut();
        let scope = inner.scope().cloned();
        let failures = Failures::before(*this.side);
        let piece = ready!(watch(*this.side, scope.as_ref(), this.seen, || inner.poll_within(poll)));
        if let Some(Err(error)) = &piece {
            failures.tell(scope, || tell(error));
        }
        if let Some(seen) = this.seen {
            match &piece {
                Some(Ok(piece)) => look(seen, piece),
                Some(Err(_)) => seen.failed(),
                None => {}
            }
            if piece.is_none() || this.inner.inner().is_none_or(is_over) {
                seen.is_complete();
            }
        }
        // What is over is told at once; whoever polls on may keep the body for long.
        if piece.is_none() {
            *this.seen = None;
        }
        Poll::Ready(piece)
    }
}

impl<B: Body> Body for TraceBody<B>
where
    B::Error: fmt::Display + 'static,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let tell = |error: &B::Error| lines::failed(Failure(error));
        self.poll_piece(|body| body.poll_frame(cx), Seen::frame, Body::is_end_stream, tell)
    }

    fn is_end_stream(&self) -> bool {
        self.inner().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner().map(Body::size_hint).unwrap_or_default()
    }
}
