//! [`RequestFields`]: the fields `http_request.*` of an event, collected for `httpRequest`.

use std::ops::Range;
use std::time::Duration;

use logtracer_core::line::{HttpRequest, MAX_TEXT_BYTES, Value};

use super::field_value::write_bounded_text;

/// The members of `httpRequest` of one event; the buffer is reused.
#[derive(Debug, Default)]
pub(super) struct RequestFields {
    text: String,
    /// Where the texts are in `text`.
    ranges: [Range<usize>; TEXTS.len()],
    status: u16,
    request_size: u64,
    response_size: u64,
    latency: Duration,
}

/// The names of the texts: that of tracing-stackdriver, and that of Google.
const TEXTS: [[&str; 2]; 7] = [
    ["request_method", "requestMethod"],
    ["request_url", "requestUrl"],
    ["user_agent", "userAgent"],
    ["remote_ip", "remoteIp"],
    ["server_ip", "serverIp"],
    ["referer", "referer"],
    ["protocol", "protocol"],
];

impl RequestFields {
    pub(super) const fn new() -> Self {
        Self {
            text: String::new(),
            ranges: [const { 0..0 }; TEXTS.len()],
            status: 0,
            request_size: 0,
            response_size: 0,
            latency: Duration::ZERO,
        }
    }

    pub(super) fn clear(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        *self = Self { text, ..Self::new() };
    }

    pub(super) fn set(&mut self, name: &str, value: Value<'_>) {
        match name {
            "status" => self.status = self.read_number(value).try_into().unwrap_or(0),
            "request_size" | "requestSize" => self.request_size = self.read_number(value),
            "response_size" | "responseSize" => self.response_size = self.read_number(value),
            "latency" => self.latency = self.read_duration(value),
            _ => {
                if let Some(index) = TEXTS.iter().position(|names| names.contains(&name)) {
                    let appended = self.append(value);
                    if let Some(range) = self.ranges.get_mut(index) {
                        *range = appended;
                    }
                }
            }
        }
    }

    fn append(&mut self, value: Value<'_>) -> Range<usize> {
        let start = self.text.len();
        write_bounded_text(&mut self.text, MAX_TEXT_BYTES, value);
        start..self.text.len()
    }

    fn append_text(&mut self, value: Value<'_>) -> &str {
        let range = self.append(value);
        self.text.get(range).unwrap_or_default()
    }

    fn read_number(&mut self, value: Value<'_>) -> u64 {
        match value {
            Value::U64(value) => value,
            Value::I64(value) => value.try_into().unwrap_or(0),
            other => self.append_text(other).trim_matches('"').parse().unwrap_or(0),
        }
    }

    /// Reads a number of seconds, or the output of `Duration`: `1.5s`, `12.3ms`.
    fn read_duration(&mut self, value: Value<'_>) -> Duration {
        if let Value::F64(seconds) = value {
            return Duration::try_from_secs_f64(seconds).unwrap_or_default();
        }
        let text = self.append_text(value).trim_matches('"');
        let (number, unit) = text.split_at(text.trim_end_matches(|c: char| !c.is_ascii_digit()).len());
        let seconds = number.parse::<f64>().unwrap_or(0.0)
            * match unit {
                "ms" => 1e-3,
                "µs" | "us" => 1e-6,
                "ns" => 1e-9,
                _ => 1.0,
            };
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    pub(super) fn as_request(&self) -> HttpRequest<'_> {
        let [method, url, user_agent, remote_ip, server_ip, referer, protocol] = &self.ranges;
        let text = |range: &Range<usize>| self.text.get(range.clone()).unwrap_or_default().as_bytes();
        HttpRequest {
            method: text(method),
            url: text(url),
            request_size: self.request_size,
            status: self.status,
            response_size: self.response_size,
            user_agent: text(user_agent),
            remote_ip: text(remote_ip),
            server_ip: text(server_ip),
            referer: text(referer),
            latency: self.latency,
            protocol: text(protocol),
        }
    }
}
