//! Matching of requests: [`Routes`] by path, [`HostPattern`] by host.

use core::fmt;
use core::str::FromStr;

use super::url;

/// A set of request paths, given as whole paths or as parts that a path contains. Paths have no query.
///
/// ```
/// # use logtracer_core::request::Routes;
/// let routes = Routes::new().exact("/healthz").contains("/app-config/");
/// assert!(routes.matches(b"/healthz"));
/// assert!(routes.matches(b"/v1/app-config/x"));
/// assert!(!routes.matches(b"/healthz/deep"));
/// assert!(!Routes::new().matches(b"/"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routes {
    exact: Vec<String>,
    contains: Vec<String>,
}

impl Routes {
    /// Creates an empty set.
    pub const fn new() -> Self {
        Self { exact: Vec::new(), contains: Vec::new() }
    }

    /// Adds a path.
    #[must_use]
    pub fn exact(mut self, path: impl Into<String>) -> Self {
        self.exact.push(path.into());
        self
    }

    /// Adds all paths that contain a part.
    #[must_use]
    pub fn contains(mut self, part: impl Into<String>) -> Self {
        self.contains.push(part.into());
        self
    }

    /// Returns true if the set contains the path, which has no query.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.exact.iter().any(|exact| path == exact.as_bytes())
            || self.contains.iter().any(|part| contains(path, part.as_bytes()))
    }
}

/// A host or, with the prefix `*.`, all hosts below it.
///
/// ```
/// use logtracer_core::request::HostPattern;
///
/// let pattern: HostPattern = "*.example.com".parse()?;
/// assert!(pattern.matches(b"api.example.com:443"));
/// assert!(!pattern.matches(b"example.com"));
/// # Ok::<(), logtracer_core::request::InvalidHost>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    /// The host, or the suffix with its dot.
    text: String,
    is_suffix: bool,
}

impl HostPattern {
    /// Returns true if the host matches: in any case, with or without a port, and with or without the dot of the
    /// root of DNS (`example.com.`).
    pub fn matches(&self, authority: &[u8]) -> bool {
        let host = without_root(url::without_port(authority));
        let tail = if self.is_suffix {
            host.len().checked_sub(self.text.len()).filter(|at| *at > 0).and_then(|at| host.get(at..))
        } else {
            Some(host)
        };
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(self.text.as_bytes()))
    }
}

/// Returns the host without the dot of the root of DNS: `example.com.` and `example.com` are one host.
fn without_root(host: &[u8]) -> &[u8] {
    host.strip_suffix(b".").unwrap_or(host)
}

impl FromStr for HostPattern {
    type Err = InvalidHost;

    /// Parses a host without a port: a pattern matches a host with any port. An IPv6 address has no brackets.
    fn from_str(pattern: &str) -> Result<Self, InvalidHost> {
        let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
        let host = pattern.strip_prefix("*.").unwrap_or(pattern);
        let is_in_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        // A single colon is that of a port.
        let has_port = host.bytes().filter(|byte| *byte == b':').count() == 1;
        if host.is_empty() || has_port || !host.bytes().all(is_in_host) {
            return Err(InvalidHost);
        }
        let is_suffix = host.len() < pattern.len();
        Ok(Self { text: pattern.get(usize::from(is_suffix)..).unwrap_or_default().to_owned(), is_suffix })
    }
}

/// The error of parsing a [`HostPattern`].
///
/// ```
/// use logtracer_core::request::{HostPattern, InvalidHost};
///
/// assert_eq!("https://stock/".parse::<HostPattern>(), Err(InvalidHost));
/// assert_eq!(InvalidHost.to_string(), "expected a host, such as \"api.example.com\" or \"*.example.com\"");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidHost;

impl InvalidHost {
    /// What was expected, for the error of a configuration.
    pub const EXPECTED: &str = "a host, such as \"api.example.com\" or \"*.example.com\"";
}

impl fmt::Display for InvalidHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected ")?;
        f.write_str(Self::EXPECTED)
    }
}

impl std::error::Error for InvalidHost {}

/// Returns true if `text` contains `part`.
pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn paths() {
        let routes = Routes::new().exact("/healthz").exact("/").contains("/app-config/");
        for (path, expected) in [
            ("/healthz", true),
            ("/", true),
            ("/v1/app-config/x", true),
            ("/app-config/", true),
            ("/app-config", false),
            ("/healthz/deep", false),
            ("/health", false),
            ("", false),
        ] {
            assert_eq!(routes.matches(path.as_bytes()), expected, "{path}");
            assert!(!Routes::new().matches(path.as_bytes()), "{path}");
            assert!(Routes::new().contains("").matches(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn hosts() {
        for (pattern, host, expected) in [
            ("example.com", "example.com", true),
            ("example.com", "Example.COM:80", true),
            ("example.com", "a.example.com", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "badexample.com", false),
            ("*.example.com", "com", false),
            ("::1", "[::1]:80", true),
            ("example.com", "example.com.", true),
            ("example.com", "example.com.:80", true),
            ("example.com.", "example.com", true),
            ("example.com", "example.com:", true),
            ("*.example.com", "a.example.com.:", true),
            ("::1", "[::1]:", true),
            ("example.com", "example.com..", false),
            ("*.example.com", "a.example.com.", true),
            ("*.example.com.", "a.example.com:80", true),
            ("*.example.com", "example.com.", false),
        ] {
            let pattern: HostPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(host.as_bytes()), expected, "{pattern:?} {host}");
        }
    }

    #[test]
    fn only_hosts_without_a_port_are_valid() {
        for host in ["::1", "10.0.0.1", "a_b", "*.local", "2001:db8::1"] {
            assert!(host.parse::<HostPattern>().is_ok(), "{host}");
        }
        for host in [
            "", ".", "*", "*.", "*..", "*x", "a b", "*.*.x", "http://x", "x/y", "x?y", "[::1]", "me@x",
            "x:80", "*.x:80", "x:",
        ] {
            assert_eq!(host.parse::<HostPattern>(), Err(InvalidHost), "{host}");
        }
        let expected = "expected a host, such as \"api.example.com\" or \"*.example.com\"";
        assert_eq!(InvalidHost.to_string(), expected);
    }
}
