//! The trace in the headers of a message: read, and written.

use logtracer_core::propagation::{Carrier, Format, Formats, Header, Propagator, TraceHeaders, TraceState};

use super::{Headers, HeadersMut};
use crate::current::{Carried, Scope, TraceContextExt, current_trace, join, tracestate_of};
use crate::{Sampling, TraceContext};

/// The attributes of Google's Pub/Sub clients.
const GOOGLE_TRACEPARENT: &str = "googclient_traceparent";
const GOOGLE_TRACESTATE: &str = "googclient_tracestate";

/// Returns the context of the span that sent a message, or `None` if the message has no valid trace.
///
/// A trace without a span, as in `x-cloud-trace-context: <trace id>`, gets a new span id.
///
/// It reads `traceparent`, `b3`, the headers `x-b3-*`, `x-cloud-trace-context` and `grpc-trace-bin`, and
/// `googclient_traceparent`, which Google's Pub/Sub clients write.
///
/// ```
/// use logtracer_sdk::messaging::extract;
///
/// let value = "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01";
/// for name in ["traceparent", "googclient_traceparent"] {
///     let sender = extract(&[(name, value)]).unwrap();
///     assert_eq!(sender.to_traceparent(), value);
/// }
/// assert_eq!(extract(&[("traceparent", "nonsense")]), None);
/// ```
pub fn extract<H: Headers + ?Sized>(headers: &H) -> Option<TraceContext> {
    Received::from_headers(headers).context
}

/// Writes the current trace into the headers of a message; does nothing without a current trace.
///
/// It writes `traceparent` and `tracestate`, and removes other trace headers, so that no two of them disagree.
/// `traceparent` has no undecided sampling and no debug flag. In a trace with one of these, `b3` is written as well.
///
/// ```
/// use std::collections::HashMap;
/// use logtracer_sdk::messaging::inject;
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::{Sampling, TraceContext};
///
/// let context = TraceContext::new_root().with_sampling(Sampling::Accept);
/// let mut attributes: HashMap<String, String> = HashMap::new();
/// context.run(|| inject(&mut attributes));
/// assert_eq!(attributes["traceparent"], context.to_traceparent());
/// assert_eq!(attributes.len(), 1);
/// ```
pub fn inject<H: HeadersMut + ?Sized>(headers: &mut H) {
    let Some(context) = current_trace() else { return };
    let carried = tracestate_of(context.trace_id);
    let tracestate = carried.as_deref().and_then(|carried| carried.tracestate.as_deref());
    let tracestate = tracestate.map(TraceState::from_line).unwrap_or_default();
    let formats: &[Format] = match context.sampling {
        Sampling::Accept | Sampling::Deny => &[Format::TraceContext],
        Sampling::Defer | Sampling::Debug => &[Format::TraceContext, Format::B3],
    };
    let propagator = Propagator { inject: Formats::of(formats), ..Propagator::default() };
    propagator.inject(&context, &tracestate, &mut Writer(headers));
    headers.remove(GOOGLE_TRACEPARENT);
    headers.remove(GOOGLE_TRACESTATE);
}

/// A received message's trace.
pub(super) struct Received {
    /// The span of the sender. A trace without a span gets a new one.
    context: Option<TraceContext>,
    has_span: bool,
    sampling: Sampling,
    tracestate: Option<Box<str>>,
}

impl Received {
    pub(super) fn from_headers<H: Headers + ?Sized>(headers: &H) -> Self {
        let mut lines = TraceHeaders::default();
        for header in Header::ALL {
            if let Some(value) = headers.get(header.name()) {
                lines.push(header, value);
            }
        }
        let received = Self::from_lines(&lines);
        if received.context.is_some() {
            return received;
        }
        let mut lines = TraceHeaders::default();
        for (header, name) in
            [(Header::Traceparent, GOOGLE_TRACEPARENT), (Header::Tracestate, GOOGLE_TRACESTATE)]
        {
            if let Some(value) = headers.get(name) {
                lines.push(header, value);
            }
        }
        let by_google = Self::from_lines(&lines);
        if by_google.context.is_some() { by_google } else { received }
    }

    fn from_lines(lines: &TraceHeaders<'_>) -> Self {
        let extracted = Propagator::default().extract(lines);
        Self {
            context: extracted.parent.map(join),
            has_span: extracted.parent.is_some_and(|parent| parent.span_id.is_some()),
            sampling: extracted.sampling,
            tracestate: extracted.tracestate.with_line(|line| Box::from(line)),
        }
    }

    /// Returns the span of the sender, which a trace without a span does not have.
    pub(super) fn sender(&self) -> Option<TraceContext> {
        self.context.filter(|_| self.has_span)
    }

    /// Returns the scope of the sender's span. A message without a trace has none, unless its sender denied sampling.
    pub(super) fn scope(self) -> Option<Scope> {
        let Self { context, sampling, tracestate, .. } = self;
        match context {
            Some(context) => {
                let trace_id = context.trace_id;
                let carried = tracestate.is_some().then(|| Carried::tracestate(trace_id, tracestate));
                Some(Scope::new(context, carried))
            }
            None if sampling == Sampling::Deny => {
                Some(Scope::new(TraceContext::new_root().with_sampling(sampling), None))
            }
            None => None,
        }
    }
}

struct Writer<'a, H: ?Sized>(&'a mut H);

impl<H: HeadersMut + ?Sized> Carrier for Writer<'_, H> {
    fn set(&mut self, header: Header, value: &str) {
        self.0.set(header.name(), value);
    }

    fn remove(&mut self, header: Header) {
        self.0.remove(header.name());
    }
}
