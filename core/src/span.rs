//! [`Span`]: one operation in a trace, as it is exported.

use crate::{RemoteContext, TraceContext};

/// A finished span. [`otlp::write_span`](crate::otlp::write_span) writes it together with its attributes.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// The ids of the span, its trace and its parent.
    pub context: TraceContext,
    /// The W3C `tracestate` of the trace, or empty.
    pub tracestate: &'a str,
    /// The name, of low cardinality: many spans share one name.
    pub name: &'a [u8],
    /// The role of the span in a call.
    pub kind: SpanKind,
    /// The start, in nanoseconds since 1970.
    pub start_unix_nanos: u64,
    /// The end, in nanoseconds since 1970. An end before the start is exported as the start.
    pub end_unix_nanos: u64,
    /// The status.
    pub status: SpanStatus,
    /// A span of another trace that caused this one: the caller's span if its trace was not continued.
    pub link: Option<Link<'a>>,
}

/// A reference to a span of another trace.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The ids of the span and its trace.
    pub context: RemoteContext,
    /// The W3C `tracestate` of the trace, or empty.
    pub tracestate: &'a str,
}

/// The role of a span in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// Work inside one process.
    Internal,
    /// The server side of a request.
    Server,
    /// The client side of a request.
    Client,
    /// The sender of a message that is processed later.
    Producer,
    /// The receiver of a message.
    Consumer,
}

/// The status of a span. There is no `Ok`: OpenTelemetry leaves it to applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanStatus {
    /// No error is known.
    Unset,
    /// The operation failed.
    Error,
}
