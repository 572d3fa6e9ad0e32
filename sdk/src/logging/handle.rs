//! [`LoggingHandle`]: changes the levels of a running logging, and waits for its lines.

use std::time::Duration;

use super::LoggingError;
use super::levels::Levels;
use super::output::Output;

/// A handle of a running logging: changes its levels, and waits for queued lines.
///
/// Dropping it does not stop the logging.
///
/// ```
/// use logtracer_sdk::{Format, Logging};
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
/// use tracing_subscriber::prelude::*;
///
/// let lines = Arc::new(AtomicUsize::new(0));
/// let counter = Arc::clone(&lines);
/// let logging = Logging::new("my-project", "shop").level("info").output(move |_line| {
///     counter.fetch_add(1, Ordering::Relaxed);
/// });
/// let (layer, handle) = logging.build()?;
/// let subscriber = tracing_subscriber::registry().with(layer);
/// tracing::subscriber::with_default(subscriber, || -> Result<(), logtracer_sdk::LoggingError> {
///     for level in ["info", "debug", "off"] {
///         handle.set_level(level)?;
///         tracing::debug!("seen at one of three levels");
///     }
///     Ok(())
/// })?;
/// assert_eq!(lines.load(Ordering::Relaxed), 1);
/// assert!(handle.set_level("shop=loud").is_err());
/// # Ok::<(), logtracer_sdk::LoggingError>(())
/// ```
#[derive(Debug, Clone)]
pub struct LoggingHandle {
    pub(super) levels: Levels,
    pub(super) output: Output,
    /// If true, `set_level` sets the level of the `log` crate, too.
    #[cfg_attr(not(feature = "log"), allow(dead_code))]
    pub(super) is_installed: bool,
}

impl LoggingHandle {
    /// Replaces the levels, for example by `info,shop::db=debug`.
    ///
    /// # Errors
    ///
    /// If the directives are invalid; then the levels do not change.
    pub fn set_level(&self, directives: &str) -> Result<(), LoggingError> {
        self.levels.set(directives)?;
        #[cfg(feature = "log")]
        if self.is_installed {
            super::log_bridge::set_max_level(&self.levels);
        }
        Ok(())
    }

    /// Waits until all lines are written, at most for `timeout`; returns false if some are not.
    ///
    /// Lines wait only in the queue of [`Logging::non_blocking`](crate::Logging::non_blocking); with it, call this at
    /// the end of `main`.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use std::time::Duration;
    /// use logtracer_sdk::Logging;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let lines = Arc::new(Mutex::new(Vec::new()));
    /// let sink = Arc::clone(&lines);
    /// let logging = Logging::new("my-project", "shop").non_blocking(1000).output(move |line| {
    ///     sink.lock().unwrap().push(line.to_vec());
    /// });
    /// let (layer, handle) = logging.build()?;
    /// tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || tracing::info!("hi"));
    /// assert!(handle.flush(Duration::from_secs(10)));
    /// assert_eq!((lines.lock().unwrap().len(), handle.dropped_lines()), (1, 0));
    /// # Ok::<(), logtracer_sdk::LoggingError>(())
    /// ```
    pub fn flush(&self, timeout: Duration) -> bool {
        self.output.flush(timeout)
    }

    /// Returns the number of dropped lines: the queue was full, or the writer panicked. It is zero without a queue.
    pub fn dropped_lines(&self) -> u64 {
        self.output.dropped()
    }
}
