//! [`span`]: spans around blocks and futures.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use logtracer_core::span::{Span, SpanKind, SpanStatus};
use logtracer_core::{Sampling, TraceContext};
use pin_project_lite::pin_project;

use super::call::CallEnd;
use super::details::Details;
use super::open::Open;
use super::{AttributeValue, SpanEvent, SpanLink, queue};
use crate::current::{Carried, Scope, TraceContextExt, TraceGuard, current_trace, tracestate_of};
use crate::future::InTrace;
use crate::system;

/// Returns a span with this name: a child of the current one, or the root of a new trace.
///
/// A good name is general, like `load-config`: attributes hold the details.
///
/// ```
/// use logtracer_sdk::current_trace;
/// use logtracer_sdk::spans::span;
///
/// let guard = span("nightly").attribute("batch", 7).enter();
/// assert!(current_trace().is_some());
/// drop(guard);
/// assert!(current_trace().is_none());
/// ```
pub fn span(name: impl Into<Cow<'static, str>>) -> SpanBuilder {
    SpanBuilder {
        name: name.into(),
        kind: SpanKind::Internal,
        details: Details::default(),
        export: Export::Yes,
        is_root: false,
        call: None,
    }
}

/// A span that has not started; made by [`span`].
///
/// ```
/// use logtracer_sdk::current_trace;
/// use logtracer_sdk::spans::{SpanBuilder, span};
///
/// let nightly: SpanBuilder = span("nightly").attribute("batch", 7);
/// assert!(current_trace().is_none()); // not started
/// ```
#[derive(Debug, Clone)]
#[must_use = "a span starts with `enter`"]
pub struct SpanBuilder {
    name: Cow<'static, str>,
    kind: SpanKind,
    details: Details,
    export: Export,
    /// True if the current context has no span and was made for this one.
    is_root: bool,
    /// The end of the call whose span this is.
    call: Option<CallEnd>,
}

impl<N: Into<Cow<'static, str>>> From<N> for SpanBuilder {
    fn from(name: N) -> Self {
        span(name)
    }
}

/// Whether a span is exported if its trace is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Export {
    Yes,
    No,
}

impl SpanBuilder {
    /// Sets an attribute: a text, a number, a boolean or a list. A later value replaces an earlier one with the same
    /// key.
    ///
    /// A span has at most 128 attributes, 128 events and 128 links, and together at most 64 KiB of them. Further ones
    /// are dropped, and their numbers are in the span.
    ///
    /// ```
    /// use logtracer_sdk::spans::span;
    ///
    /// let builder = span("nightly").attribute("batch", 7).attribute("rate", 0.5).attribute("names", vec!["a", "b"]);
    /// assert!(format!("{builder:?}").contains("Integer(7)"));
    /// ```
    pub fn attribute(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<AttributeValue>) -> Self {
        self.details.set(key.into(), value.into().truncated());
        self
    }

    /// Adds a link to another span, such as the sender of a message.
    pub fn link(mut self, link: impl Into<SpanLink>) -> Self {
        self.details.add_link(link.into());
        self
    }

    /// Sets the role of the span in a call; the default is [`SpanKind::Internal`].
    pub fn kind(mut self, kind: SpanKind) -> Self {
        self.kind = kind;
        self
    }

    /// Excludes this span from the export. The spans within it are children of its parent, and its log lines belong
    /// to the parent.
    ///
    /// Without a parent there is no recorded span that the spans within it could belong to, so that they are not
    /// exported either.
    ///
    /// ```
    /// use logtracer_sdk::current_trace;
    /// use logtracer_sdk::spans::{SpanExport, span};
    ///
    /// # let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
    /// let parent = span("nightly").enter();
    /// let before = current_trace();
    /// let polling = span("poll").not_exported().enter();
    /// assert_eq!(current_trace(), before);
    /// # drop((polling, parent));
    /// # std::mem::forget(exporter); // nothing listens there
    /// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
    /// ```
    pub fn not_exported(mut self) -> Self {
        self.export = Export::No;
        self
    }

    /// Makes this the root of the current trace, whose context names no span yet.
    pub(crate) fn root(mut self) -> Self {
        self.is_root = true;
        self
    }

    /// Makes this the span of a call to another service, which sets its end.
    #[cfg(feature = "client")]
    pub(crate) fn client(mut self, end: CallEnd) -> Self {
        self.kind = SpanKind::Client;
        self.call = Some(end);
        self
    }

    /// Starts the span. It ends when the guard is dropped, and fails if a panic drops it.
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
    /// # std::mem::forget(exporter); // nothing listens there
    /// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
    /// ```
    pub fn enter(self) -> SpanGuard {
        let (context, span) = self.start();
        SpanGuard { _trace: context.map(|context| context.enter()), span }
    }

