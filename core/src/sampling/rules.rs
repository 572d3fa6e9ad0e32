//! [`Rules`]: other shares for some requests; the first rule that matches counts.

use super::Ratio;
use crate::request::HostPattern;

/// What a rule asks of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The path begins with this.
    PathPrefix(String),
    /// The path is this.
    Path(String),
    /// The path contains this.
    PathContains(String),
    /// The host is this or, with `*.`, below this.
    Host(HostPattern),
    /// The method is this.
    Method(String),
    /// A header is there, or has this value.
    Header(HeaderCondition),
}

/// A header that is there, or has one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderCondition {
    /// The name, in lower case.
    pub name: String,
    /// The value; without one it is enough that the header is there.
    pub value: Option<String>,
}

/// A share for the requests that meet all of its conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// The share of traces that are recorded; without one the general share applies.
    pub rate: Option<Ratio>,
    /// Whether requests that succeed are logged.
    pub log: bool,
}

/// Rules in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules(Vec<Rule>);

/// The parts of a request that rules look at.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestParts<'a> {
    /// The path without the query.
    pub path: &'a [u8],
    /// The host, maybe with a port.
    pub authority: &'a [u8],
    /// The method.
    pub method: &'a [u8],
}

impl Rules {
    /// These rules, in this order.
    pub const fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// True where there is no rule.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first rule that matches; `header` tells whether any header line of the request meets a condition.
    pub fn first_match(
        &self,
        facts: RequestParts<'_>,
        header: impl Fn(&HeaderCondition) -> bool,
    ) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.conditions.iter().all(|condition| condition.holds(facts, &header)))
    }
}

impl Condition {
    fn holds(&self, facts: RequestParts<'_>, header: &impl Fn(&HeaderCondition) -> bool) -> bool {
        match self {
            Self::PathPrefix(prefix) => facts.path.starts_with(prefix.as_bytes()),
            Self::Path(path) => facts.path == path.as_bytes(),
            Self::PathContains(part) => crate::request::contains(facts.path, part.as_bytes()),
            Self::Host(pattern) => pattern.matches(facts.authority),
            Self::Method(method) => facts.method == method.as_bytes(),
            Self::Header(condition) => header(condition),
        }
    }
}

impl HeaderCondition {
    /// True where this header line, its name in lower case, is the one.
    pub fn is_met_by(&self, name: &[u8], value: &[u8]) -> bool {
        name == self.name.as_bytes() && self.value.as_ref().is_none_or(|wanted| value == wanted.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn rule(conditions: Vec<Condition>, rate: f64) -> Rule {
        Rule { conditions, rate: Ratio::new(rate), log: true }
    }

    /// Rule 48: the first match counts.
    #[test]
    fn the_first_rule_that_matches_counts() {
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
