//! [`TraceBody`]: a response body that is still written for the request, bound on every poll.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::InTrace;
use crate::current::Scope;

pin_project! {
    /// The body of a [`TraceService`](super::TraceService)'s response: a stream in it sees the trace, too.
    #[derive(Debug)]
    pub struct TraceBody<B> {
        #[pin]
        inner: InTrace<B>,
    }
}

impl<B> TraceBody<B> {
    pub(super) fn new(scope: Option<Scope>, body: B) -> Self {
        Self { inner: InTrace::new(scope, body) }
    }
}

impl<B: Body> Body for TraceBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_within(|body| body.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.inner().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.inner().map(Body::size_hint).unwrap_or_default()
    }
}
