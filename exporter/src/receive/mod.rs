//! The way in: a request becomes one batch in the outbox, or an answer that says what was wrong with it.
//!
//! ```text
//!  body (limits: size, time, memory) ──► decode (scan; JSON becomes protobuf) ──► outbox ──► status (the answer)
//! ```

mod body;
mod decode;
mod limits;
mod otlp_http;
mod scan;
mod status;

pub(crate) use otlp_http::router;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::metrics::{Metrics, Reason};
use crate::outbox::{AppendError, Outbox, Signal};
use decode::{Decoded, Invalid};
use limits::Budget;
use status::Refusal;

/// Whether a body takes too much memory to be decoded. The outbox gets no such body from here, but a version without
/// this bound may have left one.
pub(crate) fn is_too_large(signal: Signal, body: &[u8]) -> bool {
    matches!(scan::check(signal, body), scan::Verdict::TooLarge | scan::Verdict::TooMany)
}

/// What one span takes in memory when decoded.
pub(crate) fn decoded_span_bytes(span: &[u8]) -> usize {
    scan::span_bytes(span)
}

/// What every receiver needs.
#[derive(Debug, Clone)]
pub(crate) struct Receive {
    outbox: Outbox,
    metrics: Arc<Metrics>,
    budget: Arc<Budget>,
}

impl Receive {
    pub(crate) fn new(outbox: Outbox, metrics: Arc<Metrics>) -> Self {
        Self { outbox, metrics, budget: Arc::new(Budget::default()) }
    }

    /// Commits what is valid; returns how many spans were not, by reason.
    async fn commit(&self, decoded: Decoded) -> Result<BTreeMap<Invalid, u32>, Refusal> {
        let Decoded { body, spans, invalid } = decoded;
        let rejected: u32 = invalid.values().sum();
        self.metrics.received.spans.inc_by(u64::from(spans) + u64::from(rejected));
        for (reason, count) in &invalid {
            let label = Reason { reason: reason.as_str() };
            self.metrics.spans_rejected.get_or_create(&label).inc_by(u64::from(*count));
        }
        if spans > 0 {
            self.outbox.append(Signal::Traces, body, spans).await.map_err(|error| match error {
                AppendError::Full { waiting_bytes } => Refusal::Full { waiting_bytes },
                AppendError::Unwritable(reason) => {
                    Refusal::Unavailable(format!("cannot write the outbox: {reason}"))
                }
                AppendError::Closed => Refusal::Unavailable("the exporter is shutting down".to_owned()),
            })?;
        }
        Ok(invalid)
    }
}
