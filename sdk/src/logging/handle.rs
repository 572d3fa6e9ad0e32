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
}

impl LoggingHandle {
    /// Replaces the levels, for example by `info,shop::db=debug`.
    ///
    /// # Errors
    ///
    /// If the directives are invalid; then the levels do not change.
    pub fn set_level(&self, directives: &str) -> Result<(), LoggingError> {
        let apply = || {
            #[cfg(feature = "log")]
            if self.levels.forwards_log() {
                super::log_bridge::set_max_level(&self.levels);
            }
        };
        self.levels
            .set(directives, apply)
            .map_err(|source| LoggingError::Level { value: directives.to_owned(), source })
    }

    /// Makes records of the `log` crate lines of this logging, with their key-values, and applies changes of the levels
    /// to them.
    ///
    /// [`install`](crate::Logging::install) and [`install_with`](crate::Logging::install_with) do this. Call it after
    /// the subscriber that contains the layer of [`build`](crate::Logging::build) is the global one. Set that with
    /// [`tracing::subscriber::set_global_default`](tracing_core::dispatcher::set_global_default): `init()` of
    /// `tracing-subscriber` may install a logger of its own, which drops the key-values.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use logtracer_sdk::Logging;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let lines = Arc::new(Mutex::new(String::new()));
    /// let sink = Arc::clone(&lines);
    /// let logging = Logging::new("my-project", "shop").output(move |line| {
    ///     sink.lock().unwrap().push_str(std::str::from_utf8(line).unwrap());
    /// });
    /// let (layer, handle) = logging.build()?;
    /// tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
    /// handle.forward_log()?;
    /// log::info!(user = 7; "hi");
    /// assert!(lines.lock().unwrap().contains(r#""user":7"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If `log` has a logger already.
    #[cfg(feature = "log")]
    #[cfg_attr(docsrs, doc(cfg(feature = "log")))]
    pub fn forward_log(&self) -> Result<(), LoggingError> {
        super::log_bridge::install()?;
        self.levels.set_forwards_log();
        super::log_bridge::set_max_level(&self.levels);
        Ok(())
    }

    /// Waits until no line waits, at most for `timeout`; returns false if some still wait.
    /// [`dropped_lines`](Self::dropped_lines) counts those that are dropped, and a line on stderr reports them.
    ///
    /// Lines wait in the queue of [`Logging::non_blocking`](crate::Logging::non_blocking); with it, call this at the end
    /// of `main`. Without it, only the rest of a line can wait that a stdout with `O_NONBLOCK` took in part.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use std::time::Duration;
    /// use logtracer_sdk::Logging;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let lines = Arc::new(Mutex::new(Vec::new()));
    /// let sink = Arc::clone(&lines);
    /// let logging = Logging::new("my-project", "shop").non_blocking().output(move |line| {
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

    /// Returns the number of dropped lines: stdout was closed, full or blocked, the queue was full, or
    /// [`output`](crate::Logging::output) panicked in the thread of the queue.
    ///
    /// They are also reported on stderr, at most once a minute and at a flush, and in a WARNING line as soon as a line can be written.
    pub fn dropped_lines(&self) -> u64 {
        self.output.dropped()
    }
}