    /// Runs a future in the span. The span starts now.
    pub(crate) fn around<F>(self, future: F) -> InSpan<F> {
        let (context, span) = self.start();
        InSpan { inner: InTrace::new(context.map(Scope::of).or_else(Scope::current), future), span }
    }

    /// Returns the context to enter if it is not the current one, and the span if it is recorded.
    fn start(self) -> (Option<TraceContext>, Option<OpenSpan>) {
        let parent = current_trace();
        let context = match parent {
            Some(parent) => queue::decide_around(self.kind, parent),
            None => queue::decide_sampling(TraceContext::new_root()),
        };
        let is_recorded = queue::is_recorded(&context);
        if self.export == Export::No || !is_recorded {
            // The ids of a new context name no recorded span.
            let root = if is_recorded { context.with_sampling(Sampling::Deny) } else { context };
            return (parent.is_none().then_some(root), None);
        }
        let context = if parent.is_some() && !self.is_root { context.child() } else { context };
        let span = OpenSpan {
            builder: self,
            open: Some(Open::new(context.span_id)),
            context,
            carried: tracestate_of(context.trace_id),
            start_unix_nanos: system::unix_nanos(),
            start: Instant::now(),
        };
        (Some(context), Some(span))
    }
}

/// A span that is recorded when it is dropped.
#[derive(Debug)]
struct OpenSpan {
    builder: SpanBuilder,
    /// Closed by the drop.
    open: Option<Open>,
    context: TraceContext,
    /// Has its `tracestate`. Taken at the start, because the span may end in another task without a current trace.
    carried: Option<Arc<Carried>>,
    start_unix_nanos: u64,
    start: Instant,
}

impl OpenSpan {
    /// Returns the time, also if the wall clock was changed while the span is open.
    fn now(&self) -> u64 {
        self.start_unix_nanos.saturating_add(self.start.elapsed().as_nanos() as u64)
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        let end_unix_nanos = self.now();
        if let Some(added) = self.open.take().and_then(Open::close) {
            self.builder.details.append(*added);
        }
        if let Some(call) = &self.builder.call {
            call.write(&mut self.builder.details);
        }
        let details = &self.builder.details;
        let tracestate = self.carried.as_ref().and_then(|carried| carried.tracestate.as_deref());
        let failed = details.failed || std::thread::panicking();
        let span = Span {
            context: self.context,
            tracestate: tracestate.unwrap_or_default(),
            name: self.builder.name.as_bytes(),
            kind: self.builder.kind,
            start_unix_nanos: self.start_unix_nanos,
            end_unix_nanos,
            status: if failed { SpanStatus::Error } else { SpanStatus::Unset },
            link: None,
        };
        queue::record(&span, |to| details.write(to));
    }
}

/// A guard that ends a span when it is dropped; made by [`SpanBuilder::enter`].
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
/// # std::mem::forget(exporter); // nothing listens there
/// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
/// ```
#[derive(Debug)]
#[must_use = "the span ends when the guard is dropped"]
pub struct SpanGuard {
    // Dropped before the span ends.
    _trace: Option<TraceGuard>,
    span: Option<OpenSpan>,
}

impl SpanGuard {
    /// Sets an attribute after the start. A later value replaces an earlier one with the same key.
    pub fn attribute(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<AttributeValue>) {
        if let Some(span) = &mut self.span {
            span.builder.details.set(key.into(), value.into().truncated());
        }
    }

    /// Adds an event that happens now.
    pub fn event(&mut self, event: impl Into<SpanEvent>) {
        if let Some(span) = &mut self.span {
            let now = span.now();
            span.builder.details.add_event(now, event.into());
        }
    }

    /// Adds a link to another span.
    pub fn link(&mut self, link: impl Into<SpanLink>) {
        if let Some(span) = &mut self.span {
            span.builder.details.add_link(link.into());
        }
    }

    /// Marks the span as failed.
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
    /// # std::mem::forget(exporter); // nothing listens there
    /// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
    /// ```
    pub fn fail(&mut self) {
        if let Some(span) = &mut self.span {
            span.builder.details.failed = true;
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
        span: Option<OpenSpan>,
    }
}

impl<F: Future> Future for InSpan<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let panic = EndOnPanic(this.span);
        let poll = this.inner.poll(cx);
        std::mem::forget(panic);
        let output = ready!(poll);
        *this.span = None;
        Poll::Ready(output)
    }
}

/// Ends a span as failed when it is dropped: the future may be dropped after its panic was caught.
struct EndOnPanic<'a>(&'a mut Option<OpenSpan>);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if let Some(mut span) = self.0.take() {
            span.builder.details.failed = true;
            if let Some(call) = &span.builder.call {
                call.set_panicked();
            }
        }
    }
}
