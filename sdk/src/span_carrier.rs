//! [`carry_traces`]: traces that go wherever `tracing` spans go.
//!
//! `tokio::spawn(work().instrument(span))` moves a span to another task; this layer makes the trace go with it.

use std::cell::RefCell;

use tracing_core::span::{Attributes, Id};
use tracing_core::{Interest, LevelFilter, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::current::{self, Key, Scope};

/// Returns a `tracing` layer that stores the current trace in every new span, and makes it current again wherever the
/// span is entered.
///
/// [`Logging`](crate::Logging) includes it; use it alone with another way to log.
///
/// A trace that is current because of a request, a [`run`](crate::TraceContextExt::run), an
/// [`in_trace`](crate::FutureExt::in_trace) or a guard has precedence over that of a span: a span of one request that
/// is entered in another one changes nothing there.
/// The trace of a span applies if there is no other, as in a spawned task; the innermost span wins.
/// A span with an explicit parent carries the trace of the parent, and a span with `parent: None` carries none.
///
/// A disabled span carries nothing.
/// The layer enables spans up to `INFO`, the level of `#[instrument]`, whatever the filters of other layers are; only
/// a filter of the whole subscriber can disable them.
/// The trace of the request itself never depends on spans, see [`current_trace`](crate::current_trace).
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::{TraceContext, carry_traces, current_trace};
/// use tracing_subscriber::prelude::*;
///
/// let subscriber = tracing_subscriber::registry().with(carry_traces());
/// tracing::subscriber::with_default(subscriber, || {
///     let context = TraceContext::new_root();
///     let span = context.run(|| tracing::info_span!("work"));
///     // Later, anywhere:
///     span.in_scope(|| assert_eq!(current_trace(), Some(context)));
/// });
/// ```
pub fn carry_traces<S>() -> impl Layer<S> + Send + Sync + 'static
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    SpanCarrier.with_filter(CarrierFilter::default())
}

/// Enables the spans that carry a trace, whatever the log levels are, and no events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CarrierFilter {
    /// The most verbose level of such a span; by default that of `#[instrument]`.
    pub(crate) max_level: LevelFilter,
}

impl Default for CarrierFilter {
    fn default() -> Self {
        Self { max_level: LevelFilter::INFO }
    }
}

impl CarrierFilter {
    pub(crate) fn enables(self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && *metadata.level() <= self.max_level
    }
}

/// [`carry_traces`] without its filter.
pub(crate) struct SpanCarrier;

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for SpanCarrier {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let scope = if attributes.is_root() { None } else { scope_under(attributes.parent(), &ctx) };
        if let (Some(scope), Some(span)) = (scope, ctx.span(id)) {
            span.extensions_mut().replace(scope);
        }
    }

    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        if let Some(scope) = scope_of(id, &ctx) {
            enter_span(id.into_u64(), scope);
        }
    }

    fn on_exit(&self, id: &Id, _ctx: Context<'_, S>) {
        exit_span(id.into_u64());
    }
}

/// Returns the scope of an event or a span: that of its explicit parent, otherwise the current one.
pub(crate) fn scope_under<S>(explicit_parent: Option<&Id>, ctx: &Context<'_, S>) -> Option<Scope>
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    explicit_parent.and_then(|parent| scope_of(parent, ctx)).or_else(Scope::current)
}

/// Returns the scope that a span carries.
fn scope_of<S>(id: &Id, ctx: &Context<'_, S>) -> Option<Scope>
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    ctx.span(id).and_then(|span| span.extensions().get::<Scope>().cloned())
}

impl<S> Filter<S> for CarrierFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _ctx: &Context<'_, S>) -> bool {
        self.enables(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enables(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.max_level)
    }
}

// === entered spans ===

thread_local! {
    /// The numbers of spans that are entered without being bound.
    static NOT_BOUND: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Makes the scope of a span current if the thread has no bindings other than those of spans.
///
/// A span may outlive the request in which it was made and be entered in another one, which keeps its own trace.
fn enter_span(number: u64, scope: Scope) {
    let scope = match current::foreign_span() {
        _ if !current::has_only_span_bindings() => None,
        None => Some(scope),
        // The layer of OpenTelemetry has entered its span of this trace before: that one is current.
        Some(span) if span.trace_id == scope.context().trace_id => Some(scope.of_attached(span)),
        Some(_) => None,
    };
    match scope {
        Some(scope) => scope.bind(Key::Span(number)),
        None => {
            let _ = NOT_BOUND.try_with(|numbers| numbers.borrow_mut().push(number));
        }
    }
}

/// Undoes [`enter_span`].
fn exit_span(number: u64) {
    let not_bound = NOT_BOUND.try_with(|numbers| {
        let mut numbers = numbers.borrow_mut();
        let index = numbers.iter().rposition(|other| *other == number)?;
        Some(numbers.remove(index))
    });
    if !matches!(not_bound, Ok(Some(_))) {
        current::unbind(Key::Span(number));
    }
}
