//! Readers for the values that several sections have. Each returns the value, or what was expected.

use core::time::Duration;

use logtracer_core::request::{HostPattern, InvalidHost};
use serde_json::Value;

use super::units;

/// The expected value in an error message: `a number from 0 to 1`.
pub(super) type Expected = &'static str;

pub(super) fn boolean(value: &Value) -> Result<bool, Expected> {
    value.as_bool().ok_or("true or false")
}

/// Istio passes numbers as doubles, so `5.0` is a whole number.
pub(super) fn whole_number(value: &Value) -> Option<usize> {
    let number = value.as_f64()?;
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as usize)
}

pub(super) fn string(
    value: &Value,
    expected: Expected,
    is_valid: impl Fn(&str) -> bool,
) -> Result<String, Expected> {
    value.as_str().filter(|text| is_valid(text)).map(str::to_owned).ok_or(expected)
}

pub(super) fn non_empty_string(value: &Value) -> Result<String, Expected> {
    string(value, "a non-empty string", |text| !text.is_empty())
}

pub(super) fn duration(value: &Value) -> Result<Duration, Expected> {
    let range = Duration::from_millis(1)..=Duration::from_secs(3600);
    let duration = value.as_str().and_then(units::duration).filter(|duration| range.contains(duration));
    duration.ok_or("a duration from 1ms to 1h, such as \"500ms\", \"2s\" or \"1m\"")
}

pub(super) fn host(value: &Value) -> Result<HostPattern, Expected> {
    value.as_str().and_then(|text| text.parse().ok()).ok_or(InvalidHost::EXPECTED)
}

/// A request path or a prefix of one. Requests are compared by their path without the query.
pub(super) fn request_path(value: &Value) -> Result<String, Expected> {
    string(value, "a path that starts with / and has no query, such as \"/healthz\"", |text| {
        text.starts_with('/') && is_in_path(text)
    })
}

/// A substring of a request path.
pub(super) fn request_path_part(value: &Value) -> Result<String, Expected> {
    string(value, "a part of a path without a query, such as \"/assets/\"", is_in_path)
}

fn is_in_path(text: &str) -> bool {
    !text.is_empty() && !text.contains(['?', '#'])
}
