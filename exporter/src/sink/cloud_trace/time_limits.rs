//! The start times that Cloud Trace accepts
//! (<https://cloud.google.com/trace/docs/quotas>).

use std::time::Duration;

use prost::Message;

use crate::deliver::{Chunk, DeliveryError};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const PAST: Duration = Duration::from_secs(14 * DAY.as_secs());
const FUTURE: Duration = Duration::from_secs(3 * DAY.as_secs());

/// Time passes while a call is in flight.
const MARGIN: Duration = Duration::from_secs(60);

/// The start time of a `Span`.
#[derive(Clone, PartialEq, Message)]
struct StartTime {
    #[prost(fixed64, tag = "7")]
    unix_nano: u64,
}

/// Checks that the start times of all spans are accepted. Otherwise the chunk has to be split, or is undeliverable.
pub(super) fn check(chunk: &Chunk, now: u64) -> Result<(), DeliveryError> {
    let (mut inside, mut outside) = (0, 0);
    for envelope in chunk.envelopes() {
        let envelope = envelope.map_err(|reason| DeliveryError::Rejected { reason })?;
        let scopes = envelope.resources.iter().flat_map(|resource_items| &resource_items.scopes);
        for span in scopes.flat_map(|scope_items| &scope_items.items) {
            *if is_inside(span, now) { &mut inside } else { &mut outside } += 1;
        }
    }
    match (inside, outside) {
        (_, 0) => Ok(()),
        (0, _) => {
            let reason = "Cloud Trace accepts spans that start within the last 14 or the next 3 days";
            Err(DeliveryError::Undeliverable { reason: reason.to_owned() })
        }
        _ => {
            let chunks = chunk.by_item(|span| is_inside(span, now)).into_values().collect();
            Err(DeliveryError::Split { chunks })
        }
    }
}

/// The span is a `Span` as protobuf. If it cannot be decoded, another check reports that.
fn is_inside(span: &[u8], now: u64) -> bool {
    let Ok(StartTime { unix_nano }) = StartTime::decode(span) else { return true };
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let first = now.saturating_sub(nanos(PAST - MARGIN));
    let last = now.saturating_add(nanos(FUTURE - MARGIN));
    (first..=last).contains(&unix_nano)
}
