//! Events with a level from a variable, which the macros of `tracing` do not accept.

macro_rules! at_level {
    ($level:expr, $target:expr, $($fields:tt)+) => {
        match $level {
            tracing::Level::ERROR => tracing::error!(target: $target, $($fields)+),
            tracing::Level::WARN => tracing::warn!(target: $target, $($fields)+),
            tracing::Level::INFO => tracing::info!(target: $target, $($fields)+),
            tracing::Level::DEBUG => tracing::debug!(target: $target, $($fields)+),
            tracing::Level::TRACE => tracing::trace!(target: $target, $($fields)+),
        }
    };
}
pub(crate) use at_level;
