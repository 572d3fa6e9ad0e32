//! [`Captured`]: the text of a request that its log line and its span need at the end.

use std::io::Write as _;
use std::ops::Range;

use logtracer_core::request::url;

use super::{LogOptions, Parts, Side, forwarded};

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
        let Parts { uri, headers, known, route, caller_ip, server_uri, .. } = *parts;
        let is_server = options.side == Side::Server;
        let authority = uri.authority().or_else(|| server_uri.and_then(http::Uri::authority));
        let host = authority.map_or(known.host, |authority| authority.as_str().as_bytes());
        // Only a proxy in front of this server is trusted to set these.
        let forwarded_scheme = (is_server && known.has_forwarded_proto)
            .then(|| forwarded::scheme(headers, options.trusted_proxies))
            .flatten();
        let own_scheme = uri.scheme_str().or_else(|| server_uri.and_then(http::Uri::scheme_str));
        let scheme = forwarded_scheme.or(own_scheme).unwrap_or("http").as_bytes();
        let path_and_query = uri.path_and_query().map_or("/", |it| it.as_str());
        // Behind a trusted proxy, the address of the connection is the proxy's.
        let caller_ip = if is_server && known.has_forwarded_for && options.trusted_proxies > 0 {
            forwarded::remote_ip(headers, options.trusted_proxies)
        } else {
            caller_ip
        };

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
            user_agent: add(&mut |out| out.extend_from_slice(known.user_agent)),
            referer: add(&mut |out| url::write_url(out, known.referer, options.query)),
            remote_ip: add(&mut |out| {
                if let Some(address) = caller_ip {
                    let _ = write!(out, "{address}");
                }
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
