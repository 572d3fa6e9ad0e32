//! The expected line and span of a request.

use std::time::Duration;

use logtracer_harness::collector::Span;
use serde_json::Value;

use crate::CALLER;

#[derive(Clone, Copy)]
pub(super) struct Expected {
    pub(super) status: u16,
    pub(super) severity: &'static str,
    pub(super) method: &'static str,
    pub(super) protocol: &'static str,
    /// The end of the message, or a part of it if it ends with `*`.
    pub(super) message: &'static str,
    pub(super) is_error: bool,
    pub(super) at_least: Duration,
    pub(super) at_most: Duration,
    /// Attributes of the span. A text that ends with `*` is the beginning of the value; "-" means absent.
    pub(super) attributes: &'static [(&'static str, &'static str)],
    pub(super) labels: &'static [(&'static str, &'static str)],
}

/// A successful request.
pub(super) const SUCCESS: Expected = Expected {
    status: 200,
    severity: "INFO",
    method: "GET",
    protocol: "HTTP/1.1",
    message: " - 200 OK",
    is_error: false,
    at_least: Duration::ZERO,
    at_most: Duration::from_secs(30),
    attributes: &[],
    labels: &[],
};

/// A successful gRPC call.
pub(super) const GRPC: Expected = Expected {
    method: "POST",
    protocol: "HTTP/2",
    message: " - OK",
    attributes: &[
        ("rpc.system.name", "grpc"),
        ("rpc.response.status_code", "OK"),
        ("grpc.message", "-"),
        ("error.type", "-"),
    ],
    ..SUCCESS
};

impl Expected {
    /// Returns the differences from the expected values.
    pub(super) fn problems(&self, line: &Value, span: &Span) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |what: &str, found: Value, wanted: Value| {
            if found != wanted {
                problems.push(format!("{what} is {found}, not {wanted}"));
            }
        };
        let request = &line["httpRequest"];
        check("the severity", line["severity"].clone(), self.severity.into());
        check("the status", request["status"].clone(), self.status.into());
        check("the method", request["requestMethod"].clone(), self.method.into());
        check("the protocol", request["protocol"].clone(), self.protocol.into());
        check("the line's span", line["logging.googleapis.com/spanId"].clone(), span.span_id.clone().into());
        check("trace_sampled", line["logging.googleapis.com/trace_sampled"].clone(), true.into());
        let message = line["message"].as_str().unwrap_or_default();
        let message_matches = match self.message.strip_suffix('*') {
            Some(part) => message.contains(part),
            None => message.ends_with(self.message),
        };
        check("the message as expected", message_matches.into(), true.into());

        let latency = request["latency"].as_str().and_then(|text| text.strip_suffix('s')?.parse().ok());
        let latency = Duration::from_secs_f64(latency.unwrap_or(0.0));
        let in_time = latency > Duration::ZERO && latency >= self.at_least && latency <= self.at_most;
        check("the latency in time", in_time.into(), true.into());
        let duration = Duration::from_nanos(span.end_unix_nanos - span.start_unix_nanos);
        check("the span's duration", format!("{duration:?}").into(), format!("{latency:?}").into());

        check("the kind", span.kind.into(), "server".into());
        check("the span's error", span.is_error.into(), self.is_error.into());
        check("the parent", span.parent_span_id.clone().into(), CALLER.into());
        let attribute = |name: &str| match span.attributes.get(name) {
            None => "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let method = if self.method == "REPORT" { "_OTHER" } else { self.method };
        check("http.request.method", attribute("http.request.method").into(), method.into());
        let status = self.status.to_string();
        check(
            "http.response.status_code",
            attribute("http.response.status_code").into(),
            status.clone().into(),
        );
        let version = self.protocol.trim_start_matches("HTTP/");
        check("network.protocol.version", attribute("network.protocol.version").into(), version.into());
        check("client.address", attribute("client.address").into(), "127.0.0.1".into());
        let server = match attribute("upstream_address").as_str() {
            "-" => Value::Null,
            address => address.rsplit_once(':').unwrap().0.into(),
        };
        check("serverIp", request["serverIp"].clone(), server);
        for (name, size) in [("http.request.size", "requestSize"), ("http.response.size", "responseSize")] {
            check(size, request[size].as_str().unwrap_or("-").into(), attribute(name).into());
        }
        let is_status_the_error = !self.attributes.iter().any(|(name, _)| *name == "error.type");
        if self.is_error && is_status_the_error && attribute("rpc.system.name") == "-" {
            check("error.type", attribute("error.type").into(), status.into());
        }
        for (name, wanted) in self.attributes {
            check(name, matched(&attribute(name), wanted), (*wanted).into());
        }
        for (name, wanted) in self.labels {
            let labels = &line["logging.googleapis.com/labels"];
            check(name, matched(labels[*name].as_str().unwrap_or("-"), wanted), (*wanted).into());
        }
        problems
    }
}

/// Returns `wanted` if the found value begins with it, else the found value.
fn matched(found: &str, wanted: &str) -> Value {
    match wanted.strip_suffix('*') {
        Some(start) if found != "-" && found.starts_with(start) => wanted.into(),
        _ => found.into(),
    }
}
