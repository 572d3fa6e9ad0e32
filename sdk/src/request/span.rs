//! [`RequestSpan`]: the span of a request; without the feature `spans` no request has one.

use logtracer_core::otlp::Attributes;
use logtracer_core::request::{Exchange, Outcome};

use super::Side;
use super::record::EndError;
#[cfg(feature = "spans")]
pub(crate) use crate::spans::RequestSpan;

/// The end of a request that has a span.
pub(super) struct SpanEnd<'a> {
    pub(super) exchange: &'a Exchange<'a>,
    pub(super) side: Side,
    pub(super) is_grpc: bool,
    /// The name of the span, instead of that of a request.
    pub(super) name: Option<&'a str>,
    /// True for an error of the span, whatever the response is.
    pub(super) is_failed: bool,
    pub(super) error: EndError<'a>,
}

impl SpanEnd<'_> {
    pub(super) fn end(&self, span: RequestSpan) {
        let mut name = Vec::with_capacity(64);
        match self.name {
            Some(own) => name.extend_from_slice(own.as_bytes()),
            None => self.name_source().write_span_name(&mut name),
        }
        span.end(self.exchange, &name, self.is_failed, |attributes| self.write_attributes(attributes));
    }

    /// Returns the parts of the request that its name is made of.
    fn name_source(&self) -> Exchange<'_> {
        match (self.side, self.exchange.outcome) {
            // Only the server knows its routes. The path of a call has any number of values.
            (Side::Client, Outcome::Http(_) | Outcome::Incomplete { .. } | Outcome::Aborted)
                if !self.is_grpc =>
            {
                Exchange { target: b"", ..*self.exchange }
            }
            _ => *self.exchange,
        }
    }

    fn write_attributes(&self, attributes: &mut Attributes<'_>) {
        let kind = self.side.kind();
        let is_client = self.side == Side::Client;
        // `http.route` is of servers.
        let route = if is_client || self.is_grpc { b"" } else { self.exchange.route };
        let exchange = Exchange { route, ..*self.exchange };
        match self.error.error_type {
            Some(error_type) => exchange.write_attributes_of_error(kind, error_type, attributes),
            None => exchange.write_attributes(kind, attributes),
        }
        if is_client {
            attributes.text("url.template", self.exchange.route);
        }
        attributes.text("error.message", self.error.text.unwrap_or_default());
    }
}

#[cfg(not(feature = "spans"))]
#[derive(Debug)]
pub(crate) enum RequestSpan {}

#[cfg(not(feature = "spans"))]
impl RequestSpan {
    pub(crate) fn start(
        _kind: logtracer_core::span::SpanKind,
        context: logtracer_core::TraceContext,
        _wants_span: bool,
        _is_parent: bool,
    ) -> (logtracer_core::TraceContext, Option<Self>) {
        (context, None)
    }

    pub(crate) fn end(
        self,
        _exchange: &Exchange<'_>,
        _name: &[u8],
        _is_failed: bool,
        _attributes: impl FnOnce(&mut Attributes<'_>),
    ) {
        match self {}
    }
}
