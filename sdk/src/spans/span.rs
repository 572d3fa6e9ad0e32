//! [`span`]: a span around a block or a future.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use logtracer_core::TraceContext;
use logtracer_core::span::{Span, SpanKind, SpanStatus};
use pin_project_lite::pin_project;

use super::queue;
use crate::system;
use crate::current::{Carried, Scope, TraceContextExt, TraceGuard, current_trace};
use crate::future::InTrace;

/// A span of this name below the current one, or at the root of a new trace where there is none.
///
/// The name says what is done, not with what: few names for many spans.
///
/// ```
/// use logtracer_sdk::current_trace;
/// use logtracer_sdk::spans::span;
///
/// let guard = span("nightly").attribute("batch", "7").enter();
/// assert!(current_trace().is_some());
/// drop(guard);
/// assert!(current_trace().is_none());
/// ```
pub fn span(name: impl Into<Cow<'static, str>>) -> SpanBuilder {
    SpanBuilder { name: name.into(), kind: SpanKind::Internal, attributes: Vec::new(), failure: None }
}

/// A span that has not begun; made by [`span`].
///
/// ```
/// use logtracer_sdk::current_trace;
/// use logtracer_sdk::spans::{SpanBuilder, span};
///
/// let nightly: SpanBuilder = span("nightly").attribute("batch", "7");
/// assert!(current_trace().is_none()); // not yet begun
/// ```
#[derive(Debug, Clone)]
#[must_use = "a span begins with `enter`"]
pub struct SpanBuilder {
    name: Cow<'static, str>,
    kind: SpanKind,
    attributes: Vec<(Cow<'static, str>, String)>,
    /// Set from within the span by whoever sees that its work has failed.
    failure: Option<Arc<AtomicBool>>,
}

impl SpanBuilder {
    /// Adds an attribute.
    ///
    /// ```
    /// use logtracer_sdk::spans::span;
    ///
    /// let builder = span("count").attribute("rows", "42");
    /// assert!(format!("{builder:?}").contains(r#"[("rows", "42")]"#));
    /// ```
    pub fn attribute(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }

    /// Makes it the span of a call to another service, and hands out what says that the call has failed.
    #[cfg(feature = "client")]
    pub(crate) fn client(mut self) -> (Self, Arc<AtomicBool>) {
        let failure = Arc::default();
        self.kind = SpanKind::Client;
        self.failure = Some(Arc::clone(&failure));
        (self, failure)
    }

    /// Begins the span; it ends when the guard is dropped, and fails when that happens in a panic.
    ///
    /// In async code use [`in_span`](crate::FutureExt::in_span).
    ///
    /// ```
    /// use logtracer_sdk::spans::{SpanExport, span};
    /// # use logtracer_sdk::current_trace;
    ///
    /// # let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
    /// let guard = span("load-config").enter();
    /// let inside = current_trace();
    /// drop(guard);
    /// assert!(inside.is_some() && current_trace().is_none());
    /// # std::mem::forget(exporter); // nobody listens there
    /// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
    /// ```
    pub fn enter(self) -> SpanGuard {
        let (context, open) = self.open();
        SpanGuard { _trace: context.map(|context| context.enter()), open }
    }

    /// Runs a future in the span.
    pub(crate) fn around<F>(self, future: F) -> InSpan<F> {
        let (context, open) = self.open();
        InSpan { inner: InTrace::new(context.map(Scope::of).or_else(Scope::current), future), open }
    }

