//! The sink trait: what the delivery knows of a destination, and what a destination can answer.

use std::future::Future;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::Chunk;
use crate::otlp::{Signal, check};

/// A destination of spans.
pub(crate) trait Sink: Send + Sync + 'static {
    /// How it wants to be served.
    fn pace(&self) -> Pace;

    /// Hands a part over; `Ok` means that the sink has it.
    ///
    /// The same spans can come again (after a crash, or when the answer was lost): a sink dedups or tolerates that.
    /// The future may be dropped at shutdown, which counts as not accepted.
    fn deliver(&self, chunk: &Chunk) -> impl Future<Output = Result<Accepted, DeliveryError>> + Send;
}

/// How a sink wants to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// How many calls may be out at one time.
    pub(crate) calls: usize,
    /// What one call carries at most; a single item can be larger.
    pub(crate) items: u32,
    pub(crate) bytes: usize,
    /// How long the first of a call waits for more.
    pub(crate) linger: Duration,
}

/// What became of an accepted part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Accepted {
    /// Some of it was not taken, and the sink does not say which.
    pub(crate) rejected: Option<RejectedItems>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectedItems {
    pub(crate) items: u32,
    pub(crate) reason: String,
}

/// What was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The access to what is named, or there is no such thing.
    Access,
    /// The token: another one may be good.
    Token,
    /// The call, as if somebody else than the sink had answered.
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
    /// The sink accepts nothing of this chunk before the operator changes something.
    Undeliverable { reason: String },
    /// Nothing was sent: the chunk has to be delivered as these chunks.
    Split { chunks: Vec<Chunk> },
}

/// Reads the spans of a part, if that takes a bounded amount of memory: a half of it may.
pub(crate) fn decode(chunk: &Chunk) -> Result<ExportTraceServiceRequest, DeliveryError> {
    let body = chunk.body();
    let refused = |reason: String| DeliveryError::Rejected { reason };
    if check::is_too_large(Signal::Traces, &body) {
        return Err(refused("it takes too much memory to decode".to_owned()));
    }
    ExportTraceServiceRequest::decode(body).map_err(|error| refused(format!("cannot be decoded: {error}")))
}
