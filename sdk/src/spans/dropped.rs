//! [`DroppedSpans`]: how many spans were dropped, by [`DropReason`].

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why spans were dropped.
///
/// ```
/// use logtracer_sdk::spans::DropReason;
///
/// assert_eq!(DropReason::BufferFull.to_string(), "buffer full");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The buffer was full: the oldest spans were dropped.
    BufferFull,
    /// The span is larger than the buffer, or the exporter refused it alone with the status 413.
    TooLarge,
    /// The exporter rejected the spans: 400, another status of a client error, or a partial success.
    Rejected,
    /// The exporter redirected the request (3xx). Redirects are not followed.
    Redirected,
    /// The token or the credentials were missing or wrong until the retry time ended: 401, 403, 407.
    Unauthorized,
    /// The endpoint was not one of OTLP until the retry time ended: 404, 405, 406, 410, 411, 415, 501, 505, or a
    /// success with a body that is not OTLP.
    WrongEndpoint,
    /// The exporter was unavailable until the retry time ended: 408, 429 and the other 5xx.
    Unavailable,
    /// No connection or no response until the retry time ended.
    Unreachable,
    /// The span ended after the [`SpanExporter`](super::SpanExporter) was dropped.
    Closed,
}

impl DropReason {
    const ALL: [Self; 9] = [
        Self::BufferFull,
        Self::TooLarge,
        Self::Rejected,
        Self::Redirected,
        Self::Unauthorized,
        Self::WrongEndpoint,
        Self::Unavailable,
        Self::Unreachable,
        Self::Closed,
    ];

    /// Returns the reason in lower case, such as for the label of a metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BufferFull => "buffer full",
            Self::TooLarge => "too large",
            Self::Rejected => "rejected",
            Self::Redirected => "redirected",
            Self::Unauthorized => "unauthorized",
            Self::WrongEndpoint => "wrong endpoint",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
            Self::Closed => "closed",
        }
    }

    /// Returns true if an operator has to correct something before a retry can succeed.
    pub(super) const fn is_configuration(self) -> bool {
        matches!(self, Self::Unauthorized | Self::WrongEndpoint)
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The numbers of dropped spans by reason, such as for metrics.
///
/// ```
/// use logtracer_sdk::spans::{DropReason, SpanExport, span};
///
/// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").max_buffer_bytes(10).install()?;
/// drop(span("longer than that").enter());
///
/// let dropped = exporter.dropped();
/// assert_eq!((dropped.total(), dropped.by(DropReason::TooLarge)), (1, 1));
/// assert_eq!(dropped.iter().collect::<Vec<_>>(), [(DropReason::TooLarge, 1)]);
/// assert_eq!(dropped.to_string(), "1 too large");
/// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct DroppedSpans {
    /// In the order of [`DropReason::ALL`].
    counts: [u64; DropReason::ALL.len()],
}

impl DroppedSpans {
    /// Returns the number of all dropped spans.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the number of spans that were dropped for this reason.
    pub fn by(&self, reason: DropReason) -> u64 {
        self.counts.get(reason as usize).copied().unwrap_or(0)
    }

    /// Returns true if no span was dropped.
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// Iterates over the reasons for which spans were dropped, and their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().zip(self.counts).filter(|(_, count)| *count > 0)
    }

    /// Returns what was dropped since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        counts
            .iter_mut()
            .zip(earlier.counts)
            .for_each(|(count, before)| *count = count.saturating_sub(before));
        Self { counts }
    }
}

impl fmt::Display for DroppedSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (reason, count) in self.iter() {
            write!(f, "{separator}{count} {reason}")?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

impl fmt::Debug for DroppedSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DroppedSpans({self})")
    }
}

/// The counters of dropped spans, and the last errors.
#[derive(Debug, Default)]
pub(super) struct Losses {
    counts: [AtomicU64; DropReason::ALL.len()],
    errors: Mutex<LastErrors>,
}

#[derive(Debug, Default)]
struct LastErrors {
    /// The last error that dropped spans.
    loss: Option<(DropReason, Arc<str>)>,
    /// The error of the last attempt, if it is retried.
    retry: Option<Arc<str>>,
}

impl Losses {
    pub(super) fn add(&self, reason: DropReason, spans: usize) {
        if let Some(count) = self.counts.get(reason as usize) {
            count.fetch_add(spans as u64, Ordering::Relaxed);
        }
    }

    /// Counts spans that were dropped because of an error.
    pub(super) fn add_failed(&self, failure: &Failure, spans: usize) {
        self.errors().loss = Some((failure.reason, failure.error.as_str().into()));
        self.add(failure.reason, spans);
    }

    /// Keeps the error of an attempt that is retried, or clears it after one that is not.
    pub(super) fn set_retry_error(&self, failure: Option<&Failure>) {
        self.errors().retry = failure.map(|failure| failure.error.as_str().into());
    }

    pub(super) fn counts(&self) -> DroppedSpans {
        let mut counts = [0; DropReason::ALL.len()];
        counts.iter_mut().zip(&self.counts).for_each(|(to, from)| *to = from.load(Ordering::Relaxed));
        DroppedSpans { counts }
    }

    /// Returns the last error that dropped some of these spans, or else that of an attempt that is retried.
    pub(super) fn last_error(&self, dropped: &DroppedSpans) -> Option<Arc<str>> {
        let errors = self.errors();
        let loss = errors.loss.as_ref().filter(|(reason, _)| dropped.by(*reason) > 0);
        loss.map(|(_, error)| error).or(errors.retry.as_ref()).cloned()
    }

    fn errors(&self) -> MutexGuard<'_, LastErrors> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A failed attempt to send spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: DropReason,
    /// The error, bounded, without secrets and control characters.
    pub(super) error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_in_the_order_of_their_numbers() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
        }
    }

    #[test]
    fn counts_by_reason() {
        let losses = Losses::default();
        losses.add(DropReason::BufferFull, 3);
        let before = losses.counts();
        losses.add_failed(&Failure { reason: DropReason::Rejected, error: "400 Bad Request".into() }, 2);
        losses.add(DropReason::BufferFull, 1);
        assert_eq!(losses.counts().to_string(), "4 buffer full, 2 rejected");
        assert_eq!(losses.counts().since(&before).to_string(), "1 buffer full, 2 rejected");
        losses.set_retry_error(Some(&Failure { reason: DropReason::Unavailable, error: "503".into() }));
        assert_eq!(losses.last_error(&losses.counts()).as_deref(), Some("400 Bad Request"));
        assert_eq!(losses.last_error(&before).as_deref(), Some("503"));
        losses.set_retry_error(None);
        assert_eq!(losses.last_error(&before), None);
        assert_eq!(DroppedSpans::default().to_string(), "none");
    }
}
