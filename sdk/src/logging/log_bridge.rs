//! Records of the `log` crate: forwarded to `tracing`, so that lines have one path.

use tracing_core::LevelFilter;
use tracing_log::LogTracer;

use super::LoggingError;
use super::levels::{self, Levels};
use super::log_record::attach_key_values;

/// Makes `tracing` the logger of the `log` crate, which forwards nothing before [`set_max_level`].
pub(super) fn install() -> Result<(), LoggingError> {
    log::set_boxed_logger(Box::new(Bridge(LogTracer::new()))).map_err(|_| LoggingError::AlreadyInstalled)
}

/// Lets the `log` crate skip records early if no directive enables them.
pub(super) fn set_max_level(levels: &Levels) {
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

/// A logger that forwards records to `tracing`. Its events cannot hold key-values, so these wait for the layer.
struct Bridge(LogTracer);

impl log::Log for Bridge {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        levels::is_enabled(|| self.0.enabled(metadata))
    }

    fn log(&self, record: &log::Record<'_>) {
        // A record with pairs is checked first, so that the pairs of a disabled record are not copied.
        if record.key_values().count() == 0 || self.enabled(record.metadata()) {
            let _key_values = attach_key_values(record);
            self.0.log(record);
        }
    }

    fn flush(&self) {}
}
