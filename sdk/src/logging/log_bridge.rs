//! Records of the `log` crate: handed to `tracing`, so that both go one way.

use tracing_core::LevelFilter;

use super::LoggingError;
use super::levels::Levels;

/// Makes `tracing` the logger of the `log` crate.
pub(super) fn install(levels: &Levels) -> Result<(), LoggingError> {
    tracing_log::LogTracer::builder()
        .with_max_level(as_log(levels.most_verbose()))
        .init()
        .map_err(|_| LoggingError::AlreadyInstalled)
}

/// Lets the `log` crate drop early what no directive wants.
pub(super) fn follow(levels: &Levels) {
    log::set_max_level(as_log(levels.most_verbose()));
}

fn as_log(level: LevelFilter) -> log::LevelFilter {
    match level {
        LevelFilter::OFF => log::LevelFilter::Off,
        LevelFilter::ERROR => log::LevelFilter::Error,
        LevelFilter::WARN => log::LevelFilter::Warn,
        LevelFilter::INFO => log::LevelFilter::Info,
        LevelFilter::DEBUG => log::LevelFilter::Debug,
        LevelFilter::TRACE => log::LevelFilter::Trace,
    }
}
