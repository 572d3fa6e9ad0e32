//! [`FlushError`]: what a flush has not sent.

use std::fmt;
use std::sync::Arc;

use super::DroppedSpans;

/// The spans that are not sent: those that were dropped since the last flush, and those that still wait.
///
/// ```
/// use std::time::Duration;
/// use logtracer_sdk::spans::{DropReason, SpanExport, span};
///
/// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").max_buffer_bytes(10).install()?;
/// drop(span("longer than that").enter());
/// let error = exporter.flush(Duration::from_secs(5)).unwrap_err();
/// assert_eq!((error.dropped().by(DropReason::TooLarge), error.waiting()), (1, 0));
/// assert_eq!(error.to_string(), "dropped spans: 1 too large");
/// assert!(exporter.flush(Duration::from_secs(5)).is_ok()); // nothing since then
/// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
/// ```
#[derive(Debug, Clone)]
pub struct FlushError {
    pub(super) dropped: DroppedSpans,
    pub(super) waiting: usize,
    pub(super) last_error: Option<Arc<str>>,
}

impl FlushError {
    /// Returns the spans that were dropped since the last flush, or since the start of the export.
    pub fn dropped(&self) -> DroppedSpans {
        self.dropped
    }

    /// Returns the number of spans that wait, because the timeout was too short. They are still sent later.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns the last error of an attempt that dropped spans or that is retried.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.dropped.is_empty(), self.waiting) {
            (false, 0) => write!(f, "dropped spans: {}", self.dropped)?,
            (true, waiting) => write!(f, "waiting spans: {waiting}")?,
            (false, waiting) => write!(f, "dropped spans: {}; waiting spans: {waiting}", self.dropped)?,
        }
        match &self.last_error {
            Some(error) => write!(f, "; last error: {error}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FlushError {}
