//! [`Texts`]: what is kept of the texts of a request until it is over.

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
        let Parts { uri, headers, route, .. } = *parts;
        let header = |name| headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        let host = uri.authority().map_or(header(header::HOST), |authority| authority.as_str().as_bytes());
        let scheme = match header(X_FORWARDED_PROTO) {
            b"" => uri.scheme_str().unwrap_or("http").as_bytes(),
            forwarded => forwarded,
        };
        let path_and_query = uri.path_and_query().map_or("/", |it| it.as_str());
        let remote_ip = match telling.side {
            Side::Server => first_address(header(X_FORWARDED_FOR)),
            Side::Client => b"",
        };

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
            remote_ip: add(&mut |out| out.extend_from_slice(remote_ip)),
            route: add(&mut |out| out.extend_from_slice(route.as_bytes())),
            target,
            buffer,
        }
    }

    pub(super) fn at(&self, place: &Range<usize>) -> &[u8] {
        self.buffer.get(place.clone()).unwrap_or_default()
    }
}

/// The first of a list, which is what the first proxy took for the caller.
fn first_address(forwarded_for: &[u8]) -> &[u8] {
    forwarded_for.split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii()
}
