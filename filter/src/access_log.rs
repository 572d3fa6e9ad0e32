//! Writes the log line of a completed request.

use logtracer_core::line::{Format, Line, Severity, Text};
use logtracer_core::request::Outcome;
use logtracer_core::request::grpc;
use logtracer_core::sampling::Ratio;
use logtracer_core::span::SpanKind;

use crate::captured_headers::CapturedHeaders;
use crate::completed::Completed;
use crate::host::LogHost;
use crate::metrics::{self, Metric};
use crate::response_flags;

/// Returns the format of the line; `None` if the request is not logged, which is counted.
pub(crate) fn format(completed: &Completed<'_>) -> Option<Format> {
    let config = &completed.plugin.config;
    let format = config.log_format?;
    let Completed { request, .. } = completed;
    let is_excluded = request.is_excluded && config.exclude.from_log;
    let is_chosen = !is_excluded && request.decision.log_rate.keeps(request.decision.context.trace_id);
    if is_chosen || is_always_logged(completed) {
        return Some(format);
    }
    metrics::count(Metric::LinesSkipped);
    None
}

/// Rule 69: failed, aborted and slow requests are always logged.
fn is_always_logged(completed: &Completed<'_>) -> bool {
    let outcome = completed.exchange.outcome;
    let is_aborted = matches!(outcome, Outcome::Aborted | Outcome::Grpc { code: grpc::CANCELLED, .. });
    outcome.severity() == Severity::Error || is_aborted || completed.is_slow()
}

/// Returns the fraction of such requests that are logged; `None` if all are.
fn log_rate(completed: &Completed<'_>) -> Option<Ratio> {
    let rate = completed.request.decision.log_rate;
    (rate != Ratio::ALL && !is_always_logged(completed)).then_some(rate)
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
    let mut line = Line::new(out, format, plugin.project_id.as_deref());
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
            if let Some(trace_id) = request.decision.linked_trace {
                labels.write("linked_trace", |text| text.push(&trace_id.to_hex()));
            }
            if let Some(rate) = log_rate(completed) {
                labels.write("log_rate", |text| {
                    let _ = core::fmt::Write::write_fmt(text, format_args!("{rate}"));
                });
            }
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
