//! [`HttpRequestFields`]: the fields `http_request.*` of an event, collected for `httpRequest`.

use std::ops::Range;
use std::time::Duration;

use logtracer_core::line::{HttpCache, HttpRequest, Line, MAX_TEXT_BYTES, Value};

use super::field_value::write_bounded_text;

/// The members of `httpRequest` of one event; the buffer is reused.
#[derive(Debug, Default)]
pub(super) struct HttpRequestFields {
    text: String,
    /// Where the texts are in `text`.
    ranges: [Range<usize>; TEXTS],
    status: u16,
    request_size: u64,
    response_size: u64,
    latency: Duration,
    cache: HttpCache,
    /// Bit `n` is set if the member `n` of [`NAMES`] is.
    is_set: u32,
}

/// The names of the members: that of tracing-stackdriver, and that of Google. The texts come first.
const NAMES: [[&str; 2]; 15] = [
    ["request_method", "requestMethod"],
    ["request_url", "requestUrl"],
    ["user_agent", "userAgent"],
    ["remote_ip", "remoteIp"],
    ["server_ip", "serverIp"],
    ["referer", "referer"],
    ["protocol", "protocol"],
    ["status", "status"],
    ["request_size", "requestSize"],
    ["response_size", "responseSize"],
    ["latency", "latency"],
    ["cache_lookup", "cacheLookup"],
    ["cache_hit", "cacheHit"],
    ["cache_validated_with_origin_server", "cacheValidatedWithOriginServer"],
    ["cache_fill_bytes", "cacheFillBytes"],
];

const TEXTS: usize = 7;

impl HttpRequestFields {
    pub(super) const fn new() -> Self {
        Self {
            text: String::new(),
            ranges: [const { 0..0 }; TEXTS],
            status: 0,
            request_size: 0,
            response_size: 0,
            latency: Duration::ZERO,
            cache: HttpCache {
                lookup: false,
                hit: false,
                validated_with_origin_server: false,
                fill_bytes: 0,
            },
            is_set: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        *self = Self { text, ..Self::new() };
    }

    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Sets a member, unless it is set. Returns false if there is none of this name, or if it cannot have this value.
    pub(super) fn set(&mut self, name: &str, value: Value<'_>) -> bool {
        let Some(member) = NAMES.iter().position(|names| names.contains(&name)) else { return false };
        let bit = 1 << member;
        let is_set = self.is_set & bit != 0 || self.try_set(member, value).is_some();
        if is_set {
            self.is_set |= bit;
        }
        is_set
    }

    fn try_set(&mut self, member: usize, value: Value<'_>) -> Option<()> {
        let [name, _] = NAMES.get(member)?;
        match *name {
            "status" => self.status = self.read_number(value)?.try_into().ok()?,
            "request_size" => self.request_size = self.read_number(value)?,
            "response_size" => self.response_size = self.read_number(value)?,
            "latency" => self.latency = self.read_duration(value)?,
            "cache_lookup" => self.cache.lookup = read_bool(value)?,
            "cache_hit" => self.cache.hit = read_bool(value)?,
            "cache_validated_with_origin_server" => {
                self.cache.validated_with_origin_server = read_bool(value)?;
            }
            "cache_fill_bytes" => self.cache.fill_bytes = self.read_number(value)?,
            _ => {
                let appended = self.append(value);
                *self.ranges.get_mut(member)? = appended;
            }
        }
        Some(())
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

    fn read_number(&mut self, value: Value<'_>) -> Option<u64> {
        match value {
            Value::U64(value) => Some(value),
            Value::I64(value) => value.try_into().ok(),
            other => self.append_text(other).trim_matches('"').parse().ok(),
        }
    }

    /// Reads a number of seconds, or the output of `Duration`: `1.5s`, `12.3ms`.
    fn read_duration(&mut self, value: Value<'_>) -> Option<Duration> {
        if let Value::F64(seconds) = value {
            return Duration::try_from_secs_f64(seconds).ok();
        }
        let text = self.append_text(value).trim_matches('"');
        let (number, unit) = text.split_at(text.trim_end_matches(|c: char| !c.is_ascii_digit()).len());
        let seconds = number.parse::<f64>().ok()?
            * match unit {
                "" | "s" => 1.0,
                "ms" => 1e-3,
                "µs" | "us" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        Duration::try_from_secs_f64(seconds).ok()
    }

    pub(super) fn write(&self, line: &mut Line<'_>) {
        line.cached_http_request(&self.as_request(), &self.cache);
    }

    fn as_request(&self) -> HttpRequest<'_> {
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

fn read_bool(value: Value<'_>) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(value),
        Value::Str("true") => Some(true),
        Value::Str("false") => Some(false),
        _ => None,
    }
}
