//! The times of spans and log records that a service accepts.

use std::time::Duration;

use crate::deliver::{Chunk, DeliveryError};

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Time passes while a call is in flight.
const MARGIN: Duration = Duration::from_secs(60);

/// The times that are accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimits {
    pub(super) past: Duration,
    pub(super) future: Duration,
    /// Returns the time of an item as protobuf, in nanoseconds since 1970. `None` if it has none or cannot be decoded, which
    /// another check reports.
    pub(super) time: fn(&[u8]) -> Option<u64>,
    /// The reason why other items are undeliverable.
    pub(super) reason: &'static str,
}

/// Checks that the times of all items are accepted. Otherwise the chunk has to be split, or is undeliverable.
pub(super) fn check(chunk: &Chunk, limits: TimeLimits, now: u64) -> Result<(), DeliveryError> {
    let (mut inside, mut outside) = (0, 0);
    for envelope in chunk.envelopes() {
        let envelope = envelope.map_err(|reason| DeliveryError::Rejected { reason })?;
        let scopes = envelope.resources.iter().flat_map(|resource_items| &resource_items.scopes);
        for item in scopes.flat_map(|scope_items| &scope_items.items) {
            *if is_inside(item, limits, now) { &mut inside } else { &mut outside } += 1;
        }
    }
    match (inside, outside) {
        (_, 0) => Ok(()),
        (0, _) => Err(DeliveryError::Undeliverable { reason: limits.reason.to_owned() }),
        _ => {
            let chunks = chunk.by_item(|item| is_inside(item, limits, now)).into_values().collect();
            Err(DeliveryError::Split { chunks })
        }
    }
}

fn is_inside(item: &[u8], limits: TimeLimits, now: u64) -> bool {
    let Some(unix_nano) = (limits.time)(item) else { return true };
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let first = now.saturating_sub(nanos(limits.past.saturating_sub(MARGIN)));
    let last = now.saturating_add(nanos(limits.future.saturating_sub(MARGIN)));
    (first..=last).contains(&unix_nano)
}
