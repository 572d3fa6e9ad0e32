//! [`MessageSpan`]: the span of a message, by OpenTelemetry's conventions; without the feature `spans`, only its trace.

use std::future::Future;

use super::{Destination, MessageFuture};
use crate::TraceContext;

/// `messaging.operation.type`, which is also the name of the operation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    Send,
    Process,
}

#[cfg(feature = "spans")]
pub(super) struct MessageSpan(crate::spans::SpanBuilder);

#[cfg(feature = "spans")]
impl MessageSpan {
    pub(super) fn new(operation: Operation, destination: Option<&Destination>) -> Self {
        use crate::spans::{SpanKind, span};
        let (name, kind) = match operation {
            Operation::Send => ("send", SpanKind::Producer),
            Operation::Process => ("process", SpanKind::Consumer),
        };
        let span = match destination {
            Some(destination) => span(format!("{name} {}", destination.name))
                .attribute("messaging.system", &*destination.system)
                .attribute("messaging.destination.name", &*destination.name),
            None => span(name),
        };
        let span = span
            .kind(kind)
            .attribute("messaging.operation.type", name)
            .attribute("messaging.operation.name", name);
        Self(match destination.and_then(|destination| destination.message_id.as_deref()) {
            Some(id) => span.attribute("messaging.message.id", id),
            None => span,
        })
    }

    /// Adds a link to the span that sent a message.
    pub(super) fn link(self, sender: TraceContext) -> Self {
        Self(self.0.link(sender))
    }

    /// Makes this the root of the current trace, whose context names no span yet.
    pub(super) fn root(self) -> Self {
        Self(self.0.root())
    }

    /// Sets the number of messages in a batch.
    pub(super) fn message_count(self, count: usize) -> Self {
        Self(self.0.attribute("messaging.batch.message_count", count))
    }

    /// Starts the span in the current trace, or in a new one, and runs a future in it.
    pub(super) fn around<F: Future>(self, future: F) -> MessageFuture<F> {
        MessageFuture { inner: self.0.around(future) }
    }
}

#[cfg(not(feature = "spans"))]
pub(super) struct MessageSpan;

#[cfg(not(feature = "spans"))]
impl MessageSpan {
    pub(super) fn new(_operation: Operation, _destination: Option<&Destination>) -> Self {
        Self
    }

    pub(super) fn link(self, _sender: TraceContext) -> Self {
        self
    }

    pub(super) fn root(self) -> Self {
        self
    }

    pub(super) fn message_count(self, _count: usize) -> Self {
        self
    }

    /// Runs a future in the current trace, or in a new one.
    pub(super) fn around<F: Future>(self, future: F) -> MessageFuture<F> {
        use crate::current::{Scope, TraceContextExt};
        let scope = Scope::current().unwrap_or_else(|| Scope::of(TraceContext::new_root()));
        MessageFuture { inner: crate::InTrace::new(Some(scope), future) }
    }
}
