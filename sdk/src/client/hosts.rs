//! [`Hosts`]: the hosts to which a client sends the trace.

use std::fmt;
use std::sync::Arc;

use logtracer_core::request::{HostPattern, InvalidHost};

/// A list of hosts, for [`TraceLayer::hosts`](super::TraceLayer::hosts): `stock`, or `*.shop.svc.cluster.local` for all
/// hosts below one.
///
/// The rules are those of the filter's `propagation.strip_hosts`: in any case, with any port, and with or without the
/// final dot of a full DNS name.
///
/// ```
/// use logtracer_sdk::client::Hosts;
///
/// let hosts = Hosts::new(["stock", "*.shop.svc.cluster.local"])?;
/// assert!(hosts.contains("stock:8080") && hosts.contains("api.shop.svc.cluster.local"));
/// assert!(!hosts.contains("shop.svc.cluster.local") && !hosts.contains("api.example.com"));
/// assert!(!Hosts::none().contains("stock"));
/// # Ok::<(), logtracer_sdk::client::HostsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts(Arc<[HostPattern]>);

impl Hosts {
    /// Returns the list of these hosts.
    ///
    /// # Errors
    ///
    /// If one of them is not a host, such as a URL, or has a port. Hosts are compared without their ports.
    pub fn new<H: AsRef<str>>(hosts: impl IntoIterator<Item = H>) -> Result<Self, HostsError> {
        hosts.into_iter().map(|host| read(host.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the empty list: nothing is sent to any host.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns true if the list contains the host, which may have a port. It contains no URL.
    #[must_use]
    pub fn contains(&self, host: &str) -> bool {
        !host.contains(['/', '?', '#', '@']) && self.0.iter().any(|pattern| pattern.matches(host.as_bytes()))
    }
}

fn read(host: &str) -> Result<HostPattern, HostsError> {
    host.parse().map_err(|_| HostsError(host.chars().take(MAX_SHOWN_CHARS).collect()))
}

/// How much of an invalid host is in the text of its error.
const MAX_SHOWN_CHARS: usize = 100;

/// An item of [`Hosts::new`] that is not a host.
///
/// ```
/// use logtracer_sdk::client::Hosts;
///
/// let error = Hosts::new(["https://stock/"]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "expected a host, such as \"api.example.com\" or \"*.example.com\", not \"https://stock/\"",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsError(String);

impl fmt::Display for HostsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{InvalidHost}, not {:?}", self.0)
    }
}

impl std::error::Error for HostsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_hosts() {
        for host in ["", "*", "http://x", "[::1]", "me@x", "caf\u{e9}", "stock:8080", "*.local:8080"] {
            assert_eq!(Hosts::new([host]), Err(HostsError(host.to_owned())));
        }
        assert_eq!(Hosts::new(["/".repeat(1000)]).unwrap_err().0.len(), MAX_SHOWN_CHARS);
        assert!(Hosts::new(["::1", "10.0.0.1", "a_b", "*.local"]).is_ok());
    }

    #[test]
    fn a_url_is_no_host() {
        let hosts = Hosts::new(["*.shop.local", "stock", "::1"]).unwrap();
        for (host, expected) in [
            ("api.shop.local", true),
            ("api.shop.local:80", true),
            ("[::1]:80", true),
            ("api.shop.local.", true),
            ("stock.:80", true),
            ("https://evil.example/x.shop.local", false),
            ("evil.example?x.shop.local", false),
            ("evil.example#x.shop.local", false),
            ("me@api.shop.local", false),
        ] {
            assert_eq!(hosts.contains(host), expected, "{host}");
        }
    }
}
