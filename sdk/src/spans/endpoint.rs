//! [`Endpoint`]: where spans are sent to.

use std::fmt;

use http::Uri;
use logtracer_core::request::url::{self, Query};

/// The path of OTLP over HTTP.
const DEFAULT_PATH: &str = "/v1/traces";

/// A URL, and how its path is completed.
#[derive(Clone)]
pub(super) struct EndpointUrl {
    pub(super) url: String,
    pub(super) path: PathRule,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathRule {
    /// `/v1/traces`, if the URL has no path.
    Default,
    /// `v1/traces` is appended (`OTEL_EXPORTER_OTLP_ENDPOINT`).
    Append,
    /// The path is used unchanged (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`).
    Unchanged,
}

/// The parts of a valid URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) scheme: Scheme,
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of the header `host`.
    pub(super) authority: String,
    /// The path and the query.
    pub(super) path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl EndpointUrl {
    pub(super) fn new(url: impl Into<String>, path: PathRule) -> Self {
        Self { url: url.into(), path }
    }

    /// Returns `None` if it is not a URL of HTTP, or if it contains a user name.
    pub(super) fn parse(&self) -> Option<Endpoint> {
        let uri: Uri = self.url.trim().parse().ok()?;
        let (scheme, default_port) = match uri.scheme_str()? {
            "http" => (Scheme::Http, 80),
            "https" => (Scheme::Https, 443),
            _ => return None,
        };
        let authority = uri.authority()?;
        // It would be sent as part of the header `host`, and logged.
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let path = match (self.path, uri.path()) {
            (PathRule::Append, path) => format!("{}{DEFAULT_PATH}", path.trim_end_matches('/')),
            (PathRule::Default, "" | "/") => DEFAULT_PATH.to_owned(),
            (_, path) => path.to_owned(),
        };
        Some(Endpoint {
            scheme,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(default_port),
            authority: authority.to_string(),
            path: match uri.query() {
                Some(query) => format!("{path}?{query}"),
                None => path,
            },
        })
    }
}

impl fmt::Debug for EndpointUrl {
    /// Writes the URL without credentials and without the values of its query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", redact_url(&self.url))
    }
}

/// Returns the URL without credentials and without the values of its query.
pub(super) fn redact_url(url: &str) -> String {
    let mut redacted = Vec::new();
    url::write_url(&mut redacted, url.as_bytes(), Query::Redact);
    String::from_utf8_lossy(&redacted).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: PathRule, url: &str, expected: Option<(Scheme, &str, u16, &str, &str)>) {
        let endpoint = EndpointUrl::new(url, rule).parse();
        let parts = endpoint
            .as_ref()
            .map(|it| (it.scheme, it.host.as_str(), it.port, it.authority.as_str(), it.path.as_str()));
        assert_eq!(parts, expected, "{url}");
    }

    #[test]
    fn endpoints() {
        use Scheme::{Http, Https};
        let default = PathRule::Default;
        let local = |path| Some((Http, "127.0.0.1", 4318, "127.0.0.1:4318", path));
        check(default, "http://127.0.0.1:4318", local("/v1/traces"));
        check(default, "http://[::1]:4318/", Some((Http, "::1", 4318, "[::1]:4318", "/v1/traces")));
        check(default, "http://exporter/otlp", Some((Http, "exporter", 80, "exporter", "/otlp")));
        check(default, "https://exporter/?a=b", Some((Https, "exporter", 443, "exporter", "/v1/traces?a=b")));
        check(PathRule::Append, "http://127.0.0.1:4318", local("/v1/traces"));
        check(PathRule::Append, "http://127.0.0.1:4318/", local("/v1/traces"));
        check(PathRule::Append, "http://127.0.0.1:4318/my-api/", local("/my-api/v1/traces"));
        check(PathRule::Unchanged, "http://127.0.0.1:4318", local("/"));
        check(PathRule::Unchanged, " http://127.0.0.1:4318/a/ ", local("/a/"));
        for wrong in ["", "exporter:4318", "grpc://exporter", "http://me:secret@exporter", "http://:80"] {
            check(default, wrong, None);
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let url = EndpointUrl::new("http://me:secret@exporter/v1/traces?key=secret", PathRule::Default);
        assert_eq!(format!("{url:?}"), "\"http://exporter/v1/traces?key=REDACTED\"");
    }
}
