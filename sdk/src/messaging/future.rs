//! [`MessageFuture`]: work for a message, in its trace and, with the feature `spans`, in a span.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

#[cfg(not(feature = "spans"))]
use crate::InTrace as Inner;
#[cfg(feature = "spans")]
use crate::spans::InSpan as Inner;

pin_project! {
    /// The future of [`consume`](super::consume) and of the methods of [`Destination`](super::Destination).
    ///
    /// ```
    /// use logtracer_sdk::messaging::{MessageFuture, consume};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let no_headers: [(&str, &str); 0] = [];
    /// let work: MessageFuture<_> = consume(&no_headers, async { 42 });
    /// assert_eq!(work.await, 42);
    /// # });
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct MessageFuture<F> {
        #[pin]
        pub(super) inner: Inner<F>,
    }
}

impl<F: Future> Future for MessageFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().inner.poll(cx)
    }
}
