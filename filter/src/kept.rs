//! [`Kept`]: what of a request's headers outlives them, for the line and the span.

use logtracer_core::request::grpc;
use logtracer_core::request::url::{self, Query};
use logtracer_core::sampling::RequestParts;

use crate::config::RecordedHeader;

/// The longest part of a request that is kept while it lasts; what is longer is cut at a character and ends in `…`,
/// as in the line.
const MAX_KEPT: usize = 8 * 1024;

/// The parts of a request's headers that its line and span tell.
///
/// While the headers are read they are borrowed ([`Kept::see`]), then copied ([`Kept::own`]).
#[derive(Debug, Default)]
pub(crate) struct Kept<T = Vec<u8>> {
    pub(crate) method: T,
    pub(crate) scheme: T,
    pub(crate) authority: T,
    /// Path and query; once it is owned the query has been treated as configured.
    pub(crate) target: T,
    pub(crate) user_agent: T,
    pub(crate) referer: T,
    pub(crate) protocol: Protocol,
    /// The caller wants to go on in another protocol, as with a WebSocket.
    pub(crate) is_upgrade: bool,
    /// The headers to record: their place in the configuration, and one value for each line.
    pub(crate) recorded: Vec<(usize, T)>,
}

/// What is spoken over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Protocol {
    #[default]
    Http,
    Grpc,
    /// Its trailers stand in the body, where Envoy reads them only if it translates to gRPC.
    GrpcWeb,
}

impl<'h> Kept<&'h [u8]> {
    /// Takes note of one header line.
    pub(crate) fn see(&mut self, name: &[u8], value: &'h [u8], wanted: &[RecordedHeader]) {
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
        if let Some(place) = RecordedHeader::place(wanted, name) {
            self.recorded.push((place, value));
        }
    }

    /// What sampling rules and exclusions look at.
    pub(crate) fn facts(&self) -> RequestParts<'h> {
        let path = self.target.split(|&byte| byte == b'?').next().unwrap_or_default();
        RequestParts { path, authority: self.authority, method: self.method }
    }

    /// A copy that outlives the headers; values of queries and credentials do not get that far. `wanted` are the
    /// headers to record.
    pub(crate) fn own(&self, query: Query, wanted: &[RecordedHeader]) -> Kept {
        let plain = |text: &[u8]| kept(text, <[u8]>::to_vec);
        let name = |place: &usize| wanted.get(*place).map_or("", |header| header.name.as_str());
        Kept {
            method: plain(self.method),
            scheme: plain(self.scheme),
            authority: plain(self.authority),
            target: redacted(url::write_target, self.target, query),
            user_agent: plain(self.user_agent),
            referer: redacted(url::write_url, self.referer, query),
            protocol: self.protocol,
            is_upgrade: self.is_upgrade,
            recorded: self
                .recorded
                .iter()
                .map(|(place, value)| (*place, self::recorded(name(place), value, query)))
                .collect(),
        }
    }
}

impl Kept {
    /// True where the request may go on while its response does.
    pub(crate) fn may_stay_open(&self) -> bool {
        self.is_upgrade || self.protocol == Protocol::Grpc || self.method == b"CONNECT"
    }
}

/// The value of a header to record.
pub(crate) fn recorded(name: &str, value: &[u8], query: Query) -> Vec<u8> {
    if url::is_in_header(name) { redacted(url::write_url, value, query) } else { kept(value, <[u8]>::to_vec) }
}

fn redacted(write: fn(&mut Vec<u8>, &[u8], Query), text: &[u8], query: Query) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len().min(MAX_KEPT));
    // Whole, for what is to be left out may end behind the place of the cut.
    write(&mut out, text, query);
    if out.len() <= MAX_KEPT { out } else { kept(&out, <[u8]>::to_vec) }
}

/// What `copy` makes of as much as is kept.
fn kept(text: &[u8], copy: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let Some(start) = text.get(..MAX_KEPT).filter(|start| start.len() < text.len()) else {
        return copy(text);
    };
    let is_inside = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xc0 == 0x80);
    // A character has at most three bytes behind its first one; bytes without a first one are none.
    let end = (MAX_KEPT - 3..=MAX_KEPT).rev().find(|end| !is_inside(text.get(*end))).unwrap_or(MAX_KEPT);
    let mut out = copy(start.get(..end).unwrap_or(start));
    out.extend_from_slice("…".as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule 58: what is cut is cut at a character, and says so.
    #[test]
    fn what_is_too_long_ends_in_a_mark() {
        let text = |text: &str| String::from_utf8(kept(text.as_bytes(), <[u8]>::to_vec)).unwrap();
        let whole = "a".repeat(MAX_KEPT);
        assert_eq!(text(&whole), whole);
        assert_eq!(text(&format!("{whole}a")), format!("{whole}…"));
        for shift in 0..4 {
            let long = format!("{}{}", "a".repeat(shift), "😀".repeat(MAX_KEPT));
            let cut = text(&long);
            let start = cut.strip_suffix('…').unwrap();
            assert!(long.starts_with(start) && start.len() > MAX_KEPT - 4, "{}", start.len());
        }
        let bytes = kept(&vec![0x80; MAX_KEPT + 1], <[u8]>::to_vec);
        assert_eq!(bytes.len(), MAX_KEPT + "…".len());
    }

    #[test]
    fn urls_are_kept_without_what_is_secret() {
        let long = format!("/a?token={}", "s".repeat(MAX_KEPT));
        let seen = Kept {
            target: long.as_bytes(),
            recorded: vec![(0, b"https://me:secret@shop/?a=1#token"), (1, b"https://me@shop/?a=1")],
            ..Kept::default()
        };
        let header = |name: &str| RecordedHeader { name: name.into(), attribute: String::new() };
        let owned = seen.own(Query::Redact, &[header("referer"), header("x-tenant")]);
        assert_eq!(String::from_utf8(owned.target).unwrap(), "/a?token=REDACTED");
        let long = format!("https://bob:{}@shop/", "s".repeat(MAX_KEPT));
        assert_eq!(recorded("referer", long.as_bytes(), Query::Redact), b"https://shop/");
        let recorded: Vec<_> =
            owned.recorded.iter().map(|(index, value)| (*index, str::from_utf8(value).unwrap())).collect();
        assert_eq!(recorded, [(0, "https://shop/?a=REDACTED"), (1, "https://me@shop/?a=1")]);
        assert_eq!(self::recorded("location", b"/b?code=secret", Query::Drop), b"/b");
    }
}
