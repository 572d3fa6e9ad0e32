//! [`Levels`]: decides which events become lines, and which spans exist.
//!
//! Invariant: levels select lines, never the trace. A span that can carry a trace exists at every level.
//!
//! Invariant: `enabled` accepts every event, and only `event_enabled` rejects one. `tracing-subscriber` applies a
//! rejection by `enabled` to the next event or span of the thread. After `log_enabled!` or `tracing::enabled!` this can
//! be another event or span, and its line or its trace would be missing.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Interest, LevelFilter, Metadata, Subscriber, callsite};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Context, Filter};

use super::level_error::LevelError;
use super::level_names::translate;
use crate::span_carrier::CarrierFilter;

thread_local! {
    /// What exclusive levels have returned, while `is_enabled` runs.
    static ENABLED: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Returns true if the subscriber and the exclusive levels enable a record.
///
/// The answer of a subscriber alone is not exact, because [`Levels`] accept every event there.
#[cfg(feature = "log")]
pub(super) fn is_enabled(subscriber: impl FnOnce() -> bool) -> bool {
    let before = ENABLED.replace(Some(true));
    let by_subscriber = subscriber();
    let by_levels = ENABLED.replace(before);
    by_subscriber && by_levels != Some(false)
}

/// The levels of a logger; they can change while it runs.
#[derive(Debug, Clone)]
pub(super) struct Levels(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    carriers: CarrierFilter,
    filter: RwLock<Arc<EnvFilter>>,
    /// Held during a change.
    changing: Mutex<()>,
    /// The [`verbosity`] up to which all targets are enabled: for most events, this decides without the filter.
    enabled_everywhere: AtomicU8,
    /// Directives like `[span]=debug` need the events of spans.
    has_span_directives: AtomicBool,
    /// True if no other layer needs what these levels reject.
    is_exclusive: AtomicBool,
    /// True if records of `log` go through `tracing`, so that `log` must know the levels.
    #[cfg_attr(not(feature = "log"), allow(dead_code))]
    forwards_log: AtomicBool,
}

impl Levels {
    pub(super) fn parse(directives: &str, carriers: CarrierFilter) -> Result<Self, LevelError> {
        let directives = Directives::parse(directives)?;
        Ok(Self(Arc::new(Shared {
            carriers,
            filter: RwLock::new(Arc::new(directives.filter)),
            changing: Mutex::new(()),
            enabled_everywhere: AtomicU8::new(directives.enabled_everywhere),
            has_span_directives: AtomicBool::new(directives.has_spans),
            is_exclusive: AtomicBool::new(false),
            forwards_log: AtomicBool::new(false),
        })))
    }

    /// Replaces the directives, for all threads. `apply` applies them outside of `tracing`.
    pub(super) fn set(&self, directives: &str, apply: impl FnOnce()) -> Result<(), LevelError> {
        let directives = Directives::parse(directives)?;
        // Of two changes at once, one is applied after the other as a whole.
        let _changing = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        *self.0.filter.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(directives.filter);
        self.0.enabled_everywhere.store(directives.enabled_everywhere, Ordering::Relaxed);
        self.0.has_span_directives.store(directives.has_spans, Ordering::Relaxed);
        callsite::rebuild_interest_cache();
        apply();
        Ok(())
    }

    /// Returns the most verbose level that `log` has to forward: what a directive enables or, beside other layers, what
    /// any layer wants.
    #[cfg(feature = "log")]
    pub(super) fn most_verbose(&self) -> LevelFilter {
        if self.0.is_exclusive.load(Ordering::Relaxed) {
            self.filter().max_level_hint().unwrap_or(LevelFilter::TRACE)
        } else {
            LevelFilter::current()
        }
    }

    /// Declares that records of `log` go through `tracing`.
    #[cfg(feature = "log")]
    pub(super) fn set_forwards_log(&self) {
        self.0.forwards_log.store(true, Ordering::Relaxed);
    }

    #[cfg(feature = "log")]
    pub(super) fn forwards_log(&self) -> bool {
        self.0.forwards_log.load(Ordering::Relaxed)
    }

    /// Declares that no other layer needs what these levels reject.
    pub(super) fn set_exclusive(&self) {
        self.0.is_exclusive.store(true, Ordering::Relaxed);
    }

    /// Returns the filter without the lock: a filter formats fields of spans, which may log or set the levels.
    fn filter(&self) -> Arc<EnvFilter> {
        Arc::clone(&self.0.filter.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_span_directives(&self, notify: impl FnOnce(&EnvFilter)) {
        if self.0.has_span_directives.load(Ordering::Relaxed) {
            notify(&self.filter());
        }
    }
}

/// What directives mean.
struct Directives {
    filter: EnvFilter,
    enabled_everywhere: u8,
    has_spans: bool,
}

impl Directives {
    fn parse(directives: &str) -> Result<Self, LevelError> {
        let directives = translate(directives)?;
        let filter = EnvFilter::builder().parse(&directives).map_err(LevelError::directive)?;
        let has_spans = directives.contains('[');
        let enabled_everywhere = if has_spans { 0 } else { enabled_everywhere(&directives) };
        Ok(Self { filter, enabled_everywhere, has_spans })
    }
}

/// Returns the verbosity up to which all targets are enabled: that of the least verbose directive, or none if targets
/// without a directive are disabled.
fn enabled_everywhere(directives: &str) -> u8 {
    let has_default = directives.split(',').any(|directive| !directive.contains('='));
    let levels = directives.split(',').map(|directive| directive.rsplit('=').next().unwrap_or_default());
    let least = levels.map(|name| name.parse().map_or(0, |level: LevelFilter| verbosity(level))).min();
    if has_default { least.unwrap_or_default() } else { 0 }
}

/// Returns a number that is larger for more verbose levels; it is 0 for no level.
fn verbosity(level: LevelFilter) -> u8 {
    match level {
        LevelFilter::OFF => 0,
        LevelFilter::ERROR => 1,
        LevelFilter::WARN => 2,
        LevelFilter::INFO => 3,
        LevelFilter::DEBUG => 4,
        LevelFilter::TRACE => 5,
    }
}

impl<S: Subscriber> Filter<S> for Levels {
    fn enabled(&self, metadata: &Metadata<'_>, ctx: &Context<'_, S>) -> bool {
        let is_enabled = || Filter::enabled(&*self.filter(), metadata, ctx);
        if metadata.is_span() {
            return self.0.carriers.enables(metadata) || is_enabled();
        }
        if ENABLED.get().is_some() && self.0.is_exclusive.load(Ordering::Relaxed) {
            ENABLED.set(Some(is_enabled()));
        }
        true
    }

    fn event_enabled(&self, event: &Event<'_>, ctx: &Context<'_, S>) -> bool {
        let level = LevelFilter::from_level(*event.metadata().level());
        if verbosity(level) <= self.0.enabled_everywhere.load(Ordering::Relaxed) {
            return true;
        }
        // Records of `log` name their target in a field.
        #[cfg(feature = "log")]
        if let Some(normalized) = super::log_record::normalized(event) {
            return Filter::enabled(&*self.filter(), &normalized, ctx);
        }
        Filter::enabled(&*self.filter(), event.metadata(), ctx)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Called in any case, because it prepares directives for spans.
        let interest = Filter::<S>::callsite_enabled(&*self.filter(), metadata);
        if self.0.carriers.enables(metadata) { Interest::always() } else { interest }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&*self.filter()).map(|level| level.max(self.0.carriers.max_level))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        self.with_span_directives(|filter| Filter::on_new_span(filter, attributes, id, ctx));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        self.with_span_directives(|filter| Filter::on_record(filter, id, values, ctx));
    }

    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        self.with_span_directives(|filter| Filter::on_enter(filter, id, ctx));
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        self.with_span_directives(|filter| Filter::on_exit(filter, id, ctx));
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        self.with_span_directives(|filter| Filter::on_close(filter, id, ctx));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_enabled_everywhere_if_no_directive_excludes_it() {
        for (directives, expected) in [
            ("info", LevelFilter::INFO),
            ("debug,shop=warn", LevelFilter::WARN),
            ("shop::db=debug,info", LevelFilter::INFO),
            ("TRACE,shop=off", LevelFilter::OFF),
            ("off", LevelFilter::OFF),
            // Other targets are disabled.
            ("shop=info", LevelFilter::OFF),
            ("info,shop[job]=warn", LevelFilter::OFF),
        ] {
            let directives = Directives::parse(directives).unwrap();
            assert_eq!(directives.enabled_everywhere, verbosity(expected));
        }
    }
}
