//! Requests that a browser sends for a web page of another site.
//!
//! Two ways lead from a page to an address on the developer's machine. A page can send some requests to every address,
//! and browsers mark them with `Origin` and `Sec-Fetch-Site`. And the owner of a domain can change its address to
//! 127.0.0.1 (DNS rebinding), which makes this exporter a part of the page's own site: then only `Host` is foreign.

use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, header};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The host names that a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// Any: the listener is reachable under names that only its operator knows.
    Any,
    /// The names of this machine.
    Local,
    /// The names of this machine, and all others that no public DNS server resolves. A proxy such as Envoy sends the name
    /// of its cluster.
    Private,
}

impl Hosts {
    /// Returns true if the request is for an accepted host. One without a host is not.
    pub(crate) fn accept(self, head: &Parts) -> bool {
        let uri = head.uri.authority().map(|authority| authority.as_str().as_bytes());
        let headers = head.headers.get_all(header::HOST);
        let mut hosts = headers.iter().map(|value| value.as_bytes()).chain(uri).peekable();
        self == Self::Any || (hosts.peek().is_some() && hosts.all(|host| self.accepts_host(host)))
    }

    fn accepts_host(self, host: &[u8]) -> bool {
        let Ok(authority) = Authority::try_from(host) else { return false };
        let name = authority.host().to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        if let Ok(ip) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return ip.to_canonical().is_loopback();
        }
        // Reserved names: RFC 6761 (localhost), RFC 6762 (local), ICANN resolution 2024.07.29.06 (internal).
        match name.rsplit_once('.').map_or((name, false), |(_, last)| (last, true)) {
            ("localhost" | "internal", _) => true,
            ("local", _) | (_, false) => self == Self::Private && !name.is_empty(),
            _ => false,
        }
    }
}

/// Returns true if a browser sent the request for a page.
pub(crate) fn is_from_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key(FETCH_SITE)
}

/// Returns true if a browser sent the request for a page of another site or origin, unless the user follows a link.
pub(crate) fn is_from_other_page(head: &Parts) -> bool {
    let value = |name: &HeaderName| head.headers.get(name).map(|value| value.as_bytes());
    let is_other_origin = value(&header::ORIGIN).is_some_and(|origin| {
        let own = value(&header::HOST).or(head.uri.authority().map(|host| host.as_str().as_bytes()));
        let scheme_end = origin.windows(3).position(|bytes| bytes == b"://");
        let host = scheme_end.and_then(|end| origin.get(end + 3..));
        !host.zip(own).is_some_and(|(host, own)| host.eq_ignore_ascii_case(own))
    });
    let is_link = value(&FETCH_MODE) == Some(b"navigate") && value(&FETCH_DEST) == Some(b"document");
    let is_other_site = value(&FETCH_SITE).is_some_and(|site| site != b"same-origin" && site != b"none");
    is_other_origin || (is_other_site && !is_link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn hosts_are_names_of_this_machine() {
        // (host, accepted by Local, accepted by Private)
        for (host, local, private) in [
            ("localhost", true, true),
            ("LOCALHOST:4380", true, true),
            ("localhost.:80", true, true),
            ("shop.localhost:4318", true, true),
            ("127.0.0.1:1", true, true),
            ("127.8.8.8", true, true),
            ("[::1]", true, true),
            ("[::1]:4380", true, true),
            ("[::ffff:127.0.0.1]:80", true, true),
            ("host.docker.internal:4318", true, true),
            ("host.containers.internal", true, true),
            ("exporter", false, true),
            ("logtracer_exporter:4318", false, true),
            ("exporter.logtracer.svc.cluster.local:4317", false, true),
            ("evil.example", false, false),
            ("evil.example.:4318", false, false),
            ("localhost.evil.example", false, false),
            ("127.0.0.1.evil.example", false, false),
            ("localhost@evil.example", false, false),
            ("notlocalhost.com", false, false),
            ("192.168.0.1", false, false),
            ("[fe80::1]", false, false),
            ("0.0.0.0:4318", false, false),
            ("", false, false),
            (".", false, false),
            ("a b", false, false),
        ] {
            let head = head(&[("host", host)]);
            let got = [Hosts::Local, Hosts::Private, Hosts::Any].map(|hosts| hosts.accept(&head));
            assert_eq!(got, [local, private, true], "{host:?}");
        }
        assert!(!Hosts::Local.accept(&head(&[])));
        assert!(!Hosts::Local.accept(&head(&[("host", "localhost"), ("host", "evil.example")])));
    }

    #[test]
    fn requests_of_pages_are_recognized() {
        let host = ("host", "localhost:4380");
        let (cross, navigate) = (("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"));
        // (headers, from a page, from another page)
        for (headers, page, other) in [
            (vec![], false, false),
            // Node's fetch sends this header, although it is not a browser.
            (vec![("sec-fetch-mode", "cors")], false, false),
            (vec![("sec-fetch-site", "none"), navigate], true, false),
            (vec![("sec-fetch-site", "same-origin")], true, false),
            (vec![("origin", "http://localhost:4380")], true, false),
            (vec![("origin", "https://LOCALHOST:4380")], true, false),
            (vec![("origin", "http://localhost:3000")], true, true),
            (vec![("origin", "http://evil.example")], true, true),
            (vec![("origin", "null")], true, true),
            (vec![("origin", "")], true, true),
            (vec![("sec-fetch-site", "same-site")], true, true),
            (vec![cross, ("sec-fetch-mode", "no-cors")], true, true),
            (vec![cross, navigate, ("sec-fetch-dest", "document")], true, false),
            (vec![cross, navigate, ("sec-fetch-dest", "iframe")], true, true),
        ] {
            let head = head(&[&headers[..], &[host]].concat());
            assert_eq!(
                (is_from_page(&head.headers), is_from_other_page(&head)),
                (page, other),
                "{headers:?}"
            );
        }
    }
}
