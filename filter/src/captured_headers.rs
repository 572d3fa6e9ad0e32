//! [`CapturedHeaders`]: the headers that the configuration adds to the line and the span.

use crate::config::{CapturedHeader, Config};
use crate::host::{HeaderLines, HeadersHost, HeadersOf};
use crate::kept_head::{self, KeptHead};

/// The index of a header in the configuration, and the value of one of its lines.
type Value = (usize, Vec<u8>);

/// The captured headers of a request and of its response.
#[derive(Debug)]
pub(crate) struct CapturedHeaders<'c> {
    config: &'c Config,
    request: &'c [Value],
    response: Vec<Value>,
}

impl<'c> CapturedHeaders<'c> {
    /// Reads the response's headers, in a host call only if any of them is captured.
    pub(crate) fn read(host: &impl HeadersHost, config: &'c Config, head: &'c KeptHead) -> Self {
        let to_capture = &config.response_headers;
        let capture = |(name, value): (&[u8], &[u8])| {
            let index = CapturedHeader::index_of(to_capture, name)?;
            let value = kept_head::captured_value(&to_capture.get(index)?.name, value, config.query);
            Some((index, value))
        };
        let response = if to_capture.is_empty() {
            Vec::new()
        } else {
            host.header_lines(HeadersOf::Response).iter().filter_map(capture).collect()
        };
        Self { config, request: &head.captured, response }
    }

    /// Returns the name of each attribute or label, with one value for each line of its header. An absent header has no
    /// values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &[u8]> + Clone)> {
        let request = with_names(&self.config.request_headers, self.request);
        request.chain(with_names(&self.config.response_headers, &self.response))
    }
}

fn with_names<'c>(
    headers: &'c [CapturedHeader],
    values: &'c [Value],
) -> impl Iterator<Item = (&'c str, impl Iterator<Item = &'c [u8]> + Clone)> {
    headers.iter().enumerate().map(move |(index, header)| {
        let of_header = values.iter().filter(move |(of, _)| *of == index);
        (header.attribute.as_str(), of_header.map(|(_, value)| value.as_slice()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_host::FakeHost;
    use crate::request_head::RequestHead;

    /// Each line of a header is captured, in order; URLs are redacted; other headers are ignored.
    #[test]
    fn headers_are_captured_under_their_full_names() {
        let json =
            br#"{"request_headers": ["x-tenant", "accept"], "response_headers": ["Location", "x-cache"]}"#;
        let config = Config::parse(json).unwrap();
        let captured = vec![(0, &b"7"[..]), (0, b"8")];
        let head = RequestHead { captured, ..RequestHead::default() };
        let head = KeptHead::new(&head, config.query, &config.request_headers);
        let response =
            [("x-cache", "hit"), ("location", "/a?token=secret"), ("x-other", "1"), ("x-cache", "")];
        let host = FakeHost::default();
        host.set(HeadersOf::Response, &response);
        let captured = CapturedHeaders::read(&host, &config, &head);
        let captured: Vec<(&str, Vec<&str>)> = captured
            .iter()
            .map(|(name, values)| (name, values.map(|value| str::from_utf8(value).unwrap()).collect()))
            .collect();
        let expected = [
            ("http.request.header.x-tenant", vec!["7", "8"]),
            ("http.request.header.accept", vec![]),
            ("http.response.header.location", vec!["/a?token=REDACTED"]),
            ("http.response.header.x-cache", vec!["hit", ""]),
        ];
        assert_eq!(captured, expected);
    }
}
