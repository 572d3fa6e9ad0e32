//! Which events become lines, and which spans are kept.
//!
//! Invariant: levels choose lines, never the trace. Spans that can carry a trace are kept whatever the levels are.
//!
//! Invariant: an event is refused only where it happens (`event_enabled`), never where someone asks for it
//! (`enabled`). `tracing-subscriber` keeps the answer `no` for what happens next on the thread, and nothing of the
//! kind need follow: after `log_enabled!` or `tracing::enabled!` it would swallow another line, or a span's trace.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Interest, LevelFilter, Metadata, Subscriber, callsite};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Context, Filter};

use super::LoggingError;
use super::level_names::translated;
use crate::span_carrier::CarrierFilter;

thread_local! {
    /// While the bridge of `log` asks whether a record is wanted: the answer so far.
    static ASKED: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Asks a subscriber whether it wants something. Many say yes to all that any of their layers may want; the levels of
/// a logging that is the only layer know better.
#[cfg(feature = "log")]
pub(super) fn ask(subscriber: impl FnOnce() -> bool) -> bool {
    let before = ASKED.replace(Some(true));
    let may_be_wanted = subscriber();
    may_be_wanted && ASKED.replace(before) != Some(false)
}

/// The levels of a logging, which can be exchanged while it runs.
#[derive(Debug, Clone)]
pub(super) struct Levels(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    carriers: CarrierFilter,
    filter: RwLock<EnvFilter>,
    /// Only directives like `[span]=debug` want to hear of spans.
    looks_at_spans: AtomicBool,
    /// There is no other layer that may want what these levels do not.
    is_alone: AtomicBool,
}

impl Levels {
    /// Reads directives that came from a variable of the environment or from the code.
    pub(super) fn parse(
        variable: Option<&'static str>,
        directives: &str,
        carriers: CarrierFilter,
    ) -> Result<Self, LoggingError> {
        let filter = read(variable, directives)?;
        let looks_at_spans = AtomicBool::new(directives.contains('['));
        Ok(Self(Arc::new(Shared {
            carriers,
            filter: RwLock::new(filter),
            looks_at_spans,
            is_alone: AtomicBool::new(false),
        })))
    }

    /// Puts other directives in their place, from now on and for all threads.
    pub(super) fn set(&self, directives: &str) -> Result<(), LoggingError> {
        let filter = read(None, directives)?;
        *self.0.filter.write().unwrap_or_else(PoisonError::into_inner) = filter;
        self.0.looks_at_spans.store(directives.contains('['), Ordering::Relaxed);
        callsite::rebuild_interest_cache();
        Ok(())
    }

    /// The most verbose level that any directive lets through.
    #[cfg(feature = "log")]
    pub(super) fn most_verbose(&self) -> LevelFilter {
        self.filter().max_level_hint().unwrap_or(LevelFilter::TRACE)
    }

    /// Says that what these levels do not want is wanted by nobody.
    pub(super) fn are_alone(&self) {
        self.0.is_alone.store(true, Ordering::Relaxed);
    }

    fn filter(&self) -> RwLockReadGuard<'_, EnvFilter> {
        self.0.filter.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn about_spans(&self, tell: impl FnOnce(&EnvFilter)) {
        if self.0.looks_at_spans.load(Ordering::Relaxed) {
            tell(&self.filter());
        }
    }
}

fn read(variable: Option<&'static str>, directives: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::builder().parse(translated(directives)).map_err(|source| LoggingError::Level {
        variable,
        value: directives.to_owned(),
        source,
    })
}

impl<S: Subscriber> Filter<S> for Levels {
    fn enabled(&self, metadata: &Metadata<'_>, ctx: &Context<'_, S>) -> bool {
        let is_wanted = || Filter::enabled(&*self.filter(), metadata, ctx);
        if metadata.is_span() {
            return self.0.carriers.enables(metadata) || is_wanted();
        }
        if ASKED.get().is_some() && self.0.is_alone.load(Ordering::Relaxed) {
            ASKED.set(Some(is_wanted()));
        }
        true
    }

    fn event_enabled(&self, event: &Event<'_>, ctx: &Context<'_, S>) -> bool {
        // Records of `log` tell their own target in a field.
        #[cfg(feature = "log")]
        if let Some(normalized) = super::log_bridge::normalized(event) {
            return Filter::enabled(&*self.filter(), &normalized, ctx);
        }
        Filter::enabled(&*self.filter(), event.metadata(), ctx)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Asked in any case: it prepares directives for single spans.
        let interest = Filter::<S>::callsite_enabled(&*self.filter(), metadata);
        if self.0.carriers.enables(metadata) { Interest::always() } else { interest }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&*self.filter()).map(|level| level.max(self.0.carriers.max_level))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        self.about_spans(|filter| Filter::on_new_span(filter, attributes, id, ctx));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        self.about_spans(|filter| Filter::on_record(filter, id, values, ctx));
    }

    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        self.about_spans(|filter| Filter::on_enter(filter, id, ctx));
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        self.about_spans(|filter| Filter::on_exit(filter, id, ctx));
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        self.about_spans(|filter| Filter::on_close(filter, id, ctx));
    }
}
