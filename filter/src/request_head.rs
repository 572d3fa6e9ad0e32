//! [`RequestHead`]: the parts of a request's headers that its line and span report.

use logtracer_core::request::grpc;
use logtracer_core::request::url::{self, Query};
use logtracer_core::sampling::RequestParts;

use crate::config::CapturedHeader;

/// The maximum length of each part. A longer one is truncated between two characters and ends in `…`.
const MAX_BYTES: usize = 8 * 1024;

/// The parts of a request's headers that its line and span report.
///
/// They are borrowed while the headers are read ([`RequestHead::read`]), and then copied
/// ([`RequestHead::to_owned`]).
#[derive(Debug, Default)]
pub(crate) struct RequestHead<T = Vec<u8>> {
    pub(crate) method: T,
    pub(crate) scheme: T,
    pub(crate) authority: T,
    /// Path and query. In an owned head the query is redacted or dropped as configured.
    pub(crate) target: T,
    pub(crate) user_agent: T,
    pub(crate) referer: T,
    pub(crate) protocol: Protocol,
    /// The caller asks for another protocol, for example WebSocket.
    pub(crate) is_upgrade: bool,
    /// The captured headers: an index into the configuration for each header line, and its value.
    pub(crate) captured: Vec<(usize, T)>,
}

/// The protocol of a call over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Protocol {
    #[default]
    Http,
    Grpc,
    /// Its trailers are in the body, which Envoy reads only if it translates the call to gRPC.
    GrpcWeb,
}

impl<'h> RequestHead<&'h [u8]> {
    /// Reads one header line.
    pub(crate) fn read(&mut self, name: &[u8], value: &'h [u8], to_capture: &[CapturedHeader]) {
        match name {
            b":method" => self.method = value,
            b":scheme" => self.scheme = value,
            b":authority" => self.authority = url::without_credentials(value),
            b":path" => self.target = value,
            b"user-agent" => self.user_agent = value,
            b"referer" => self.referer = value,
            b"upgrade" => self.is_upgrade = true,
            b"content-type" if grpc::is_web_content_type(value) => self.protocol = Protocol::GrpcWeb,
            b"content-type" if grpc::is_content_type(value) => self.protocol = Protocol::Grpc,
            _ => {}
        }
        if let Some(index) = CapturedHeader::index_of(to_capture, name) {
            self.captured.push((index, value));
        }
    }

    /// Returns what sampling rules and exclusions compare.
    pub(crate) fn parts(&self) -> RequestParts<'h> {
        let path = self.target.split(|&byte| byte == b'?').next().unwrap_or_default();
        RequestParts { path, authority: self.authority, method: self.method }
    }

    /// Returns a copy that outlives the headers, without credentials and with the query as configured.
    pub(crate) fn to_redacted(&self, query: Query, to_capture: &[CapturedHeader]) -> RequestHead {
        let name = |index: &usize| to_capture.get(*index).map_or("", |header| header.name.as_str());
        RequestHead {
            method: truncated(self.method),
            scheme: truncated(self.scheme),
            authority: truncated(self.authority),
            target: redacted(url::write_target, self.target, query),
            user_agent: truncated(self.user_agent),
            referer: redacted(url::write_url, self.referer, query),
            protocol: self.protocol,
            is_upgrade: self.is_upgrade,
            captured: self
                .captured
                .iter()
                .map(|(index, value)| (*index, captured_value(name(index), value, query)))
                .collect(),
        }
    }
}

impl RequestHead {
    /// Returns whether the caller may keep sending after the response has started.
    pub(crate) fn may_stay_open(&self) -> bool {
        self.is_upgrade || self.protocol == Protocol::Grpc || self.method == b"CONNECT"
    }

    /// Returns whether a response with this status opens a tunnel, which ends when either side closes it.
    pub(crate) fn is_tunnel(&self, status: u16) -> bool {
        status == 101 || (self.method == b"CONNECT" && (200..300).contains(&status))
    }

