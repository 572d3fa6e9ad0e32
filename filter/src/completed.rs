//! [`Completed`]: a completed request, from the headers that the filter read and the properties that Envoy measured.

use core::time::Duration;

use logtracer_core::request::{Exchange, Outcome, url};
use logtracer_core::span::SpanKind;

use crate::code_details;
use crate::grpc_status::GrpcStatus;
use crate::kept_head::KeptHead;
use crate::plugin::Plugin;
use crate::properties::Properties;
use crate::request::Request;
use crate::request_head::Protocol;
use crate::response_flags;

/// A completed request.
pub(crate) struct Completed<'c> {
    pub(crate) plugin: &'c Plugin,
    pub(crate) request: &'c Request,
    pub(crate) properties: &'c Properties<'c>,
    /// Empty if they only report that the upstream responded.
    pub(crate) code_details: &'c [u8],
    pub(crate) kind: SpanKind,
    pub(crate) exchange: Exchange<'c>,
}

impl<'c> Completed<'c> {
    pub(crate) fn new(
        plugin: &'c Plugin,
        request: &'c Request,
        properties: &'c Properties<'c>,
        code_details: &'c [u8],
        grpc_status: Option<&'c GrpcStatus>,
        url: &'c [u8],
    ) -> Self {
        let head = &request.head;
        let exchange = Exchange {
            method: head.method(),
            scheme: head.scheme(),
            authority: head.authority(),
            target: head.target(),
            url,
            protocol: properties.protocol,
            user_agent: head.user_agent(),
            referer: head.referer(),
            // The address of a Unix socket is a path.
            remote_ip: Some(url::without_port(properties.remote))
                .filter(|ip| !ip.contains(&b'/'))
                .unwrap_or_default(),
            server_ip: url::without_port(properties.upstream),
            request_size: request_size(request, properties),
            response_size: properties.response_size,
            route: properties.route,
            outcome: outcome(&request.head, properties, code_details, grpc_status.map(|status| status.code)),
            grpc_message: grpc_status.map_or(b"", |status| &status.message),
            duration: Duration::from_nanos(properties.duration),
        };
        let notable = if code_details == b"via_upstream" { b"" } else { code_details };
        let kind = plugin.span_kind(properties.is_outbound);
        Self { plugin, request, properties, code_details: notable, kind, exchange }
    }

    /// Returns whether the request took longer than `sampling.keep_slower_than`.
    pub(crate) fn is_slow(&self) -> bool {
        self.plugin.config.sampling.keep_slower_than.is_some_and(|limit| self.exchange.duration > limit)
    }
}

/// Returns the bytes that the caller sent: the headers as they reached the filter, because Envoy's count has what filters
/// add, and the body. A caller can announce a longer body than it sends.
fn request_size(request: &Request, properties: &Properties<'_>) -> u64 {
    request.header_bytes.saturating_add(properties.request_body_size.min(properties.request_size))
}

fn outcome(
    head: &KeptHead,
    properties: &Properties<'_>,
    code_details: &[u8],
    grpc_code: Option<u32>,
) -> Outcome {
    let is_disconnect = response_flags::has_downstream_disconnect(properties.response_flags)
        // Envoy sets the same flag if it closed the connection itself.
        && !code_details::is_local_disconnect(code_details);
    let is_cancelled = is_disconnect || is_reset_without_flag(properties, code_details);
    let incomplete_cause = || code_details::incomplete_cause(properties.status, code_details);
    match (head.protocol, u16::try_from(properties.status).unwrap_or(0)) {
        (Protocol::Http, 0) if is_cancelled => Outcome::Aborted,
        (Protocol::Http, 0) => Outcome::Http(unsent_status(properties)),
        (Protocol::Http, status) => match incomplete_cause() {
            Some(cause) if !head.is_tunnel(status) => Outcome::Incomplete { status, cause },
            _ => Outcome::Http(status),
        },
        (_, http) if is_cancelled && grpc_code.is_none() => Outcome::cancelled_grpc(http),
        (_, 0) => Outcome::from_grpc(None, unsent_status(properties)),
        // Without the rest of the body there is no code in it.
        (Protocol::GrpcWeb, http) if incomplete_cause().is_none() => Outcome::from_grpc_web(grpc_code, http),
        (_, http) => Outcome::from_grpc(grpc_code, http),
    }
}

/// Returns whether the caller reset a stream before the response without a flag of Envoy: over HTTP/3, and since Envoy 1.40
/// over HTTP/2 with the code `NO_ERROR`.
fn is_reset_without_flag(properties: &Properties<'_>, code_details: &[u8]) -> bool {
    matches!(properties.protocol, b"HTTP/3" | b"HTTP/2")
        && properties.status == 0
        && properties.response_flags == 0
        && code_details.is_empty()
}

/// Returns the status of a request that ended before a response was sent, though the caller waited for it.
fn unsent_status(properties: &Properties<'_>) -> u16 {
    if response_flags::is_protocol_error_of_caller(properties.response_flags) { 400 } else { 503 }
}
