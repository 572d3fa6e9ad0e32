//! What a span says about its trace.

use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::short_name::short;
use crate::otlp::in_place::SpanRef;

/// What a span adds to the row of its trace.
#[derive(Debug)]
pub(super) struct SpanSummary {
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
    pub(super) is_error: bool,
    pub(super) has_parent: bool,
    /// Truncated.
    pub(super) name: String,
}

impl SpanSummary {
    pub(super) fn new(span: &SpanRef<'_>) -> Self {
        let (start_ns, end_ns) = interval(span);
        Self {
            start_ns,
            end_ns,
            is_error: span.status() == StatusCode::Error,
            has_parent: span.parent_span_id.is_some(),
            name: short(span.name).into_owned(),
        }
    }
}

/// Returns the start and the end in the form of the database. An end before the start is replaced by the start.
fn interval(span: &SpanRef<'_>) -> (i64, i64) {
    let nanos = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
    let start = nanos(span.start_time_unix_nano);
    (start, nanos(span.end_time_unix_nano).max(start))
}
