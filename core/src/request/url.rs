//! Redaction of URLs: [`Query`], [`write_target`] and [`write_url`].

use core::fmt;
use core::str::FromStr;

/// The policy for the query of a URL in lines and spans.
///
/// It also applies to the fragment, which can contain a token (`#access_token=…`): only `Keep` keeps it.
///
/// ```
/// # use logtracer_core::request::url::Query;
/// assert_eq!(Query::default(), Query::Redact);
/// assert_eq!("keep".parse(), Ok(Query::Keep));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Query {
    /// Keeps names and replaces values with `REDACTED`. A part without a name is a value.
    #[default]
    Redact,
    /// Keeps the query unchanged.
    Keep,
    /// Drops the query.
    Drop,
}

const REDACTED: &[u8] = b"REDACTED";

impl FromStr for Query {
    type Err = UnknownQuery;

    fn from_str(name: &str) -> Result<Self, UnknownQuery> {
        match name {
            "redact" => Ok(Self::Redact),
            "keep" => Ok(Self::Keep),
            "drop" => Ok(Self::Drop),
            _ => Err(UnknownQuery),
        }
    }
}

/// The error of parsing a [`Query`]. It lists the names.
///
/// ```
/// # use logtracer_core::request::url::Query;
/// assert_eq!("hide".parse::<Query>().unwrap_err().to_string(), "expected one of redact, keep, drop");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownQuery;

impl fmt::Display for UnknownQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected one of redact, keep, drop")
    }
}

impl std::error::Error for UnknownQuery {}

/// Appends a path and its query, redacted by the policy.
///
/// ```
/// use logtracer_core::request::url::{Query, write_target};
///
/// let mut out = Vec::new();
/// write_target(&mut out, b"/pay?card=4111&cvc=1", Query::Redact);
/// assert_eq!(out, b"/pay?card=REDACTED&cvc=REDACTED");
/// ```
pub fn write_target(out: &mut Vec<u8>, target: &[u8], query: Query) {
    let without_fragment = target.split(|&byte| byte == b'#').next().unwrap_or_default();
    let mut parts = without_fragment.splitn(2, |&byte| byte == b'?');
    let path = parts.next().unwrap_or_default();
    match query {
        Query::Keep => out.extend_from_slice(target),
        Query::Drop => out.extend_from_slice(path),
        Query::Redact => {
            out.extend_from_slice(path);
            let Some(mut pairs) = parts.next() else { return };
            out.push(b'?');
            while let Some(end) = pairs.iter().position(|byte| matches!(byte, b'&' | b'?')) {
                let (pair, more) = pairs.split_at(end);
                redact_pair(out, pair);
                out.extend(more.first());
                pairs = more.get(1..).unwrap_or_default();
            }
            redact_pair(out, pairs);
        }
    }
}

/// Appends one part of a query. A part also ends at a second question mark, so that no value is taken for a name.
fn redact_pair(out: &mut Vec<u8>, pair: &[u8]) {
    match pair.iter().position(|&byte| byte == b'=') {
        Some(equals) => {
            out.extend_from_slice(pair.get(..=equals).unwrap_or_default());
            if pair.len() > equals + 1 {
                out.extend_from_slice(REDACTED);
            }
        }
        None if pair.is_empty() => {}
        None => out.extend_from_slice(REDACTED),
    }
}

/// Appends a URL, redacted by the policy and without the credentials in its authority.
///
/// ```
/// use logtracer_core::request::url::{Query, write_url};
///
/// let mut out = Vec::new();
/// write_url(&mut out, b"https://me:secret@shop/pay?card=4111", Query::Redact);
/// assert_eq!(out, b"https://shop/pay?card=REDACTED");
/// ```
pub fn write_url(out: &mut Vec<u8>, url: &[u8], query: Query) {
    let (scheme, rest) = url.split_at_checked(authority_at(url)).unwrap_or((url, b""));
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, b""));
    out.extend_from_slice(scheme);
    out.extend_from_slice(without_credentials(authority));
    write_target(out, target, query);
}

