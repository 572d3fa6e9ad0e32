//! Which events become lines, and which spans are kept.
//!
//! Invariant: levels choose lines, never the trace. Spans that can carry a trace are kept whatever the levels are.

use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Interest, LevelFilter, Metadata, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Context, Filter};

use super::LoggingError;
use crate::carry::carries;

/// Reads directives that came from a variable of the environment or from the code.
pub(super) fn parse(variable: Option<&'static str>, directives: &str) -> Result<Levels, LoggingError> {
    match EnvFilter::builder().parse(directives) {
        Ok(filter) => Ok(Levels(filter)),
        Err(source) => Err(LoggingError::Level { variable, value: directives.to_owned(), source }),
    }
}

pub(super) struct Levels(EnvFilter);

impl<S: Subscriber> Filter<S> for Levels {
    fn enabled(&self, metadata: &Metadata<'_>, ctx: &Context<'_, S>) -> bool {
        carries(metadata) || Filter::enabled(&self.0, metadata, ctx)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Asked in any case: it prepares directives for single spans.
        let interest = Filter::<S>::callsite_enabled(&self.0, metadata);
        if carries(metadata) { Interest::always() } else { interest }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&self.0).map(|level| level.max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        Filter::on_new_span(&self.0, attributes, id, ctx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        Filter::on_record(&self.0, id, values, ctx);
    }

    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        Filter::on_enter(&self.0, id, ctx);
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        Filter::on_exit(&self.0, id, ctx);
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        Filter::on_close(&self.0, id, ctx);
    }
}
