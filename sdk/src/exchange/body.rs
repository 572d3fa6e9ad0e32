//! [`TraceBody`]: a response body that is still written for the request, bound on every poll.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::Side;
use super::seen::{Seen, watch};
use crate::InTrace;
use crate::current::Scope;

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
    pub(super) fn new(scope: Option<Scope>, body: B, side: Side, seen: Option<Box<Seen>>) -> Self {
        Self { inner: InTrace::new(scope, body), side, seen }
    }
}

impl<B: Body> Body for TraceBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let inner = this.inner.as_mut();
        let scope = inner.scope().cloned();
        let frame =
            ready!(watch(*this.side, scope.as_ref(), this.seen, || inner
                .poll_within(|body| body.poll_frame(cx))));
        if let Some(seen) = this.seen {
            match &frame {
                Some(Ok(frame)) => seen.frame(frame),
                Some(Err(_)) => seen.failed(),
                None => {}
            }
            let is_last = frame.is_none() || this.inner.inner().is_none_or(Body::is_end_stream);
            if is_last {
                seen.is_complete();
            }
        }
        // What is over is told at once; whoever polls on may keep the body for long.
        if frame.is_none() {
            *this.seen = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.inner().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.inner().map(Body::size_hint).unwrap_or_default()
    }
}