    /// Returns the full URL.
    pub(crate) fn url(&self) -> Vec<u8> {
        let mut url = Vec::with_capacity(16 + self.authority.len() + self.target.len());
        url::write_full(&mut url, &self.scheme, &self.authority, &self.target);
        url
    }
}

/// Returns the value of a captured header, truncated, and redacted if it is a URL.
pub(crate) fn captured_value(name: &str, value: &[u8], query: Query) -> Vec<u8> {
    if url::is_url_header(name) { redacted(url::write_url, value, query) } else { truncated(value) }
}

fn redacted(write: fn(&mut Vec<u8>, &[u8], Query), text: &[u8], query: Query) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len().min(MAX_BYTES));
    // Redacted before it is truncated, because credentials may end beyond the limit.
    write(&mut out, text, query);
    if out.len() <= MAX_BYTES { out } else { truncated(&out) }
}

fn truncated(text: &[u8]) -> Vec<u8> {
    let Some(start) = text.get(..MAX_BYTES).filter(|start| start.len() < text.len()) else {
        return text.to_vec();
    };
    let is_continuation = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xc0 == 0x80);
    // A character has at most three continuation bytes; a longer run of them is not UTF-8.
    let end = (MAX_BYTES - 3..=MAX_BYTES).rev().find(|end| !is_continuation(text.get(*end)));
    let mut out = start.get(..end.unwrap_or(MAX_BYTES)).unwrap_or(start).to_vec();
    out.extend_from_slice("…".as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule 58.
    #[test]
    fn a_long_text_is_truncated_between_characters() {
        let text = |text: &str| String::from_utf8(truncated(text.as_bytes())).unwrap();
        let longest = "a".repeat(MAX_BYTES);
        assert_eq!(text(&longest), longest);
        assert_eq!(text(&format!("{longest}a")), format!("{longest}…"));
        for shift in 0..4 {
            let long = format!("{}{}", "a".repeat(shift), "😀".repeat(MAX_BYTES));
            let truncated = text(&long);
            let start = truncated.strip_suffix('…').unwrap();
            assert!(long.starts_with(start) && start.len() > MAX_BYTES - 4, "{}", start.len());
        }
        assert_eq!(truncated(&vec![0x80; MAX_BYTES + 1]).len(), MAX_BYTES + "…".len());
    }

    /// Rule 56.
    #[test]
    fn a_tunnel_is_opened_by_its_response() {
        let head = |method: &[u8]| RequestHead { method: method.to_vec(), ..RequestHead::default() };
        for (method, status, expected) in [
            (&b"GET"[..], 101, true),
            (b"GET", 200, false),
            (b"CONNECT", 200, true),
            (b"CONNECT", 299, true),
            (b"CONNECT", 300, false),
            (b"CONNECT", 199, false),
            (b"CONNECT", 503, false),
        ] {
            assert_eq!(head(method).is_tunnel(status), expected, "{method:?} {status}");
        }
    }

    #[test]
    fn urls_are_redacted() {
        let long = format!("/a?token={}", "s".repeat(MAX_BYTES));
        let head = RequestHead {
            target: long.as_bytes(),
            captured: vec![(0, b"https://me:secret@shop/?a=1#token"), (1, b"https://me@shop/?a=1")],
            ..RequestHead::default()
        };
        let header = |name: &str| CapturedHeader { name: name.into(), attribute: String::new() };
        let owned = head.to_redacted(Query::Redact, &[header("referer"), header("x-tenant")]);
        assert_eq!(String::from_utf8(owned.target).unwrap(), "/a?token=REDACTED");
        let captured: Vec<_> =
            owned.captured.iter().map(|(index, value)| (*index, str::from_utf8(value).unwrap())).collect();
        assert_eq!(captured, [(0, "https://shop/?a=REDACTED"), (1, "https://me@shop/?a=1")]);

        let long = format!("https://bob:{}@shop/", "s".repeat(MAX_BYTES));
        assert_eq!(captured_value("referer", long.as_bytes(), Query::Redact), b"https://shop/");
        assert_eq!(captured_value("location", b"/b?code=secret", Query::Drop), b"/b");
    }
}
