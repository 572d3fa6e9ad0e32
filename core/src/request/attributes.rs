//! The span attributes of a request, from OpenTelemetry's semantic conventions for HTTP and RPC.
//!
//! <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>

use super::outcome::NO_RESPONSE;
use super::{Exchange, Outcome, grpc, url};
use crate::otlp::Attributes;
use crate::span::{SpanKind, SpanStatus};

pub(super) const METHODS: [&[u8]; 9] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];

impl Exchange<'_> {
    /// Writes the attributes of the span of this request.
    pub fn write_attributes(&self, kind: SpanKind, attributes: &mut Attributes<'_>) {
        self.write_common(kind, attributes);
        if self.outcome.span_status(kind) == SpanStatus::Error {
            self.write_error_type(kind, attributes);
        }
    }

    /// Writes the attributes of a request that failed with this `error.type`, whatever its outcome is.
    pub fn write_attributes_of_error(
        &self,
        kind: SpanKind,
        error_type: &str,
        attributes: &mut Attributes<'_>,
    ) {
        self.write_common(kind, attributes);
        attributes.text("error.type", error_type);
    }

    // Inlined, so that a program that calls only one of the functions above contains no more code than without the
    // other.
    #[inline(always)]
    fn write_common(&self, kind: SpanKind, attributes: &mut Attributes<'_>) {
        // Clients could otherwise create any number of time series with unknown methods.
        if METHODS.contains(&self.method) {
            attributes.text("http.request.method", self.method);
        } else if !self.method.is_empty() {
            attributes.text("http.request.method", "_OTHER");
            attributes.text("http.request.method_original", self.method);
        }
        if kind == SpanKind::Client {
            attributes.text("url.full", self.url);
        } else {
            attributes.text("url.scheme", self.scheme);
            attributes.text("url.path", self.path());
            attributes.text("url.query", self.query());
        }
        let (host, port) = url::split_port(self.authority);
        attributes.text("server.address", host);
        attributes.number("server.port", port.map_or(0, u64::from));
        if kind == SpanKind::Server {
            attributes.text("client.address", self.remote_ip);
        }
        attributes.text("http.route", self.named_route());
        if let Some(version) = self.protocol.strip_prefix(b"HTTP/") {
            attributes.text("network.protocol.version", version);
        }
        attributes.text("user_agent.original", self.user_agent);
        attributes.number("http.response.status_code", u64::from(self.outcome.status()));
        attributes.number("http.request.size", self.request_size);
        attributes.number("http.response.size", self.response_size);
        if let Outcome::Grpc { code, .. } = self.outcome {
            attributes.text("rpc.system.name", "grpc");
            attributes.text("rpc.method", self.path().strip_prefix(b"/").unwrap_or_default());
            attributes.text("rpc.response.status_code", grpc::name(code));
            // The conventions do not define it. Envoy's tracers use this name.
            attributes.text("grpc.message", self.grpc_message);
        }
    }

    /// Writes the status if it is an error itself, else what failed.
    fn write_error_type(&self, kind: SpanKind, attributes: &mut Attributes<'_>) {
        let status = self.outcome.status();
        let is_error_status = Outcome::Http(status).span_status(kind) == SpanStatus::Error;
        match self.outcome {
            Outcome::Grpc { code, .. } => attributes.text("error.type", grpc::name(code)),
            Outcome::Incomplete { cause, .. } if !is_error_status => {
                attributes.text("error.type", cause.error_type());
            }
            Outcome::Http(NO_RESPONSE) => attributes.text("error.type", "no_response"),
            _ => attributes.number_as_text("error.type", u64::from(status)),
        }
    }
}
