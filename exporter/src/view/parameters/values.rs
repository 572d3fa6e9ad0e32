//! The values of parameters.

use std::time::Duration;

use jiff::Timestamp;
use logtracer_core::request::grpc;

use super::{ParameterError, Result};
use crate::store::StatusFilter;

pub(super) fn attribute(value: &str) -> Result<(String, String)> {
    match value.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => {
            let value: String = value.chars().take(100).collect();
            Err(ParameterError(format!("attribute: expected key=value, found {value:?}")))
        }
    }
}

pub(super) const STATUS: &str =
    "an HTTP status code, a class such as 5xx, error, or a gRPC status such as UNAVAILABLE";

/// Returns whether a value can be the parameter `status`.
pub(crate) fn is_status(value: &str) -> bool {
    status(value).is_some()
}

pub(super) fn status(value: &str) -> Option<StatusFilter> {
    let class =
        ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().find(|class| class.eq_ignore_ascii_case(value));
    if let Some(class) = class {
        return Some(StatusFilter::Class(class));
    }
    if value.eq_ignore_ascii_case("error") {
        return Some(StatusFilter::Error);
    }
    let is_code = value.len() == 3 && value.bytes().all(|byte| byte.is_ascii_digit());
    let grpc = (0..=16).map(grpc::name).find(|name| name.eq_ignore_ascii_case(value));
    let code = if is_code { Some(value) } else { grpc };
    code.map(|code| StatusFilter::Code(code.to_owned()))
}

pub(super) const DURATION: &str = "a duration such as 250ms, 1.5s or 2m";

/// Parses a duration to nanoseconds.
pub(super) fn duration(value: &str) -> Option<u64> {
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = value.split_at(end);
    let nanos = match unit.trim() {
        "ns" => 1.,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        "d" => 86_400e9,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * nanos / 1e9;
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(duration.as_nanos()).ok()
}

/// Parses a time: RFC 3339, or an age such as `-15m`. A time without an offset is UTC, as a form sends it.
pub(super) fn time(value: &str, now: u64) -> Option<i64> {
    let nanos = match value.strip_prefix('-') {
        Some(age) => i128::from(now) - i128::from(duration(age)?),
        None => {
            let utc = || value.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
            let timestamp = value.parse::<Timestamp>().ok().or_else(|| Some(utc()?.timestamp()));
            timestamp?.as_nanosecond()
        }
    };
    Some(i64::try_from(nanos.max(0)).unwrap_or(i64::MAX))
}
