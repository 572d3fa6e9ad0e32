//! [`HttpRequest`]: the request of a line.

use core::time::Duration;

use super::keys::{Key, key};
use super::{Line, MAX_TEXT_BYTES, json};
use crate::decimal;

/// The members of [`httpRequest`](https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#HttpRequest).
///
/// Texts are bytes because a header may not be UTF-8.
/// Empty and zero members are omitted.
///
/// ```
/// use std::time::Duration;
/// use logtracer_core::line::{Format, HttpRequest, Line};
///
/// let mut out = Vec::new();
/// let mut line = Line::new(&mut out, Format::Stackdriver, None);
/// line.http_request(&HttpRequest {
///     method: b"GET",
///     url: b"http://shop/basket",
///     response_size: 512,
///     status: 200,
///     latency: Duration::from_micros(12_300),
///     ..HttpRequest::default()
/// });
/// line.finish();
/// assert_eq!(
///     String::from_utf8(out).unwrap(),
///     concat!(
///         r#"{"httpRequest":{"requestMethod":"GET","requestUrl":"http://shop/basket","status":200,"#,
///         r#""responseSize":"512","latency":"0.0123s"}}"#
///     ),
/// );
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HttpRequest<'a> {
    /// `GET`, `POST` …
    pub method: &'a [u8],
    /// The whole URL: scheme, host, path and, if it may be logged, the query.
    pub url: &'a [u8],
    /// The size of the request in bytes.
    pub request_size: u64,
    /// The HTTP status.
    pub status: u16,
    /// The size of the response in bytes.
    pub response_size: u64,
    /// The `user-agent` header.
    pub user_agent: &'a [u8],
    /// The address of the client, with or without a port.
    pub remote_ip: &'a [u8],
    /// The address of the server that responded.
    pub server_ip: &'a [u8],
    /// The `referer` header.
    pub referer: &'a [u8],
    /// The time from the first byte of the request to the last byte of the response.
    pub latency: Duration,
    /// `HTTP/1.1`, `HTTP/2` …
    pub protocol: &'a [u8],
}

impl HttpRequest<'_> {
    pub(super) fn write(&self, object: &mut Line<'_>) {
        let text = |object: &mut Line<'_>, key: Key, value: &[u8]| {
            if !value.is_empty() {
                object.text(key, MAX_TEXT_BYTES, |text| text.push_bytes(value));
            }
        };
        // Protobuf's JSON has strings for 64-bit integers.
        let size = |object: &mut Line<'_>, key: Key, value: u64| {
            if value > 0 {
                object.key(key);
                json::number_as_text(object.out, value);
            }
        };
        text(object, key!("requestMethod"), self.method);
        text(object, key!("requestUrl"), self.url);
        size(object, key!("requestSize"), self.request_size);
        if self.status > 0 {
            object.key(key!("status"));
            decimal::write(object.out, self.status.into());
        }
        size(object, key!("responseSize"), self.response_size);
        text(object, key!("userAgent"), self.user_agent);
        text(object, key!("remoteIp"), self.remote_ip);
        text(object, key!("serverIp"), self.server_ip);
        text(object, key!("referer"), self.referer);
        if !self.latency.is_zero() {
            object.key(key!("latency"));
            write_seconds(object.out, self.latency);
        }
        text(object, key!("protocol"), self.protocol);
    }
}

/// Writes a duration in the form of protobuf's JSON: seconds with up to nine decimal places, and an `s`.
fn write_seconds(out: &mut Vec<u8>, duration: Duration) {
    out.push(b'"');
    decimal::write(out, duration.as_secs());
    let nanos = duration.subsec_nanos();
    if nanos > 0 {
        // The digits behind a leading one have all nine places.
        let digits = decimal::Digits::of(u64::from(1_000_000_000 + nanos));
        let mut places = digits.as_bytes().get(1..).unwrap_or_default();
        while let [rest @ .., b'0'] = places {
            places = rest;
        }
        out.push(b'.');
        out.extend_from_slice(places);
    }
    out.extend_from_slice(b"s\"");
}
