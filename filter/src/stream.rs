//! [`Stream`]: the callbacks of one request, from its headers to its line and span.

use std::sync::Arc;

use crate::access_log;
use crate::captured_headers::CapturedHeaders;
use crate::completed::Completed;
use crate::grpc_status::GrpcStatus;
use crate::host::{ForwardingHost, HeadersHost, HeadersOf, LogHost};
use crate::live;
use crate::plugin::Plugin;
use crate::request::{Duplicate, Request};
use crate::request_head::Protocol;
use crate::response_header;
use crate::span;

/// One request. Any callback may be the first one and none is certain: an earlier filter may respond, and the
/// caller may close the connection at any time.
#[derive(Debug)]
pub struct Stream {
    plugin: Arc<Plugin>,
    /// `None` until the headers are read.
    request: Option<Request>,
    /// Another instance of the filter handles the request.
    is_duplicate: bool,
}

impl Stream {
    /// Creates the stream of a request before any of its headers are read.
    pub const fn new(plugin: Arc<Plugin>) -> Self {
        Self { plugin, request: None, is_duplicate: false }
    }

    /// Reads the request's headers and sets those of the next hop.
    pub fn on_request_headers(&mut self, host: &impl ForwardingHost) {
        match Request::forward(host, &self.plugin) {
            Ok(request) => self.request = Some(request),
            Err(Duplicate) => self.is_duplicate = true,
        }
    }

    /// Returns whether the headers were read.
    pub const fn has_headers(&self) -> bool {
        self.request.is_some()
    }

    /// Returns whether another instance of the filter handles the request.
    pub const fn is_duplicate(&self) -> bool {
        self.is_duplicate
    }

    /// Ends the time in which another instance of the filter in this stream would do nothing.
    pub fn end_live(&mut self) {
        if let Some(request) = &mut self.request {
            request.live = None;
        }
    }

    /// Adds the trace id to the response's headers if that is configured.
    pub fn on_response_headers(&mut self, host: &impl ForwardingHost) {
        let Some(request) = &mut self.request else { return };
        for header in &self.plugin.config.response_header {
            response_header::write(host, header, &request.decision.context);
        }
        // Envoy measures the first byte of all other responses.
        if request.head.may_stay_open() {
            request.response_start = host.unix_nanos();
        }
    }

    /// Reads the status of a gRPC call. Few other responses have trailers.
    ///
    /// If Envoy's gRPC-Web filter comes before this filter, it moves the trailers into the body after this callback.
    pub fn on_response_trailers(&mut self, host: &impl HeadersHost) {
        if let Some(request) = &mut self.request
            && request.head.protocol != Protocol::Http
        {
            request.grpc_status = GrpcStatus::read(host, HeadersOf::Trailers);
        }
    }

    /// Writes the line and the span of the completed request.
    pub fn on_log(&mut self, host: &impl LogHost) {
        let plugin = &*self.plugin;
        // Rule 54: an earlier filter may have responded before this one read the request's headers, which are still
        // available.
        let not_forwarded = || Request::not_forwarded(host, plugin);
        let request = if self.is_duplicate {
            Err(Duplicate)
        } else {
            self.request.take().map_or_else(not_forwarded, Ok)
        };
        let Ok(request) = request else { return };
        live::note_logged(host, &plugin.name);
        let may_be_exported = span::may_be_exported(&plugin.config, &request);
        if plugin.config.log_format.is_none() && !may_be_exported {
            host.skip_line();
            return;
        }
        host.with_properties(|properties| {
            let details = properties.may_have_notable_code_details().then(|| host.code_details());
            let details = details.as_deref().unwrap_or_default();
            let grpc_status = request.read_grpc_status(host);
            let url = request.head.url();
            let completed =
                Completed::new(plugin, &request, properties, details, grpc_status.as_deref(), &url);
            write(host, &completed, may_be_exported);
        });
    }
}

fn write(host: &impl LogHost, completed: &Completed<'_>, may_be_exported: bool) {
    let format = access_log::format(completed);
    if format.is_none() {
        host.skip_line();
    }
    let export_reason = if may_be_exported { span::export_reason(completed) } else { None };
    if format.is_none() && export_reason.is_none() {
        return;
    }
    // Read late, because the response's headers cost one more host call.
    let plugin = completed.plugin;
    let captured = CapturedHeaders::read(host, &plugin.config, &completed.request.head);
    if let Some(format) = format {
        access_log::write(host, completed, format, &captured);
    }
    if let Some(export_reason) = export_reason {
        let trace_id = completed.request.decision.context.trace_id;
        plugin.buffer_span(host, trace_id, |out| span::write(host, completed, export_reason, &captured, out));
    }
}
