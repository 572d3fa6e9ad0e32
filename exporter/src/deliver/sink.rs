//! The trait of a sink: what the delivery needs from a destination, and how a destination can fail.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use super::{Chunk, Origin, Slice};
use crate::otlp::Signal;

/// A destination of spans, and of log records if it takes them.
pub(crate) trait Sink: Send + Sync + 'static {
    /// Returns the limits of its calls.
    fn pace(&self) -> Pace;

    /// Delivers a chunk. `Ok` means that the sink has accepted it.
    ///
    /// The same items can be delivered again, after a crash or if a response was lost, so a sink has to deduplicate or
    /// tolerate that. The future can be dropped at shutdown, which counts as not accepted.
    fn deliver(&self, chunk: &Chunk) -> impl Future<Output = Result<Accepted, DeliveryError>> + Send;

    /// Returns whether the destination accepts spans now, by a call without any.
    fn accepts_spans(&self) -> impl Future<Output = bool> + Send {
        let nothing = Chunk::new(Signal::Traces, Slice::new(Origin::Batch(0), 0, Bytes::new()));
        async move { self.deliver(&nothing).await.is_ok() }
    }
}

/// The limits of the calls to a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// The number of calls in flight.
    pub(crate) calls: usize,
    /// The number of items in one call.
    pub(crate) items: u32,
    /// The size of one call in bytes. A single item can be larger.
    pub(crate) bytes: usize,
    /// How long the first slice of a call waits for more.
    pub(crate) linger: Duration,
}

/// The outcome of an accepted chunk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Accepted {
    /// Set if the sink rejected some of the items. It does not report which.
    pub(crate) rejected: Option<RejectedItems>,
    /// The number of items that were truncated to get accepted.
    pub(crate) truncated: u32,
    /// The items that the sink did not accept, if it reports which. A call of which all items failed is a failed call.
    pub(crate) failed: Vec<FailedItems>,
    /// Set if the sink dropped some of the items for good.
    pub(crate) dropped: Option<DroppedItems>,
}

/// Items of an accepted chunk that the sink dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DroppedItems {
    pub(crate) items: u32,
    pub(crate) reason: &'static str,
}

impl Accepted {
    /// Returns true if all items of the chunk failed.
    pub(super) fn is_nothing_of(&self, chunk: &Chunk) -> bool {
        let failed: u64 = self.failed.iter().map(|failed| u64::from(failed.chunk.items())).sum();
        failed > 0 && failed >= u64::from(chunk.items())
    }
}

/// Items of an accepted chunk that the sink did not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedItems {
    pub(crate) chunk: Chunk,
    pub(crate) error: DeliveryError,
}

/// The rejected items of an accepted chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectedItems {
    pub(crate) items: u32,
    pub(crate) reason: String,
}

/// The reason why access was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The credentials have no access to the resource, or it does not exist.
    Resource,
    /// The token is not valid. Another one may be.
    Token,
    /// The call itself, as if something other than the sink had answered.
    Call,
}

/// The reasons why a sink did not accept a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeliveryError {
    /// The sink accepts nothing at the moment, and nothing before `retry_after` if that is given.
    Unavailable { reason: String, retry_after: Option<Duration> },
    /// The address or the access is wrong, whatever is sent. The operator has to change that.
    AccessDenied { reason: String, retry_after: Option<Duration>, denied: Denied },
    /// The sink failed, perhaps because of what it was sent.
    Failed { reason: String, retry_after: Option<Duration> },
    /// The sink never accepts this chunk as it is. It may accept a half of it.
    Rejected { reason: String },
    /// The sink accepts no item of this chunk before the operator changes something.
    Undeliverable { reason: String },
    /// The sink has no method for log records, or no permission. Or something else has answered.
    Unsupported { reason: String },
    /// Nothing was sent: a request with all items would be too large. One with a half of them may not be.
    TooLarge { reason: String },
    /// Nothing was sent: the items have to be delivered as these chunks.
    Split { chunks: Vec<Chunk> },
}
