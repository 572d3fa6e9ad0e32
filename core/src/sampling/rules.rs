//! [`Rules`]: ratios for some requests. The first matching rule applies.

use super::Ratio;
use crate::request::HostPattern;

/// A condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The path starts with this text.
    PathPrefix(String),
    /// The path equals this text.
    Path(String),
    /// The path contains this text.
    PathContains(String),
    /// The host matches this pattern.
    Host(HostPattern),
    /// The method equals this text.
    Method(String),
    /// A header line meets this condition.
    Header(HeaderCondition),
}

/// A condition on the header lines of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderCondition {
    /// The name, in lower case.
    pub name: String,
    /// The value, or `None` for any value.
    pub value: Option<String>,
}

/// The sampling of the requests that meet all conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The conditions, all of which must be met.
    pub conditions: Vec<Condition>,
    /// The fraction of traces that are sampled, or `None` for the general ratio.
    pub rate: Option<Ratio>,
    /// The fraction of requests that have a log line, or `None` for the general ratio.
    pub log_rate: Option<Ratio>,
}

/// An ordered list of rules.
///
/// ```
/// use logtracer_core::sampling::{Condition, Ratio, RequestParts, Rule, Rules};
///
/// let conditions = vec![Condition::PathPrefix("/health".into())];
/// let rules = Rules::new(vec![Rule { conditions, rate: Ratio::new(0.0), log_rate: Ratio::new(0.0) }]);
/// let parts = RequestParts { path: b"/healthz", ..RequestParts::default() };
/// assert!(rules.first_match(parts, |_| false).is_some());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules(Vec<Rule>);

/// The parts of a request that conditions refer to, except its headers.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestParts<'a> {
    /// The path without the query.
    pub path: &'a [u8],
    /// The host, with or without a port.
    pub authority: &'a [u8],
    /// The method.
    pub method: &'a [u8],
}

impl Rules {
    /// Creates a list in this order.
    pub const fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// Returns true if there are no rules.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the first matching rule. `has_header` returns true if a header line of the request meets the condition.
    pub fn first_match(
        &self,
        parts: RequestParts<'_>,
        has_header: impl Fn(&HeaderCondition) -> bool,
    ) -> Option<&Rule> {
        self.0
            .iter()
            .find(|rule| rule.conditions.iter().all(|condition| condition.is_met_by(parts, &has_header)))
    }
}

impl Condition {
    fn is_met_by(&self, parts: RequestParts<'_>, has_header: &impl Fn(&HeaderCondition) -> bool) -> bool {
        match self {
            Self::PathPrefix(prefix) => parts.path.starts_with(prefix.as_bytes()),
            Self::Path(path) => parts.path == path.as_bytes(),
            Self::PathContains(part) => crate::request::contains(parts.path, part.as_bytes()),
            Self::Host(pattern) => pattern.matches(parts.authority),
            Self::Method(method) => parts.method == method.as_bytes(),
            Self::Header(condition) => has_header(condition),
        }
    }
}

impl HeaderCondition {
    /// Returns true if this header line meets the condition. The name must be in lower case.
    pub fn is_met_by(&self, name: &[u8], value: &[u8]) -> bool {
        name == self.name.as_bytes()
            && self.value.as_ref().is_none_or(|expected| value == expected.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn rule(conditions: Vec<Condition>, rate: f64) -> Rule {
        Rule { conditions, rate: Ratio::new(rate), log_rate: None }
    }

    /// Rule 48.
    #[test]
    fn the_first_matching_rule_applies() {
        let header = |name: &str, value: Option<&str>| {
            Condition::Header(HeaderCondition { name: name.into(), value: value.map(Into::into) })
        };
        let rules = Rules::new(vec![
            rule(vec![Condition::Path("/healthz".into())], 0.0),
            rule(vec![header("x-debug", Some("1"))], 0.9),
            rule(vec![header("x-any", None)], 0.8),
            rule(vec![Condition::PathPrefix("/api/".into()), Condition::Method("POST".into())], 0.5),
            rule(vec![Condition::PathContains("/admin/".into())], 0.4),
            rule(vec![Condition::Host("*.example.com".parse().unwrap())], 0.1),
        ]);
        assert!(!rules.is_empty());
        assert!(Rules::default().is_empty());
        #[track_caller]
        fn check(rules: &Rules, request: [&str; 3], header: (&str, &str), expected: Option<f64>) {
            let [method, authority, path] = request.map(str::as_bytes);
            let found = rules
                .first_match(RequestParts { path, authority, method }, |condition| {
                    condition.is_met_by(header.0.as_bytes(), header.1.as_bytes())
                })
                .map(|rule| rule.rate);
            assert_eq!(found, expected.map(Ratio::new));
        }
        check(&rules, ["GET", "a", "/healthz"], ("x-any", ""), Some(0.0));
        check(&rules, ["GET", "a", "/"], ("x-debug", "1"), Some(0.9));
        check(&rules, ["GET", "a", "/"], ("x-debug", "0"), None);
        check(&rules, ["GET", "a", "/"], ("x-any", ""), Some(0.8));
        check(&rules, ["POST", "a", "/api/x"], ("", ""), Some(0.5));
        check(&rules, ["GET", "a", "/api/x"], ("", ""), None);
        check(&rules, ["GET", "a", "/x/admin/y"], ("", ""), Some(0.4));
        check(&rules, ["GET", "shop.example.com:8080", "/"], ("", ""), Some(0.1));
    }
}
