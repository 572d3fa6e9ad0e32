//! Writes the trace to the headers of the response.

use logtracer_core::TraceContext;

use crate::config::ResponseHeader;
use crate::host::{ForwardingHost, HeadersOf};

/// Sets the header. `server-timing` is added to the lines of the service, which are about other things.
pub(crate) fn write(host: &impl ForwardingHost, header: &ResponseHeader, context: &TraceContext) {
    let replace = |name: &str, value: &str| {
        // Replacing a header with several lines would change the first one only.
        host.remove_header(HeadersOf::Response, name);
        host.add_header(HeadersOf::Response, name, value);
    };
    match header {
        ResponseHeader::TraceId(name) => replace(name, &context.trace_id.to_hex()),
        ResponseHeader::TraceResponse => replace("traceresponse", &traceparent(context)),
        ResponseHeader::ServerTiming => {
            let value = format!("traceparent;desc=\"{}\"", traceparent(context));
            host.append_header(HeadersOf::Response, "server-timing", &value);
        }
    }
}

/// Returns the context as in a `traceparent`, with the id of the filter's span.
fn traceparent(context: &TraceContext) -> String {
    format!("00-{}-{}-{:02x}", &*context.trace_id.to_hex(), &*context.span_id.to_hex(), context.flags())
}