    /// The context to bind, if it is another one than the current, and what is recorded.
    fn open(self) -> (Option<TraceContext>, Option<Open>) {
        let parent = current_trace();
        let context = match parent {
            Some(parent) => queue::decided(parent),
            None => queue::decided(TraceContext::new_root()),
        };
        if !queue::records(&context) {
            return (parent.is_none().then_some(context), None);
        }
        let context = if parent.is_some() { context.child() } else { context };
        let open = Open {
            builder: self,
            context,
            carried: Scope::of(context).carried(),
            start_unix_nanos: system::unix_nanos(),
            start: Instant::now(),
            failed: false,
        };
        (Some(context), Some(open))
    }
}

/// A span that is recorded when it is dropped.
#[derive(Debug)]
struct Open {
    builder: SpanBuilder,
    context: TraceContext,
    /// As it was when the span began: it may end where nothing is current, in another task.
    carried: Option<Arc<Carried>>,
    start_unix_nanos: u64,
    start: Instant,
    failed: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        let tracestate = self.carried.as_ref().and_then(|carried| carried.tracestate.as_deref());
        let failure = self.builder.failure.as_ref();
        let failed = self.failed
            || failure.is_some_and(|failure| failure.load(Ordering::Relaxed))
            || std::thread::panicking();
        let span = Span {
            context: self.context,
            tracestate: tracestate.unwrap_or_default(),
            name: self.builder.name.as_bytes(),
            kind: self.builder.kind,
            start_unix_nanos: self.start_unix_nanos,
            // The wall clock may be set while the span is open.
            end_unix_nanos: self.start_unix_nanos.saturating_add(self.start.elapsed().as_nanos() as u64),
            status: if failed { SpanStatus::Error } else { SpanStatus::Unset },
            link: None,
        };
        queue::record(&span, |attributes| {
            for (key, value) in &self.builder.attributes {
                attributes.text(key, value);
            }
        });
    }
}

/// A span that lasts as long as this lives; made by [`SpanBuilder::enter`].
///
/// ```
/// use logtracer_sdk::spans::{SpanExport, span};
/// # use logtracer_sdk::current_trace;
///
/// # let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
/// let outer = span("nightly").enter();
/// let parent = current_trace().map(|trace| trace.span_id);
/// let inner = span("step").enter();
/// assert_eq!(current_trace().and_then(|trace| trace.parent_span_id), parent);
/// # drop((inner, outer));
/// # std::mem::forget(exporter); // nobody listens there
/// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
/// ```
#[derive(Debug)]
#[must_use = "the span ends when the guard is dropped"]
pub struct SpanGuard {
    // Dropped first, so that the span's own end is not in it.
    _trace: Option<TraceGuard>,
    open: Option<Open>,
}

impl SpanGuard {
    /// Adds an attribute that was not known at the start.
    ///
    /// ```
    /// use logtracer_sdk::spans::{SpanExport, span};
    /// # use logtracer_sdk::current_trace;
    ///
    /// # let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
    /// let mut guard = span("load-config").enter();
    /// guard.attribute("files", "3");
    /// assert!(format!("{guard:?}").contains(r#"("files", "3")"#));
    /// # drop(guard);
    /// # std::mem::forget(exporter); // nobody listens there
    /// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
    /// ```
    pub fn attribute(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        if let Some(open) = &mut self.open {
            open.builder.attributes.push((key.into(), value.into()));
        }
    }

    /// Says that the work failed.
    ///
    /// ```
    /// use logtracer_sdk::spans::{SpanExport, span};
    /// # use logtracer_sdk::current_trace;
    ///
    /// # let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
    /// let mut guard = span("load-config").enter();
    /// if std::fs::metadata("no such file").is_err() {
    ///     guard.fail();
    /// }
    /// assert!(format!("{guard:?}").contains("failed: true"));
    /// # drop(guard);
    /// # std::mem::forget(exporter); // nobody listens there
    /// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
    /// ```
    pub fn fail(&mut self) {
        if let Some(open) = &mut self.open {
            open.failed = true;
        }
    }
}

pin_project! {
    /// A future in a span; made by [`in_span`](crate::FutureExt::in_span).
    ///
    /// ```
    /// use logtracer_sdk::current_trace;
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::spans::InSpan;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let prices: InSpan<_> = async { current_trace() }.in_span("prices");
    /// assert!(prices.await.is_some());
    /// # });
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct InSpan<F> {
        #[pin]
        inner: InTrace<F>,
        open: Option<Open>,
    }
}

impl<F: Future> Future for InSpan<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let output = ready!(this.inner.poll(cx));
        *this.open = None;
        Poll::Ready(output)
    }
}
