//! [`KeptHead`]: the parts of a request's headers, from the headers until the end of the request.

use logtracer_core::request::url::{self, Query};

use crate::config::CapturedHeader;
use crate::request_head::{Protocol, RequestHead};

/// The maximum length of each part. A longer one is truncated between two characters and ends in `…`.
const MAX_BYTES: usize = 8 * 1024;

/// The bytes that are reserved for redacted values, which can be longer than the values.
const REDACTED_BYTES: usize = 32;

/// The parts of a request's headers, without credentials and with the query as configured.
#[derive(Debug)]
pub(crate) struct KeptHead {
    /// All parts in one allocation, because every request has them.
    text: Vec<u8>,
    /// The end of each part in `text`.
    ends: [usize; Self::PARTS],
    pub(crate) protocol: Protocol,
    pub(crate) is_upgrade: bool,
    /// The captured headers: an index into the configuration for each header line, and its value.
    pub(crate) captured: Vec<(usize, Vec<u8>)>,
}

impl KeptHead {
    const PARTS: usize = 6;

    /// Copies the parts.
    pub(crate) fn new(head: &RequestHead<'_>, query: Query, to_capture: &[CapturedHeader]) -> Self {
        type Write = fn(&mut Vec<u8>, &[u8], Query);
        let parts: [(&[u8], Write); Self::PARTS] = [
            (head.method, write_truncated),
            (head.scheme, write_truncated),
            (head.authority, write_truncated),
            (head.target, write_target),
            (head.user_agent, write_truncated),
            (head.referer, write_url),
        ];
        let bytes: usize = parts.iter().map(|(part, _)| part.len().min(MAX_BYTES)).sum();
        let mut text = Vec::with_capacity(bytes + REDACTED_BYTES);
        let ends = parts.map(|(part, write)| {
            write(&mut text, part, query);
            text.len()
        });
        let name = |index: &usize| to_capture.get(*index).map_or("", |header| header.name.as_str());
        let captured = head.captured.iter();
        let captured = captured.map(|(index, value)| (*index, captured_value(name(index), value, query)));
        Self {
            text,
            ends,
            protocol: head.protocol,
            is_upgrade: head.is_upgrade,
            captured: captured.collect(),
        }
    }

    pub(crate) fn method(&self) -> &[u8] {
        self.part(0)
    }

    pub(crate) fn scheme(&self) -> &[u8] {
        self.part(1)
    }

    pub(crate) fn authority(&self) -> &[u8] {
        self.part(2)
    }

    /// Returns path and query. The query is redacted or dropped as configured.
    pub(crate) fn target(&self) -> &[u8] {
        self.part(3)
    }

    pub(crate) fn user_agent(&self) -> &[u8] {
        self.part(4)
    }

    pub(crate) fn referer(&self) -> &[u8] {
        self.part(5)
    }

    fn part(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.text.get(start..end).unwrap_or_default()
    }

    /// Returns whether the caller may keep sending after the response has started.
    pub(crate) fn may_stay_open(&self) -> bool {
        self.is_upgrade || self.protocol == Protocol::Grpc || self.method() == b"CONNECT"
    }

    /// Returns whether a response with this status opens a tunnel, which ends when either side closes it.
    pub(crate) fn is_tunnel(&self, status: u16) -> bool {
        status == 101 || (self.method() == b"CONNECT" && (200..300).contains(&status))
    }

    /// Returns the full URL.
    pub(crate) fn url(&self) -> Vec<u8> {
        let mut url = Vec::with_capacity(16 + self.authority().len() + self.target().len());
        url::write_full(&mut url, self.scheme(), self.authority(), self.target());
        url
    }
}

/// Returns the value of a captured header, truncated, and redacted if it is a URL.
pub(crate) fn captured_value(name: &str, value: &[u8], query: Query) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len().min(MAX_BYTES));
    let write = if url::is_url_header(name) { write_url } else { write_truncated };
    write(&mut out, value, query);
    out
}

// Redacted before they are truncated, because credentials may end beyond the limit.

fn write_target(out: &mut Vec<u8>, target: &[u8], query: Query) {
    let start = out.len();
    url::write_target(out, target, query);
    truncate(out, start);
}

fn write_url(out: &mut Vec<u8>, url: &[u8], query: Query) {
    let start = out.len();
    url::write_url(out, url, query);
    truncate(out, start);
}

fn write_truncated(out: &mut Vec<u8>, text: &[u8], _: Query) {
    let start = out.len();
    // One byte more shows that the text is longer.
    out.extend_from_slice(text.get(..=MAX_BYTES).unwrap_or(text));
    truncate(out, start);
}

/// Truncates the text at the end of `out` that begins at `start`.
fn truncate(out: &mut Vec<u8>, start: usize) {
    let text = out.get(start..).unwrap_or_default();
    if text.len() <= MAX_BYTES {
        return;
    }
    let is_continuation = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xc0 == 0x80);
    // A character has at most three continuation bytes; a longer run of them is not UTF-8.
    let end = (MAX_BYTES - 3..=MAX_BYTES).rev().find(|end| !is_continuation(text.get(*end)));
    out.truncate(start + end.unwrap_or(MAX_BYTES));
    out.extend_from_slice("…".as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule 58.
    #[test]
    fn a_long_text_is_truncated_between_characters() {
        let truncated = |text: &[u8]| {
            let mut out = b"before".to_vec();
            write_truncated(&mut out, text, Query::Keep);
            out.split_off("before".len())
        };
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
        let head = |method| {
            let head = RequestHead { method, ..RequestHead::default() };
            KeptHead::new(&head, Query::Keep, &[])
        };
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
        let kept = KeptHead::new(&head, Query::Redact, &[header("referer"), header("x-tenant")]);
        assert_eq!(str::from_utf8(kept.target()), Ok("/a?token=REDACTED"));
        let captured: Vec<_> =
            kept.captured.iter().map(|(index, value)| (*index, str::from_utf8(value).unwrap())).collect();
        assert_eq!(captured, [(0, "https://shop/?a=REDACTED"), (1, "https://me@shop/?a=1")]);

        let long = format!("https://bob:{}@shop/", "s".repeat(MAX_BYTES));
        assert_eq!(captured_value("referer", long.as_bytes(), Query::Redact), b"https://shop/");
        assert_eq!(captured_value("location", b"/b?code=secret", Query::Drop), b"/b");
    }

    #[test]
    fn each_part_is_kept() {
        let head = RequestHead {
            method: b"GET",
            scheme: b"http",
            authority: b"shop",
            target: b"/a?b=c",
            user_agent: b"",
            referer: b"https://me@shop/?a=1",
            protocol: Protocol::Grpc,
            is_upgrade: true,
            captured: vec![],
        };
        let kept = KeptHead::new(&head, Query::Drop, &[]);
        let parts = [
            kept.method(),
            kept.scheme(),
            kept.authority(),
            kept.target(),
            kept.user_agent(),
            kept.referer(),
        ];
        assert_eq!(
            parts.map(|part| str::from_utf8(part).unwrap()),
            ["GET", "http", "shop", "/a", "", "https://shop/"]
        );
        assert_eq!((kept.protocol, kept.is_upgrade), (Protocol::Grpc, true));
        assert_eq!(kept.url(), b"http://shop/a");
    }
}