/// Returns the index of the authority of a URL: after `scheme://` or `//`, and 0 for other texts.
fn authority_at(url: &[u8]) -> usize {
    const SLASHES: &[u8] = b"//";
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    // Slashes after anything else, such as a query, do not start the authority.
    let scheme = url.iter().position(|byte| !is_scheme(byte)).unwrap_or(url.len());
    let rest = url.get(scheme..).unwrap_or_default();
    match rest.strip_prefix(b":").unwrap_or(rest) {
        after if after.starts_with(SLASHES) && (scheme == 0 || rest.starts_with(b":")) => {
            url.len() - after.len() + SLASHES.len()
        }
        _ => 0,
    }
}

/// Returns true for headers whose value is a URL or the target of one, which [`write_url`] must redact.
///
/// ```
/// use logtracer_core::request::url::is_url_header;
///
/// assert!(is_url_header("location") && !is_url_header("x-tenant"));
/// ```
pub fn is_url_header(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "referer",
        "location",
        "content-location",
        "x-envoy-original-path",
        "x-forwarded-uri",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-url",
    ];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Returns an authority without the credentials before its `@`.
pub fn without_credentials(authority: &[u8]) -> &[u8] {
    authority.rsplit(|&byte| byte == b'@').next().unwrap_or_default()
}

/// Appends `scheme://authority` and the target, without the credentials in the authority. [`write_target`] has redacted
/// the target.
///
/// Without an authority it only appends the target. The target `*` of `OPTIONS *` is omitted after an authority.
pub fn write_full(out: &mut Vec<u8>, scheme: &[u8], authority: &[u8], target: &[u8]) {
    let host = without_credentials(authority);
    if !host.is_empty() {
        out.extend_from_slice(if scheme.is_empty() { b"http" } else { scheme });
        out.extend_from_slice(b"://");
        out.extend_from_slice(host);
        if target == b"*" {
            return;
        }
    }
    out.extend_from_slice(target);
}

/// Returns the host of an authority or socket address: `a:80`, `[::1]:80`, `10.0.0.1:80`.
pub fn without_port(address: &[u8]) -> &[u8] {
    split_port(address).0
}

/// Splits an authority or socket address into host and port. An IPv6 host has no brackets.
pub fn split_port(address: &[u8]) -> (&[u8], Option<u16>) {
    let digits = address.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = address.split_at_checked(address.len() - digits).unwrap_or((address, &[]));
    match (before, port(digits)) {
        ([b'[', inner @ .., b']', b':'], port @ Some(_)) => (inner, port),
        ([b'[', inner @ .., b']'], None) => (inner, None),
        // A port can be empty (RFC 3986, section 3.2.3).
        ([b'[', inner @ .., b']', b':'], None) if digits.is_empty() => (inner, None),
        // An IPv6 address without brackets has no port.
        ([host @ .., b':'], port) if !host.contains(&b':') && (port.is_some() || digits.is_empty()) => {
            (host, port)
        }
        _ => (address, None),
    }
}

