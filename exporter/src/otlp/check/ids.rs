//! Checking the ids of a span.

/// The reason why a span is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InvalidIds {
    TraceIdLength,
    TraceIdZero,
    SpanIdLength,
    SpanIdZero,
    ParentSpanIdLength,
}

impl InvalidIds {
    /// Returns the first error in the three ids of a span.
    pub(crate) fn check(trace_id: &[u8], span_id: &[u8], parent_span_id: &[u8]) -> Option<Self> {
        match (trace_id.len(), span_id.len(), parent_span_id.len()) {
            (len, _, _) if len != 16 => Some(Self::TraceIdLength),
            (_, len, _) if len != 8 => Some(Self::SpanIdLength),
            (_, _, len) if len != 8 && len != 0 => Some(Self::ParentSpanIdLength),
            _ if trace_id.iter().all(|byte| *byte == 0) => Some(Self::TraceIdZero),
            _ if span_id.iter().all(|byte| *byte == 0) => Some(Self::SpanIdZero),
            _ => None,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::TraceIdLength => "trace id without 16 bytes",
            Self::TraceIdZero => "trace id is zero",
            Self::SpanIdLength => "span id without 8 bytes",
            Self::SpanIdZero => "span id is zero",
            Self::ParentSpanIdLength => "parent span id without 8 bytes",
        }
    }
}
