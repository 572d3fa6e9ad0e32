//! The crates that only write lines. Trace headers are read and passed on [by hand](super::by_hand).

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

use super::by_hand;
use crate::measure::Meter;
use crate::sink::Sink;
use crate::work;

pub(super) fn fmt_json(meter: &mut Meter) -> Result<(), String> {
    run(meter, tracing_subscriber::fmt::layer().json().with_writer(|| Sink))
}

pub(super) fn json_subscriber(meter: &mut Meter) -> Result<(), String> {
    run(meter, json_subscriber::layer().with_writer(|| Sink))
}

pub(super) fn stackdriver(meter: &mut Meter) -> Result<(), String> {
    run(meter, tracing_stackdriver::layer().with_writer(|| Sink))
}

fn run(meter: &mut Meter, layer: impl Layer<Levels> + Send + Sync) -> Result<(), String> {
    levels().with(layer).try_init().map_err(|error| error.to_string())?;
    work::lines(meter);
    work::serve(meter, by_hand::server());
    by_hand::in_request(|| work::call(meter, by_hand::client()));
    Ok(())
}

/// A registry with levels, as the documentation of each crate has it.
pub(super) type Levels = tracing_subscriber::layer::Layered<EnvFilter, Registry>;

pub(super) fn levels() -> Levels {
    tracing_subscriber::registry().with(EnvFilter::new(LevelFilter::INFO.to_string()))
}
