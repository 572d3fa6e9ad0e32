//! What counts as the name of a header, a path, a host: the texts of a configuration.

use logtracer_core::propagation::Header;

/// What an HTTP message is made of, or what tells caches and clients how to treat it: a filter that writes these breaks
/// messages. Some are Envoy's to set, after all filters.
const OWN_HEADERS: [&str; 24] = [
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "grpc-message",
    "grpc-status",
    "host",
    "keep-alive",
    "location",
    "proxy-connection",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "www-authenticate",
];

/// Never recorded, whatever is configured: credentials, and URLs among other words, where nothing redacts them.
pub(super) const SECRET_HEADERS: [&str; 10] = [
    "authorization",
    "cookie",
    "link",
    "proxy-authorization",
    "refresh",
    "set-cookie",
    "x-api-key",
    "x-forwarded-client-cert",
    "x-goog-iap-jwt-assertion",
    "x-serverless-authorization",
];

/// Letters, digits and what else stands in hosts, ports and IPv6 addresses.
pub(super) fn is_authority(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
}

/// A token of HTTP.
pub(super) fn is_header_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

/// True for what an HTTP message is made of.
pub(super) fn is_own_header(name: &str) -> bool {
    OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// True for headers that a callout has anyway.
pub(super) fn is_callout_header(name: &str) -> bool {
    is_own_header(name)
        || name.eq_ignore_ascii_case("user-agent")
        || Header::from_name(name.as_bytes()).is_some()
}

/// What is expected of the path of a request, or of the beginning of one.
pub(super) const A_ROUTE: &str = "a path without its query that begins with /, such as \"/healthz\"";
/// What is expected of a part of one.
pub(super) const A_ROUTE_PART: &str = "a part of a path, without a query, such as \"/assets/\"";

/// See [`A_ROUTE`].
pub(super) fn is_route(text: &str) -> bool {
    text.starts_with('/') && is_route_part(text)
}

/// See [`A_ROUTE_PART`].
pub(super) fn is_route_part(text: &str) -> bool {
    !text.is_empty() && !text.contains(['?', '#'])
}

/// Visible characters and spaces.
pub(super) fn is_header_value(value: &str) -> bool {
    value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Visible characters only.
pub(super) fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