/// Parses digits. Not by [`crate::decimal`]: in WebAssembly, a checked multiplication of 64 bits is expensive.
fn port(digits: &[u8]) -> Option<u16> {
    let is_port = (1..=5).contains(&digits.len());
    let number = digits.iter().take(5).fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    u16::try_from(number).ok().filter(|_| is_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[track_caller]
    fn check(target: &str, query: Query, expected: &str) {
        let mut out = Vec::new();
        write_target(&mut out, target.as_bytes(), query);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    /// Rule 70.
    #[test]
    fn values_are_redacted() {
        check("/a", Query::Redact, "/a");
        check("/a?", Query::Redact, "/a?");
        check("/a?x=1", Query::Redact, "/a?x=REDACTED");
        check("/a?x=", Query::Redact, "/a?x=");
        check("/a?x=1&y=2=3&&z=", Query::Redact, "/a?x=REDACTED&y=REDACTED&&z=");
        check("/a?secret", Query::Redact, "/a?REDACTED");
        check("/a?x=1;y=secret", Query::Redact, "/a?x=REDACTED");
        check("/a?x=1?y=secret", Query::Redact, "/a?x=REDACTED?y=REDACTED");
        check("/a?secret?y=1", Query::Redact, "/a?REDACTED?y=REDACTED");
        check("/a?x=1", Query::Keep, "/a?x=1");
        check("/a?x=1", Query::Drop, "/a");
    }

    #[test]
    fn fragments_follow_the_policy_of_the_query() {
        check("/cb#access_token=secret", Query::Redact, "/cb");
        check("/cb#access_token=secret", Query::Drop, "/cb");
        check("/cb#access_token=secret", Query::Keep, "/cb#access_token=secret");
        check("/cb?x=1#access_token=secret", Query::Redact, "/cb?x=REDACTED");
        check("/cb?x#secret", Query::Redact, "/cb?REDACTED");
        check("/cb#secret?x=secret", Query::Redact, "/cb");
        check("/cb?x=1#secret", Query::Drop, "/cb");
        check("#secret", Query::Redact, "");
    }

    #[test]
    fn credentials_are_removed() {
        let mut out = Vec::new();
        write_full(&mut out, b"https", b"me:secret@shop:8443", b"/a");
        assert_eq!(out, b"https://shop:8443/a");
        out.clear();
        write_full(&mut out, b"http", b"shop", b"*"); // OPTIONS *
        assert_eq!(out, b"http://shop");
        out.clear();
        write_full(&mut out, b"http", b"", b"*");
        assert_eq!(out, b"*");

        for (url, expected) in [
            ("https://me:secret@shop/a?x=1", "https://shop/a?x=REDACTED"),
            ("https://shop?x=a@b", "https://shop?x=REDACTED"),
            ("https://shop/a@b", "https://shop/a@b"),
            ("/a?x=1", "/a?x=REDACTED"),
            ("me:secret@shop", "shop"),
            ("//me:secret@host/", "//host/"),
            ("//me:secret@host", "//host"),
            ("android-app://me:secret@com.example/", "android-app://com.example/"),
            ("https://shop/cb#access_token=secret", "https://shop/cb"),
            ("https://me:secret@shop#access_token=secret", "https://shop"),
            ("/login?password=secret&next=https://x/", "/login?password=REDACTED&next=REDACTED"),
            ("?password=secret&next=https://x/", "?password=REDACTED&next=REDACTED"),
            ("https:/a?x=https://me:secret@x", "https:/a?x=REDACTED"),
            ("", ""),
        ] {
            let mut out = Vec::new();
            write_url(&mut out, url.as_bytes(), Query::Redact);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn whole_urls() {
        for (scheme, authority, target, expected) in [
            ("https", "shop", "/a", "https://shop/a"),
            ("", "shop", "/a", "http://shop/a"),
            ("https", "", "/a", "/a"),
            ("https", "me:secret@", "/a", "/a"),
            ("https", "me@you:secret@shop", "", "https://shop"),
            ("", "", "", ""),
        ] {
            let mut out = Vec::new();
            write_full(&mut out, scheme.as_bytes(), authority.as_bytes(), target.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn headers_with_a_url() {
        for (name, expected) in [
            ("referer", true),
            ("Location", true),
            ("content-location", true),
            ("x-rewrite-url", true),
            ("locations", false),
            ("x-tenant", false),
            ("", false),
        ] {
            assert_eq!(is_url_header(name), expected, "{name}");
        }
    }

    #[test]
    fn ports() {
        for (address, host, port) in [
            ("shop", "shop", None),
            ("shop:80", "shop", Some(80)),
            ("10.0.0.1:8080", "10.0.0.1", Some(8080)),
            ("[::1]:80", "::1", Some(80)),
            ("[::1]", "::1", None),
            ("::1", "::1", None),
            ("fe80::1:80", "fe80::1:80", None),
            ("shop:", "shop", None),
            ("[::1]:", "::1", None),
            ("fe80::", "fe80::", None),
            (":", "", None),
            ("shop:+80", "shop:+80", None),
            ("shop:65535", "shop", Some(65535)),
            ("shop:65536", "shop:65536", None),
            ("shop:00080", "shop", Some(80)),
            ("shop:000080", "shop:000080", None),
            ("", "", None),
        ] {
            assert_eq!(split_port(address.as_bytes()), (host.as_bytes(), port), "{address}");
            assert_eq!(without_port(address.as_bytes()), host.as_bytes(), "{address}");
        }
    }
}
