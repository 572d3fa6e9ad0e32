//! Writes the log line of a completed request.

use logtracer_core::line::{Format, Line, Severity, Text};
use logtracer_core::span::SpanKind;

use crate::captured_headers::CapturedHeaders;
use crate::completed::Completed;
use crate::host::LogHost;
use crate::metrics::{self, Metric};
use crate::response_flags;

/// Returns the format of the line; `None` if the request is not logged.
pub(crate) fn format(completed: &Completed<'_>) -> Option<Format> {
    let config = &completed.plugin.config;
    let request = completed.request;
    let is_silenced = !request.decision.log || (request.is_excluded && config.exclude.from_log);
    // Rule 69: a failed request is always logged.
    let is_logged = !is_silenced || completed.exchange.outcome.severity() == Severity::Error;
    config.log_format.filter(|_| is_logged)
}

/// Prints the line.
pub(crate) fn write(
    host: &impl LogHost,
    completed: &Completed<'_>,
    format: Format,
    captured: &CapturedHeaders<'_>,
) {
    let mut out = Vec::with_capacity(1024);
    write_line(completed, format, captured, &mut out);
    if completed.plugin.config.line_break {
        out.push(b'\n');
    }
    let is_written = host.write_line(out);
    metrics::count(if is_written { Metric::Lines } else { Metric::LinesDropped });
}

fn write_line(completed: &Completed<'_>, format: Format, captured: &CapturedHeaders<'_>, out: &mut Vec<u8>) {
    let Completed { plugin, request, properties, code_details, kind, exchange } = completed;
    let mut line = Line::new(out, format, plugin.config.project_id.as_deref());
    let is_outbound = *kind == SpanKind::Client;
    line.severity(exchange.outcome.severity())
        .time(properties.end())
        .message(|text| {
            text.push(&plugin.service_name);
            text.push(" - ");
            exchange.write_message(text);
        })
        .http_request(&exchange.http_request())
        .trace(&request.decision.context)
        .labels(|labels| {
            labels.text("direction", if is_outbound { "outbound" } else { "inbound" });
            labels.text("route", exchange.named_route());
            labels.text("upstream_cluster", properties.cluster);
            labels.text("response_flags", response_flags::letters(properties.response_flags));
            labels.text("response_code_details", *code_details);
            for (name, values) in captured.iter() {
                if values.clone().any(|value| !value.is_empty()) {
                    labels.write(name, |text| write_list(text, values));
                }
            }
        });
    line.finish();
}

/// Writes the values of a header as one text, as if they were on one header line.
fn write_list<'v>(text: &mut Text<'_>, values: impl Iterator<Item = &'v [u8]>) {
    for (index, value) in values.enumerate() {
        if index > 0 {
            text.push(", ");
        }
        text.push_bytes(value);
    }
}
