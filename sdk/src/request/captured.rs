//! [`Captured`]: the text of a request that its log line and its span need at the end.

use std::io::Write as _;
use std::ops::Range;

use http::{HeaderName, HeaderValue, header};
use logtracer_core::request::url;

use super::{LogOptions, Parts, Side};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Copies of the URL and of some headers, in one buffer.
#[derive(Debug)]
pub(super) struct Captured {
    buffer: Vec<u8>,
    pub(super) scheme: Range<usize>,
    pub(super) authority: Range<usize>,
    pub(super) target: Range<usize>,
    pub(super) url: Range<usize>,
    pub(super) user_agent: Range<usize>,
    pub(super) referer: Range<usize>,
    pub(super) remote_ip: Range<usize>,
    pub(super) route: Range<usize>,
}

impl Captured {
    pub(super) fn new(options: &LogOptions, parts: &Parts<'_>) -> Self {
        let Parts { uri, headers, route, peer, .. } = *parts;
        let header = |name| headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        let host = uri.authority().map_or(header(header::HOST), |authority| authority.as_str().as_bytes());
        // Proxies set these headers for requests that come in.
        let forwarded = |name| match options.side {
            Side::Server => first_of(header(name)),
            Side::Client => b"",
        };
        let scheme = match forwarded(X_FORWARDED_PROTO) {
            scheme if is_scheme(scheme) => scheme,
            _ => uri.scheme_str().unwrap_or("http").as_bytes(),
        };
        let path_and_query = uri.path_and_query().map_or("/", |it| it.as_str());
        let remote_ip = forwarded(X_FORWARDED_FOR);

        let mut buffer = Vec::with_capacity(256);
        let mut add = |write: &mut dyn FnMut(&mut Vec<u8>)| {
            let start = buffer.len();
            write(&mut buffer);
            start..buffer.len()
        };
        let target = add(&mut |out| url::write_target(out, path_and_query.as_bytes(), options.query));
        Self {
            scheme: add(&mut |out| out.extend_from_slice(scheme)),
            authority: add(&mut |out| out.extend_from_slice(url::without_credentials(host))),
            url: add(&mut |out| {
                url::write_full(out, scheme, host, b"");
                out.extend_from_within(target.clone());
            }),
            user_agent: add(&mut |out| out.extend_from_slice(header(header::USER_AGENT))),
            referer: add(&mut |out| url::write_url(out, header(header::REFERER), options.query)),
            remote_ip: add(&mut |out| match peer {
                Some(peer) if remote_ip.is_empty() => _ = write!(out, "{peer}"),
                _ => out.extend_from_slice(remote_ip),
            }),
            route: add(&mut |out| out.extend_from_slice(route.as_bytes())),
            target,
            buffer,
        }
    }

    pub(super) fn get(&self, range: &Range<usize>) -> &[u8] {
        self.buffer.get(range.clone()).unwrap_or_default()
    }
}

/// Returns the first item of a comma-separated list, which is the caller's: each proxy appends its own.
fn first_of(list: &[u8]) -> &[u8] {
    list.split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii()
}

/// Returns true for a URI scheme (RFC 3986, section 3.1).
fn is_scheme(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}
