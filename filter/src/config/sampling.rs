//! `sampling` and `exclude`: which traces are recorded, and which requests leave no span.

use core::time::Duration;

use logtracer_core::request::Routes;
use logtracer_core::sampling::{Condition, HeaderCondition, Ratio, Rule, Rules};

use super::ConfigError;
use super::read::Section;

/// Which traces are recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// The share of new and of undecided traces.
    pub rate: Ratio,
    /// Take `;o=0` of `x-cloud-trace-context` as "not decided".
    pub defer_cloud_trace_zero: bool,
    /// At most so many new sampled traces a second, in one worker.
    pub max_per_second: Option<f64>,
    /// Export the span of a failed request although its trace is not sampled.
    pub keep_errors: bool,
    /// Export the span of a request that took longer than this although its trace is not sampled.
    pub keep_slower_than: Option<Duration>,
    /// Other shares for some requests.
    pub rules: Rules,
}

/// Which requests leave no span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclude {
    /// Requests by path.
    pub routes: Routes,
    /// Requests by the beginning of their user agent.
    pub user_agents: Vec<String>,
    /// Whether they leave no line either.
    pub log: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            rate: Ratio::ALL,
            defer_cloud_trace_zero: false,
            max_per_second: None,
            keep_errors: false,
            keep_slower_than: None,
            rules: Rules::default(),
        }
    }
}

impl Default for Exclude {
    /// The health probes of Kubernetes, Google's and Amazon's load balancers, and Envoy.
    fn default() -> Self {
        let probes = ["kube-probe/", "GoogleHC/", "Envoy/HC", "ELB-HealthChecker"];
        Self { routes: Routes::new(), user_agents: probes.map(str::to_owned).to_vec(), log: false }
    }
}

const A_SHARE: &str = "a number from 0 to 1";

impl Sampling {
    /// Every key of the section.
    pub(crate) const KEYS: [&str; 6] =
        ["rate", "defer_cloud_trace_zero", "max_per_second", "keep_errors", "keep_slower_than", "rules"];
    /// Every key of a rule.
    pub(crate) const RULE_KEYS: [&str; 8] =
        ["path_prefix", "path", "path_contains", "host", "method", "header", "rate", "log"];

    pub(super) fn read(root: &Section<'_>) -> Result<Self, ConfigError> {
        let Some(section) = root.section("sampling")? else { return Ok(Self::default()) };
        section.only(&Self::KEYS)?;
        let rules = section.sections("rules")?.iter().map(read_rule).collect::<Result<_, _>>()?;
        Ok(Self {
            rate: section.number("rate", A_SHARE, Ratio::new)?.unwrap_or(Ratio::ALL),
            defer_cloud_trace_zero: section.truth("defer_cloud_trace_zero")?.unwrap_or(false),
            max_per_second: section.number("max_per_second", "a number above 0", |rate| {
                (rate > 0.0 && rate.is_finite()).then_some(rate)
            })?,
            keep_errors: section.truth("keep_errors")?.unwrap_or(false),
            keep_slower_than: section.duration("keep_slower_than")?,
            rules: Rules::new(rules),
        })
    }
}

fn read_rule(section: &Section<'_>) -> Result<Rule, ConfigError> {
    section.only(&Sampling::RULE_KEYS)?;
    let mut conditions = Vec::new();
    conditions.extend(section.route("path_prefix")?.map(Condition::PathPrefix));
    conditions.extend(section.route("path")?.map(Condition::Path));
    conditions.extend(section.route_part("path_contains")?.map(Condition::PathContains));
    conditions.extend(section.host("host")?.map(Condition::Host));
    conditions.extend(section.method("method")?.map(Condition::Method));
    conditions.extend(
        section
            .header_condition("header")?
            .map(|(name, value)| Condition::Header(HeaderCondition { name, value })),
    );
    if conditions.is_empty() {
        let expected = "a condition: path_prefix, path, path_contains, host, method or header";
        return Err(section.missing_any(expected));
    }
    let rate = section.number("rate", A_SHARE, Ratio::new)?;
    let log = section.truth("log")?;
    if rate.is_none() && log.is_none() {
        return Err(section.missing_any("what the rule sets: rate or log"));
    }
    Ok(Rule { conditions, rate, log: log.unwrap_or(true) })
}

impl Exclude {
    /// Every key of the section.
    pub(crate) const KEYS: [&str; 4] = ["paths", "path_contains", "user_agents", "log"];

    pub(super) fn read(root: &Section<'_>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let Some(section) = root.section("exclude")? else { return Ok(default) };
        section.only(&Self::KEYS)?;
        let mut routes = Routes::new();
        for path in section.routes("paths")? {
            routes = routes.exact(path);
        }
        for part in section.route_parts("path_contains")? {
            routes = routes.contains(part);
        }
        Ok(Self {
            routes,
            user_agents: section.texts("user_agents")?.unwrap_or(default.user_agents),
            log: section.truth("log")?.unwrap_or(false),
        })
    }

    /// True where a request of this path and user agent is excluded.
    pub fn matches(&self, path: &[u8], user_agent: &[u8]) -> bool {
        self.routes.matches(path)
            || self.user_agents.iter().any(|probe| user_agent.starts_with(probe.as_bytes()))
    }
}
