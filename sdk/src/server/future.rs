//! [`ResponseFuture`]: the handler's future, bound on every poll.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::TraceBody;
use crate::InTrace;

pin_project! {
    /// The response of a [`TraceService`](super::TraceService).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        pub(super) inner: InTrace<F>,
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<TraceBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let response = ready!(this.inner.as_mut().poll(cx));
        let scope = this.inner.scope().cloned();
        Poll::Ready(response.map(|response| response.map(|body| TraceBody::new(scope, body))))
    }
}
