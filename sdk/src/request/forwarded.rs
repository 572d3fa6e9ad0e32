//! What trusted proxies have written about a request: the address of the caller, and the scheme of its URL.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Returns the address that the outermost trusted proxy saw.
pub(super) fn remote_ip(headers: &HeaderMap, trusted_proxies: usize) -> Option<IpAddr> {
    let address = entry(headers, &X_FORWARDED_FOR, trusted_proxies)?;
    // Some proxies add the port.
    let without_brackets =
        address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    without_brackets.parse().ok().or_else(|| address.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Returns the scheme with which the outermost trusted proxy received the request.
pub(super) fn scheme(headers: &HeaderMap, trusted_proxies: usize) -> Option<&str> {
    entry(headers, &X_FORWARDED_PROTO, trusted_proxies).filter(|scheme| is_scheme(scheme))
}

/// Returns the entry of a list that the outermost trusted proxy has added: each proxy adds one on the right, and the
/// caller can send any number of them.
///
/// If there are fewer entries than trusted proxies, it is the first one: some proxies replace the header.
fn entry<'a>(headers: &'a HeaderMap, name: &HeaderName, trusted_proxies: usize) -> Option<&'a str> {
    let lines = headers.get_all(name).iter().rev();
    // The caller's entries may be any bytes.
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let entry = std::str::from_utf8(entries.take(trusted_proxies).last()?).ok()?;
    Some(entry.trim()).filter(|entry| !entry.is_empty())
}

/// Returns true for a URI scheme (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers<L: AsRef<[u8]>>(name: HeaderName, lines: &[L]) -> HeaderMap {
        let lines = lines.iter().map(|line| (name.clone(), HeaderValue::from_bytes(line.as_ref()).unwrap()));
        let mut headers = HeaderMap::new();
        lines.for_each(|(name, value)| _ = headers.append(name, value));
        headers
    }

    #[test]
    fn an_entry_that_is_not_text_hides_no_other() {
        for (line, trusted_proxies, expected) in [
            (&b"\xff, 10.0.0.1"[..], 1, Some([10, 0, 0, 1])),
            (b"\xff, 10.1.2.3, 10.0.0.1", 2, Some([10, 1, 2, 3])),
            (b"10.1.2.3, \xff, 10.0.0.1", 2, None),
        ] {
            let address = remote_ip(&headers(X_FORWARDED_FOR, &[line]), trusted_proxies);
            assert_eq!(address, expected.map(IpAddr::from), "{line:?} {trusted_proxies}");
        }
    }

    #[test]
    fn the_address_is_counted_from_the_right() {
        for (lines, trusted_proxies, expected) in [
            (&["10.1.2.3, 10.0.0.1"][..], 0, None),
            (&["10.1.2.3, 10.0.0.1"], 1, Some("10.0.0.1")),
            (&["10.1.2.3, 10.0.0.1"], 2, Some("10.1.2.3")),
            (&["6.6.6.6, 10.1.2.3, 10.0.0.1"], 2, Some("10.1.2.3")),
            (&["10.1.2.3, 10.0.0.1"], 3, Some("10.1.2.3")),
            (&["6.6.6.6", "10.1.2.3,10.0.0.1"], 2, Some("10.1.2.3")),
            (&["6.6.6.6", "10.1.2.3", "10.0.0.1"], 2, Some("10.1.2.3")),
            (&["[2001:db8::1]:443"], 1, Some("2001:db8::1")),
            (&["[2001:db8::1]"], 1, Some("2001:db8::1")),
            (&["2001:db8::1"], 1, Some("2001:db8::1")),
            (&["10.1.2.3:80"], 1, Some("10.1.2.3")),
            (&["10.1.2.3, unknown"], 1, None),
            (&["10.1.2.3,"], 1, None),
            (&[""], 1, None),
            (&[], 1, None),
        ] {
            let address = remote_ip(&headers(X_FORWARDED_FOR, lines), trusted_proxies);
            let expected = expected.map(|address: &str| address.parse::<IpAddr>().unwrap());
            assert_eq!(address, expected, "{lines:?} {trusted_proxies}");
        }
    }

    #[test]
    fn the_scheme_is_counted_from_the_right() {
        for (lines, trusted_proxies, expected) in [
            (&["https"][..], 0, None),
            (&["https"], 1, Some("https")),
            (&["https"], 2, Some("https")),
            (&["https,http"], 1, Some("http")),
            (&[" https , http"], 2, Some("https")),
            (&["no scheme!"], 1, None),
            (&["1https"], 1, None),
            (&[""], 1, None),
        ] {
            let headers = headers(X_FORWARDED_PROTO, lines);
            assert_eq!(scheme(&headers, trusted_proxies), expected, "{lines:?} {trusted_proxies}");
        }
    }
}
