//! `exclude`: which requests have no span.

use logtracer_core::request::Routes;

use super::error::ConfigError;
use super::section::Section;
use super::values::{boolean, non_empty_string, request_path, request_path_part};

/// Which requests have no span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclude {
    /// Requests with these paths.
    pub routes: Routes,
    /// Requests whose user agent starts with one of these strings.
    pub user_agents: Vec<String>,
    /// True if these requests are not logged either, unless they fail.
    pub from_log: bool,
}

impl Default for Exclude {
    /// The health probes of Kubernetes, Google's and Amazon's load balancers, and Envoy.
    fn default() -> Self {
        let probes = ["kube-probe/", "GoogleHC/", "Envoy/HC", "ELB-HealthChecker"];
        Self { routes: Routes::new(), user_agents: probes.map(str::to_owned).to_vec(), from_log: false }
    }
}

impl Exclude {
    /// Every key of the section.
    pub(crate) const KEYS: [&str; 4] = ["paths", "path_contains", "user_agents", "log"];

    pub(super) fn read(root: &Section<'_>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let Some(section) = root.section("exclude", &Self::KEYS)? else { return Ok(default) };
        let paths = section.list("paths", "a list of paths", request_path)?.unwrap_or_default();
        let parts =
            section.list("path_contains", "a list of path parts", request_path_part)?.unwrap_or_default();
        let routes = paths.into_iter().fold(Routes::new(), Routes::exact);
        Ok(Self {
            routes: parts.into_iter().fold(routes, Routes::contains),
            user_agents: section
                .list("user_agents", "a list of strings", non_empty_string)?
                .unwrap_or(default.user_agents),
            from_log: section.get("log", boolean)?.unwrap_or(default.from_log),
        })
    }

    /// Returns true if a request with this path and user agent is excluded.
    pub fn matches(&self, path: &[u8], user_agent: &[u8]) -> bool {
        self.routes.matches(path)
            || self.user_agents.iter().any(|prefix| user_agent.starts_with(prefix.as_bytes()))
    }
}
