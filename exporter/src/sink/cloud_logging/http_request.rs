//! Structured members of an entry, checked against their types: what has another type stays in the payload.
//!
//! <https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#HttpRequest>

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::truncator::Truncator;

/// The type of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bool,
    /// A 64-bit integer, which ProtoJSON writes as a text.
    Int64,
    /// A status of HTTP.
    Status,
    /// Seconds with up to nine decimals and `s`.
    Duration,
}

/// The members of an object, each with its type.
pub(super) type Members = [(&'static str, Kind)];

pub(super) const HTTP_REQUEST: &Members = &[
    ("requestMethod", Kind::Text),
    ("requestUrl", Kind::Text),
    ("requestSize", Kind::Int64),
    ("status", Kind::Status),
    ("responseSize", Kind::Int64),
    ("userAgent", Kind::Text),
    ("remoteIp", Kind::Text),
    ("serverIp", Kind::Text),
    ("referer", Kind::Text),
    ("latency", Kind::Duration),
    ("cacheLookup", Kind::Bool),
    ("cacheHit", Kind::Bool),
    ("cacheValidatedWithOriginServer", Kind::Bool),
    ("cacheFillBytes", Kind::Int64),
    ("protocol", Kind::Text),
];

pub(super) const SOURCE_LOCATION: &Members =
    &[("file", Kind::Text), ("line", Kind::Int64), ("function", Kind::Text)];

pub(super) const OPERATION: &Members =
    &[("id", Kind::Text), ("producer", Kind::Text), ("first", Kind::Bool), ("last", Kind::Bool)];

/// Longer texts are truncated.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// Moves the members that have their type out of an object.
pub(super) fn take(
    members: &Members,
    from: &mut Map<String, Value>,
    truncator: &mut Truncator,
) -> Map<String, Value> {
    let mut taken = Map::new();
    for (name, kind) in members {
        if let Some(value) = from.get(*name).and_then(|value| checked(*kind, value)) {
            taken.insert((*name).to_owned(), shortened(value, truncator));
            from.remove(*name);
        }
    }
    taken
}

/// Returns a value as the API writes this type, or `None` if it has another type.
pub(super) fn checked(kind: Kind, value: &Value) -> Option<Value> {
    let number = || value.as_i64().or_else(|| value.as_str()?.parse().ok()).filter(|number| *number >= 0);
    match kind {
        Kind::Text => Some(value.as_str()?.into()),
        Kind::Bool => Some(value.as_bool()?.into()),
        Kind::Int64 => Some(number()?.to_string().into()),
        Kind::Status => number().filter(|status| *status < 1000).map(Into::into),
        Kind::Duration => is_duration(value.as_str()?).then(|| value.clone()),
    }
}

/// Truncates a value that is a text.
pub(super) fn shortened(value: Value, truncator: &mut Truncator) -> Value {
    match value {
        Value::String(text) => truncator.truncate(&text, MAX_TEXT_BYTES).into(),
        other => other,
    }
}

fn is_duration(text: &str) -> bool {
    let Some((seconds, nanos)) =
        text.strip_suffix('s').map(|text| text.split_once('.').unwrap_or((text, "0")))
    else {
        return false;
    };
    let are_digits = |text: &str, max: usize| {
        (1..=max).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit())
    };
    are_digits(seconds, 12) && are_digits(nanos, 9)
}

/// The members of `httpRequest`, each with the attributes of OpenTelemetry's conventions that it has. Of the names of an
/// attribute, the first is the current one.
const CONVENTIONS: &[(&str, Kind, &[&str])] = &[
    ("requestMethod", Kind::Text, &["http.request.method", "http.method"]),
    ("requestUrl", Kind::Text, &["url.full", "http.url", "http.target", "url.path"]),
    ("status", Kind::Status, &["http.response.status_code", "http.status_code"]),
    (
        "requestSize",
        Kind::Int64,
        &["http.request.size", "http.request.body.size", "http.request_content_length"],
    ),
    (
        "responseSize",
        Kind::Int64,
        &["http.response.size", "http.response.body.size", "http.response_content_length"],
    ),
    ("userAgent", Kind::Text, &["user_agent.original", "http.user_agent"]),
    ("remoteIp", Kind::Text, &["client.address", "http.client_ip", "network.peer.address"]),
    ("protocol", Kind::Text, &["network.protocol.version", "http.flavor"]),
];

/// Moves the attributes of an HTTP request out of the payload.
pub(super) fn take_conventions(
    from: &mut Map<String, Value>,
    truncator: &mut Truncator,
) -> Map<String, Value> {
    let mut taken = Map::new();
    if !(from.contains_key("http.request.method") || from.contains_key("http.method")) {
        return taken;
    }
    for (member, kind, names) in CONVENTIONS {
        let found = names.iter().find_map(|name| {
            let value = checked(*kind, from.get(*name)?)?;
            // The address of a client can be a name.
            let fits = *member != "remoteIp" || value.as_str()?.parse::<IpAddr>().is_ok();
            fits.then_some((*name, value))
        });
        let Some((name, value)) = found else { continue };
        from.remove(name);
        let value = match value.as_str() {
            Some(version) if *member == "protocol" && !version.starts_with("HTTP") => {
                format!("HTTP/{version}").into()
            }
            _ => value,
        };
        taken.insert((*member).to_owned(), shortened(value, truncator));
    }
    taken
}
