//! [`InTrace`]: a future or a body in a trace, which is current on every poll and while it is dropped.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use logtracer_core::TraceContext;
use pin_project_lite::pin_project;

use crate::current::Scope;

/// Methods of every future to run it in a trace.
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::{TraceContext, current_trace};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let context = TraceContext::new_root();
/// let work = async {
///     tokio::task::yield_now().await;
///     current_trace()
/// };
/// assert_eq!(work.in_trace(context).await, Some(context));
/// # });
/// ```
pub trait FutureExt: Future + Sized {
    /// Runs the future in this trace, whatever trace is current when it is polled.
    fn in_trace(self, context: TraceContext) -> InTrace<Self> {
        InTrace::new(Some(Scope::of(context)), self)
    }

    /// Runs the future in the trace that is current now. If there is none, the future is not changed.
    ///
    /// Use it for a task that works for the request that starts it: `tokio::spawn(work().in_current_trace())`.
    ///
    /// ```
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::{TraceContext, current_trace};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let context = TraceContext::new_root();
    /// let task = context.run(|| tokio::spawn(async { current_trace() }.in_current_trace()));
    /// assert_eq!(task.await.unwrap(), Some(context));
    /// # });
    /// ```
    fn in_current_trace(self) -> InTrace<Self> {
        InTrace::new(Scope::current(), self)
    }

    /// Runs the future in a span with this name, or in one made by [`spans::span`](crate::spans::span).
    ///
    /// The span starts now, as a child of the current span, so that `tokio::spawn(work().in_span("work"))` belongs to
    /// the request. It ends with the future.
    ///
    /// ```
    /// use logtracer_sdk::current_trace;
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::spans::span;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// assert!(async { current_trace() }.in_span("prices").await.is_some());
    ///
    /// let nightly = span("nightly").attribute("batch", 7);
    /// assert!(async { current_trace() }.in_span(nightly).await.is_some());
    /// # });
    /// ```
    #[cfg(feature = "spans")]
    fn in_span(self, span: impl Into<crate::spans::SpanBuilder>) -> crate::spans::InSpan<Self> {
        span.into().around(self)
    }
}

impl<F: Future> FutureExt for F {}

pin_project! {
    /// A future that runs in a trace; made by [`FutureExt`].
    ///
    /// ```
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::{InTrace, TraceContext, current_trace};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let context = TraceContext::new_root();
    /// let work: InTrace<_> = async { current_trace() }.in_trace(context);
    /// assert_eq!(tokio::spawn(work).await.unwrap(), Some(context));
    /// # });
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct InTrace<T> {
        scope: Option<Scope>,
        // `None` only in `drop`, which drops it in the scope.
        #[pin]
        inner: Option<T>,
    }

    impl<T> PinnedDrop for InTrace<T> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.scope.as_mut().map(Scope::enter);
            this.inner.set(None);
        }
    }
}

impl<T> InTrace<T> {
    pub(crate) fn new(scope: Option<Scope>, inner: T) -> Self {
        Self { scope, inner: Some(inner) }
    }

    /// Polls the inner future or body in the scope.
    pub(crate) fn poll_within<R>(self: Pin<&mut Self>, poll: impl FnOnce(Pin<&mut T>) -> Poll<R>) -> Poll<R> {
        let this = self.project();
        let _entered = this.scope.as_mut().map(Scope::enter);
        this.inner.as_pin_mut().map_or(Poll::Pending, poll)
    }

    #[cfg(any(feature = "server", feature = "client"))]
    pub(crate) fn inner(&self) -> Option<&T> {
        self.inner.as_ref()
    }

    /// Polls the inner future in the scope. When it is ready, it is dropped there as well, and the scope is returned.
    #[cfg(any(feature = "server", feature = "client"))]
    pub(crate) fn poll_to_end<R>(
        self: Pin<&mut Self>,
        poll: impl FnOnce(Pin<&mut T>) -> Poll<R>,
    ) -> Poll<(R, Option<Scope>)> {
        let mut this = self.project();
        let output = {
            let _entered = this.scope.as_mut().map(Scope::enter);
            let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Pending };
            let output = std::task::ready!(poll(inner));
            this.inner.set(None);
            output
        };
        Poll::Ready((output, this.scope.take()))
    }
}

impl<F: Future> Future for InTrace<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.poll_within(|inner| inner.poll(cx))
    }
}
