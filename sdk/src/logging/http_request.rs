//! [`RequestFields`]: the fields `http_request.*` of an event, gathered for `httpRequest`.

use std::ops::Range;
use std::time::Duration;

use logtracer_core::line::{HttpRequest, MAX_TEXT_BYTES, Value};

use super::said::write_value;

/// The parts of `httpRequest` of one event; the buffer is reused.
#[derive(Debug, Default)]
pub(super) struct RequestFields {
    text: String,
    texts: [Range<usize>; TEXTS.len()],
    status: u16,
    request_size: u64,
    response_size: u64,
    latency: Duration,
}

/// The names of the texts: tracing-stackdriver's, and those of Google.
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
            texts: [const { 0..0 }; TEXTS.len()],
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

    pub(super) fn take(&mut self, name: &str, value: Value<'_>) {
        match name {
            "status" => self.status = self.number(value).try_into().unwrap_or(0),
            "request_size" | "requestSize" => self.request_size = self.number(value),
            "response_size" | "responseSize" => self.response_size = self.number(value),
            "latency" => self.latency = self.duration(value),
            _ => {
                if let Some(place) = TEXTS.iter().position(|names| names.contains(&name)) {
                    let written = self.written(value);
                    if let Some(text) = self.texts.get_mut(place) {
                        *text = written;
                    }
                }
            }
        }
    }

    fn written(&mut self, value: Value<'_>) -> Range<usize> {
        let start = self.text.len();
        write_value(&mut self.text, MAX_TEXT_BYTES, value);
        start..self.text.len()
    }

    fn as_text(&mut self, value: Value<'_>) -> &str {
        let place = self.written(value);
        self.text.get(place).unwrap_or_default()
    }

    fn number(&mut self, value: Value<'_>) -> u64 {
        match value {
            Value::U64(value) => value,
            Value::I64(value) => value.try_into().unwrap_or(0),
            other => self.as_text(other).trim_matches('"').parse().unwrap_or(0),
        }
    }

    /// Seconds as a number, or what `Duration` prints: `1.5s`, `12.3ms`.
    fn duration(&mut self, value: Value<'_>) -> Duration {
        if let Value::F64(seconds) = value {
            return Duration::try_from_secs_f64(seconds).unwrap_or_default();
        }
        let text = self.as_text(value).trim_matches('"');
        let (number, unit) = text.split_at(text.trim_end_matches(|c: char| !c.is_ascii_digit()).len());
        let seconds = number.parse::<f64>().unwrap_or(0.0)
            * match unit {
                "ms" => 1e-3,
                "µs" | "us" => 1e-6,
                "ns" => 1e-9,
                _ => 1.0,
            };
        // Rounded to what `Duration` printed.
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    pub(super) fn as_request(&self) -> HttpRequest<'_> {
        let [method, url, user_agent, remote_ip, server_ip, referer, protocol] = &self.texts;
        let text = |place: &Range<usize>| self.text.get(place.clone()).unwrap_or_default().as_bytes();
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
