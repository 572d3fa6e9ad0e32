//! [`Span`]: one piece of work in a trace, as it is exported.

use crate::{RemoteContext, TraceContext};

/// A finished span, borrowed from whoever recorded it; its attributes are written beside it, see
/// [`otlp::write_span`](crate::otlp::write_span).
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// Its ids, and the ids of its trace and parent.
    pub context: TraceContext,
    /// The W3C `tracestate` that came with the trace, empty for none.
    pub tracestate: &'a str,
    /// What it is called: few names for many spans.
    pub name: &'a [u8],
    /// Which side of which call it is.
    pub kind: SpanKind,
    /// The start, in nanoseconds since 1970.
    pub start_unix_nanos: u64,
    /// The end, in nanoseconds since 1970; never before the start.
    pub end_unix_nanos: u64,
    /// Whether it failed.
    pub status: SpanStatus,
    /// A span of another trace that this one follows from: the caller's, where its trace was not continued.
    pub link: Option<Link<'a>>,
}

/// A span of another trace.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// Its ids.
    pub context: RemoteContext,
    /// The W3C `tracestate` that came with them, empty for none.
    pub tracestate: &'a str,
}

/// Which side of which call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// Work inside one process.
    Internal,
    /// Serving a request.
    Server,
    /// Making a request.
    Client,
}

/// Whether a span failed; a proxy never says `Ok`, that is for the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanStatus {
    /// Nothing is said.
    Unset,
    /// It failed.
    Error,
}
