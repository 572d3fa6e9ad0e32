//! The start times that Cloud Trace accepts
//! (<https://cloud.google.com/trace/docs/quotas>).

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::deliver::{Chunk, DeliveryError};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const PAST: Duration = Duration::from_secs(14 * DAY.as_secs());
const FUTURE: Duration = Duration::from_secs(3 * DAY.as_secs());

/// Time passes while a call is in flight.
const MARGIN: Duration = Duration::from_secs(60);

/// Checks that the start times of all spans are accepted. Otherwise the chunk has to be split, or is undeliverable.
pub(super) fn check(
    chunk: &Chunk,
    request: &ExportTraceServiceRequest,
    now: u64,
) -> Result<(), DeliveryError> {
    let scopes = request.resource_spans.iter().flat_map(|resource_spans| &resource_spans.scope_spans);
    let spans = || scopes.clone().flat_map(|scope_spans| &scope_spans.spans);
    let outside = spans().filter(|span| !is_inside(span, now)).count();
    if outside == 0 {
        return Ok(());
    }
    if outside == spans().count() {
        let reason = "Cloud Trace accepts spans that start within the last 14 or the next 3 days";
        return Err(DeliveryError::Undeliverable { reason: reason.to_owned() });
    }
    let key = |span: &[u8]| Span::decode(span).is_ok_and(|span| is_inside(&span, now));
    Err(DeliveryError::Split { chunks: chunk.by_item(key).into_values().collect() })
}

fn is_inside(span: &Span, now: u64) -> bool {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let first = now.saturating_sub(nanos(PAST - MARGIN));
    let last = now.saturating_add(nanos(FUTURE - MARGIN));
    (first..=last).contains(&span.start_time_unix_nano)
}
