//! Matching of requests: [`Routes`] by path, [`HostPattern`] by host.

use core::convert::Infallible;
use core::str::FromStr;

use super::url;

/// A set of request paths, given as whole paths or as parts that a path contains. Paths have no query.
///
/// ```
/// use logtracer_core::request::Routes;
///
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
/// # Ok::<(), std::convert::Infallible>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    /// The host, or the suffix with its dot.
    text: String,
    is_suffix: bool,
}

impl HostPattern {
    /// Returns true if the host matches, in any case and with or without a port.
    pub fn matches(&self, authority: &[u8]) -> bool {
        let host = url::without_port(authority);
        let tail = if self.is_suffix {
            host.len().checked_sub(self.text.len()).filter(|at| *at > 0).and_then(|at| host.get(at..))
        } else {
            Some(host)
        };
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(self.text.as_bytes()))
    }
}

impl FromStr for HostPattern {
    type Err = Infallible;

    fn from_str(pattern: &str) -> Result<Self, Infallible> {
        Ok(match pattern.strip_prefix('*') {
            Some(suffix) => Self { text: suffix.to_owned(), is_suffix: true },
            None => Self { text: pattern.to_owned(), is_suffix: false },
        })
    }
}

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
        ] {
            let pattern: HostPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(host.as_bytes()), expected, "{pattern:?} {host}");
        }
    }
}
