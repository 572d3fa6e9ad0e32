//! [`SpanExporter`]: the handle of the running export.

use std::time::{Duration, Instant};

use super::loss_log::When;
use super::queue::Queue;
use super::{DroppedSpans, FlushError};
use crate::targets;

/// How long dropping the [`SpanExporter`] waits.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// A handle of the running export. Dropping it sends the remaining spans, and waits at most two seconds.
///
/// Keep it until the end of `main`.
///
/// ```
/// use logtracer_sdk::spans::{SpanExport, SpanExporter};
///
/// fn main() -> Result<(), logtracer_sdk::spans::SpanExportError> {
///     let exporter: SpanExporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
///     // … the service …
///     assert_eq!(exporter.dropped_spans(), 0);
///     Ok(()) // the remaining spans are sent here
/// }
/// ```
#[derive(Debug)]
#[must_use = "dropping this ends the export"]
pub struct SpanExporter {
    /// `None` if the environment disables the export.
    pub(super) queue: Option<&'static Queue>,
}

impl SpanExporter {
    /// Waits until all spans that have ended are sent, at most for `timeout`. Spans that end meanwhile do not count.
    ///
    /// A batch that the exporter does not accept is dropped after the retry time (see
    /// [`max_retry_time`](super::SpanExport::max_retry_time)), so this returns even with a longer timeout.
    /// It blocks: in async code call it in `spawn_blocking`.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use logtracer_sdk::spans::{SpanExport, span};
    ///
    /// let exporter = SpanExport::new("shop", "http://127.0.0.1:1").install()?; // nothing listens there
    /// assert!(exporter.flush(Duration::from_secs(5)).is_ok()); // nothing waits
    /// drop(span("nightly").enter());
    /// let error = exporter.flush(Duration::from_millis(100)).unwrap_err();
    /// assert_eq!(error.waiting(), 1);
    /// # std::mem::forget(exporter);
    /// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If spans were dropped since the last flush, for whatever reason, or if some still wait after `timeout`.
    /// Each dropped span is in the error of one flush.
    pub fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        self.queue.map_or(Ok(()), |queue| queue.flush(timeout))
    }

    /// Returns the number of all dropped spans, whatever the reason is.
    pub fn dropped_spans(&self) -> u64 {
        self.dropped().total()
    }

    /// Returns the numbers of dropped spans by reason.
    pub fn dropped(&self) -> DroppedSpans {
        self.queue.map(|queue| queue.losses.counts()).unwrap_or_default()
    }
}

impl Drop for SpanExporter {
    fn drop(&mut self) {
        let Some(queue) = self.queue else { return };
        let start = Instant::now();
        // Closed only then, because a closed queue retries nothing.
        let _ = queue.flush(DROP_TIMEOUT);
        queue.close();
        // Also those that have ended meanwhile.
        let left = DROP_TIMEOUT.saturating_sub(start.elapsed());
        let waiting = queue.flush(left).err().map_or(0, |error| error.waiting());
        // The process may end before the thread that sends spans logs them.
        queue.log.log_losses(&queue.losses, When::Now);
        if waiting > 0 {
            tracing::warn!(
                target: targets::SPANS,
                waiting_spans = waiting,
                "the export ends before all spans are sent; waiting spans: {waiting}"
            );
        }
    }
}
