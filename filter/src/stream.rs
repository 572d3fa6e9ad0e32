//! [`Stream`]: the callbacks of one request, from its headers to its line and span.

use std::rc::Rc;

use crate::access_log;
use crate::captured_headers::CapturedHeaders;
use crate::completed::Completed;
use crate::grpc_status::GrpcStatus;
use crate::hostcalls::{self, MapType};
use crate::plugin::Plugin;
use crate::properties::Properties;
use crate::request::{Phase, Request};
use crate::request_head::Protocol;
use crate::span;

/// One request. Any callback may be the first one and none is certain: an earlier filter may respond, and the
/// caller may close the connection at any time.
#[derive(Debug)]
pub(crate) struct Stream {
    plugin: Rc<Plugin>,
    /// `None` until the headers are read.
    request: Option<Request>,
}

impl Stream {
    pub(crate) const fn new(plugin: Rc<Plugin>) -> Self {
        Self { plugin, request: None }
    }

    /// Reads the request's headers and sets those of the next hop.
    pub(crate) fn on_request_headers(&mut self) {
        self.request = Some(Request::start(&self.plugin, Phase::Forwarding));
    }

    /// Adds the trace id to the response's headers if that is configured.
    pub(crate) fn on_response_headers(&mut self) {
        let Some(request) = &mut self.request else { return };
        if let Some(name) = &self.plugin.config.response_header {
            // Replacing a header with several lines would change the first one only.
            hostcalls::remove_header(MapType::ResponseHeaders, name);
            hostcalls::add_header(
                MapType::ResponseHeaders,
                name,
                &request.decision.context.trace_id.to_hex(),
            );
        }
        // Envoy measures the first byte of all other responses.
        if request.head.may_stay_open() {
            request.response_start = hostcalls::now_unix_nanos();
        }
    }

    /// Reads the status of a gRPC call. Few other responses have trailers.
    ///
    /// If Envoy's gRPC-Web filter comes before this filter, it moves the trailers into the body after this callback.
    pub(crate) fn on_response_trailers(&mut self) {
        if let Some(request) = &mut self.request
            && request.head.protocol != Protocol::Http
        {
            request.grpc_status = GrpcStatus::read(MapType::ResponseTrailers);
        }
    }

    /// Writes the line and the span of the completed request.
    pub(crate) fn on_log(&mut self) {
        let plugin = &*self.plugin;
        // Rule 54: an earlier filter may have responded before this one read the request's headers, which are still
        // available.
        let request = self.request.take().unwrap_or_else(|| Request::start(plugin, Phase::Completed));
        let may_be_exported = span::may_be_exported(&plugin.config, &request);
        if plugin.config.log_format.is_none() && !may_be_exported {
            return;
        }
        let properties = Properties::read(plugin.properties.as_ref());
        let grpc_status = request.read_grpc_status();
        let url = request.head.url();
        let completed = Completed::new(plugin, &request, &properties, grpc_status.as_deref(), &url);
        let format = access_log::format(&completed);
        let export_reason = if may_be_exported { span::export_reason(&completed) } else { None };
        if format.is_none() && export_reason.is_none() {
            return;
        }
        // Read late, because the response's headers cost one more host call.
        let captured = CapturedHeaders::read(&plugin.config, &request.head);
        if let Some(format) = format {
            access_log::write(&completed, format, &captured);
        }
        if let Some(export_reason) = export_reason {
            plugin.buffer_span(|out| span::write(&completed, export_reason, &captured, out));
        }
    }
}
