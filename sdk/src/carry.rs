//! Traces that travel with `tracing` spans: what carries them through code that knows nothing of this crate.
//!
//! `tokio::spawn(work().instrument(span))` moves a span to another task; with this layer the trace goes along.

use tracing_core::span::{Attributes, Id};
use tracing_core::{Interest, LevelFilter, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::current::{self, Scope};

/// A `tracing` layer that keeps the current trace in every new span and makes it current again wherever the span
/// is entered.
///
/// [`Logging`](crate::Logging) does this by itself; the layer is for services that have another way to log.
///
/// A trace that a request, a [`run`](crate::TraceContextExt::run), an [`in_trace`](crate::FutureExt::in_trace) or a
/// guard has made current stands before that of any span: a span that was made in one request and is entered in
/// another one takes nothing there.
/// Spans decide where nothing else does, as in a task that was spawned; of several the innermost.
/// A span whose parent was named carries the trace of that parent, and one made with `parent: None` carries none.
///
/// A span that is disabled cannot carry anything.
/// The layer asks for spans up to `INFO`, the level of `#[instrument]`, whatever the filters of other layers say;
/// only a filter for the whole subscriber can keep them away.
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
    CarryTraces.with_filter(Carriers::default())
}

/// The spans that carry a trace whatever the log levels are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carriers {
    /// Up to this level; that of `#[instrument]` unless someone wants more.
    pub(crate) max_level: LevelFilter,
}

impl Default for Carriers {
    fn default() -> Self {
        Self { max_level: LevelFilter::INFO }
    }
}

impl Carriers {
    pub(crate) fn has(self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && *metadata.level() <= self.max_level
    }
}

/// [`carry_traces`] without its filter.
pub(crate) struct CarryTraces;

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for CarryTraces {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let scope = if attributes.is_root() { None } else { scope_under(attributes.parent(), &ctx) };
        if let (Some(scope), Some(span)) = (scope, ctx.span(id)) {
            span.extensions_mut().replace(scope);
        }
    }

    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        if let Some(scope) = scope_of(id, &ctx) {
            current::enter_span(id.into_u64(), scope);
        }
    }

    fn on_exit(&self, id: &Id, _ctx: Context<'_, S>) {
        current::exit_span(id.into_u64());
    }
}

/// What an event or a span belongs to: to what the parent carries that it names, else to what is current.
pub(crate) fn scope_under<S>(named_parent: Option<&Id>, ctx: &Context<'_, S>) -> Option<Scope>
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    named_parent.and_then(|parent| scope_of(parent, ctx)).or_else(Scope::current)
}

/// What a span carries.
fn scope_of<S>(id: &Id, ctx: &Context<'_, S>) -> Option<Scope>
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    ctx.span(id).and_then(|span| span.extensions().get::<Scope>().cloned())
}

/// Lets these spans through, and no events.
impl<S> Filter<S> for Carriers {
    fn enabled(&self, metadata: &Metadata<'_>, _ctx: &Context<'_, S>) -> bool {
        self.has(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.has(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.max_level)
    }
}
