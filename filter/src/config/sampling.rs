//! `sampling`: which traces are recorded.

use core::time::Duration;

use logtracer_core::sampling::{Condition, HeaderCondition, Ratio, Rule, Rules};
use serde_json::Value;

use super::error::ConfigError;
use super::header_names;
use super::section::Section;
use super::values::{Expected, boolean, duration, host, request_path, request_path_part, string};

/// Which traces are recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// The fraction of new and undecided traces that are sampled.
    pub rate: Ratio,
    /// Treat `;o=0` in `x-cloud-trace-context` as "not decided".
    pub defer_cloud_trace_zero: bool,
    /// The maximum number of traces that the filter decides to sample per second, in one worker.
    pub max_per_second: Option<f64>,
    /// Export the span of a failed request even if its trace is not sampled.
    pub keep_errors: bool,
    /// Export the span of a request that takes longer than this even if its trace is not sampled.
    pub keep_slower_than: Option<Duration>,
    /// The fraction of requests that have a log line.
    pub log_rate: Ratio,
    /// Different rates for some requests.
    pub rules: Rules,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            rate: Ratio::ALL,
            defer_cloud_trace_zero: false,
            max_per_second: None,
            keep_errors: false,
            keep_slower_than: None,
            log_rate: Ratio::ALL,
            rules: Rules::default(),
        }
    }
}

impl Sampling {
    /// Every key of the section.
    pub(crate) const KEYS: [&str; 7] = [
        "rate",
        "defer_cloud_trace_zero",
        "max_per_second",
        "keep_errors",
        "keep_slower_than",
        "log_rate",
        "rules",
    ];
    /// Every key of a rule.
    pub(crate) const RULE_KEYS: [&str; 8] =
        ["path_prefix", "path", "path_contains", "host", "method", "header", "rate", "log"];

    pub(super) fn read(root: &Section<'_>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let Some(section) = root.section("sampling", &Self::KEYS)? else { return Ok(default) };
        let rules = section.sections("rules", &Self::RULE_KEYS)?;
        Ok(Self {
            rate: section.get("rate", ratio)?.unwrap_or(default.rate),
            defer_cloud_trace_zero: section
                .get("defer_cloud_trace_zero", boolean)?
                .unwrap_or(default.defer_cloud_trace_zero),
            max_per_second: section.get("max_per_second", positive_number)?,
            keep_errors: section.get("keep_errors", boolean)?.unwrap_or(default.keep_errors),
            keep_slower_than: section.get("keep_slower_than", duration)?,
            log_rate: section.get("log_rate", ratio)?.unwrap_or(default.log_rate),
            rules: Rules::new(rules.iter().map(read_rule).collect::<Result<_, _>>()?),
        })
    }
}

fn read_rule(rule: &Section<'_>) -> Result<Rule, ConfigError> {
    let conditions: Vec<Condition> = [
        rule.get("path_prefix", request_path)?.map(Condition::PathPrefix),
        rule.get("path", request_path)?.map(Condition::Path),
        rule.get("path_contains", request_path_part)?.map(Condition::PathContains),
        rule.get("host", host)?.map(Condition::Host),
        rule.get("method", method)?.map(Condition::Method),
        rule.get("header", header_condition)?.map(Condition::Header),
    ]
    .into_iter()
    .flatten()
    .collect();
    if conditions.is_empty() {
        return Err(rule.error(
            "incomplete, expected a condition: path_prefix, path, path_contains, host, method or header",
        ));
    }
    let rate = rule.get("rate", ratio)?;
    let log_rate = rule.get("log", log_rate)?;
    if rate.is_none() && log_rate.is_none() {
        return Err(rule.error("incomplete, expected rate, log or both"));
    }
    Ok(Rule { conditions, rate, log_rate })
}

/// Whether requests are logged, or the share of them.
fn log_rate(value: &Value) -> Result<Ratio, Expected> {
    let ratio = match value {
        Value::Bool(is_logged) => Ratio::new(f64::from(u8::from(*is_logged))),
        _ => value.as_f64().and_then(Ratio::new),
    };
    ratio.ok_or("true, false or a number from 0 to 1")
}

fn ratio(value: &Value) -> Result<Ratio, Expected> {
    value.as_f64().and_then(Ratio::new).ok_or("a number from 0 to 1")
}

fn positive_number(value: &Value) -> Result<f64, Expected> {
    value.as_f64().filter(|number| *number > 0.0 && number.is_finite()).ok_or("a number above 0")
}

/// Methods are case-sensitive, so a rule for `post` would match no request.
fn method(value: &Value) -> Result<String, Expected> {
    string(value, "a method in upper case, such as \"POST\"", |text| {
        header_names::is_valid(text) && !text.bytes().any(|byte| byte.is_ascii_lowercase())
    })
}

/// A header that must be present (`x-debug`) or have a value (`x-debug: 1`).
fn header_condition(value: &Value) -> Result<HeaderCondition, Expected> {
    const EXPECTED: Expected = "a header name, or a name and a value such as \"x-debug: 1\"";
    let text = value.as_str().ok_or(EXPECTED)?;
    let (name, value) = match text.split_once(':') {
        Some((name, value)) => (name, Some(value.trim().to_owned())),
        None => (text, None),
    };
    if !header_names::is_valid(name) {
        return Err(EXPECTED);
    }
    let name = name.to_ascii_lowercase();
    // Envoy's name of it.
    let name = if name == "host" { ":authority".to_owned() } else { name };
    Ok(HeaderCondition { name, value })
}
