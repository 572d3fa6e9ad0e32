//! Events at a level that is known only when they happen, which `tracing`'s macros do not take.

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
