//! [`Texts`]: what is kept of the texts of a request until it is over.

use std::io::Write as _;
use std::ops::Range;

use http::{HeaderName, HeaderValue, header};
use logtracer_core::request::url;

use super::{Parts, Side, Telling};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The texts of a request, in one buffer.
#[derive(Debug)]
pub(super) struct Texts {
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

impl Texts {
    pub(super) fn of(telling: &Telling, parts: &Parts<'_>) -> Self {
        let Parts { uri, headers, route, peer, .. } = *parts;
        let header = |name| headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        let host = uri.authority().map_or(header(header::HOST), |authority| authority.as_str().as_bytes());
        // What proxies have told of the caller; of the calls that go out they know nothing.
        let forwarded = |name| match telling.side {
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
        let target = add(&mut |out| url::write_target(out, path_and_query.as_bytes(), telling.query));
        Self {
            scheme: add(&mut |out| out.extend_from_slice(scheme)),
            authority: add(&mut |out| out.extend_from_slice(url::without_credentials(host))),
            url: add(&mut |out| {
                url::write_full(out, scheme, host, b"");
                out.extend_from_within(target.clone());
            }),
            user_agent: add(&mut |out| out.extend_from_slice(header(header::USER_AGENT))),
            referer: add(&mut |out| url::write_url(out, header(header::REFERER), telling.query)),
            remote_ip: add(&mut |out| match peer {
                Some(peer) if remote_ip.is_empty() => _ = write!(out, "{peer}"),
                _ => out.extend_from_slice(remote_ip),
            }),
            route: add(&mut |out| out.extend_from_slice(route.as_bytes())),
            target,
            buffer,
        }
    }

    pub(super) fn at(&self, place: &Range<usize>) -> &[u8] {
        self.buffer.get(place.clone()).unwrap_or_default()
    }
}

/// The first of a list: each proxy adds what it has seen at the end.
fn first_of(list: &[u8]) -> &[u8] {
    list.split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii()
}

/// True for what can stand before `://` (RFC 3986, section 3.1).
fn is_scheme(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}
