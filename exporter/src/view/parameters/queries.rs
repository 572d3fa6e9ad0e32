//! The parameters of each list.

use std::str::FromStr;

use logtracer_core::TraceId;
use logtracer_core::line::Severity;

use super::values::{DURATION, STATUS, attribute, duration, status, time};
use super::{ParameterError, Parameters, Result};
use crate::store::{LineFilter, LinesCursor, Sort, TraceCursor, TraceFilter};

/// The number of rows of a list without the parameter `limit`.
const DEFAULT_LIMIT: usize = 100;

/// A greater limit counts as this one.
const MAX_LIMIT: usize = 1000;

/// More attributes in one filter are an error.
const MAX_ATTRIBUTES: usize = 16;

/// A list of traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TracesQuery {
    pub(crate) filter: TraceFilter,
    pub(crate) sort: Sort,
    pub(crate) limit: usize,
    pub(crate) cursor: Option<TraceCursor>,
}

impl TracesQuery {
    pub(crate) const NAMES: [&str; 13] = [
        "service",
        "name",
        "route",
        "status",
        "min_duration",
        "max_duration",
        "attribute",
        "q",
        "from",
        "to",
        "sort",
        "limit",
        "cursor",
    ];

    /// Reads the parameters. `now` is in nanoseconds since 1970.
    pub(crate) fn parse(parameters: &Parameters, now: u64) -> Result<Self> {
        parameters.check(&Self::NAMES)?;
        let attributes = parameters.iter().filter(|(name, _)| *name == "attribute");
        let attributes: Vec<_> = attributes.map(|(_, value)| attribute(value)).collect::<Result<_>>()?;
        if attributes.len() > MAX_ATTRIBUTES {
            return Err(ParameterError(format!("attribute: given more than {MAX_ATTRIBUTES} times")));
        }
        let sort = parameters.parse("sort", "newest, oldest or longest", |value| match value {
            "newest" => Some(Sort::Newest),
            "oldest" => Some(Sort::Oldest),
            "longest" => Some(Sort::Longest),
            _ => None,
        })?;
        let sort = sort.unwrap_or_default();
        let (from, to) = range(parameters, now)?;
        let filter = TraceFilter {
            service: parameters.owned("service"),
            name: parameters.owned("name"),
            route: parameters.owned("route"),
            status: parameters.parse("status", STATUS, status)?,
            attributes,
            text: parameters.owned("q"),
            min_duration_nano: parameters.parse("min_duration", DURATION, duration)?,
            max_duration_nano: parameters.parse("max_duration", DURATION, duration)?,
            from,
            to,
        };
        let cursor = parameters.parse("cursor", "a next_cursor of the same list", |value| {
            TraceCursor::from_str(value).ok().filter(|cursor| cursor.sort() == sort)
        })?;
        Ok(Self { filter, sort, limit: limit(parameters)?, cursor })
    }
}

/// A list of log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinesQuery {
    pub(crate) filter: LineFilter,
    pub(crate) limit: usize,
    pub(crate) cursor: Option<LinesCursor>,
}

impl LinesQuery {
    pub(crate) const NAMES: [&str; 8] =
        ["q", "severity", "service", "trace", "from", "to", "limit", "cursor"];

    /// Reads the parameters. `now` is in nanoseconds since 1970.
    pub(crate) fn parse(parameters: &Parameters, now: u64) -> Result<Self> {
        parameters.check(&Self::NAMES)?;
        let level = parameters.parse("severity", "a severity such as WARNING", |value| {
            let severity = Severity::from_text(value)?;
            Severity::ALL.iter().position(|known| *known == severity)
        })?;
        let (from, to) = range(parameters, now)?;
        let filter = LineFilter {
            text: parameters.owned("q"),
            level: level.map_or(0, |level| level as i64),
            service: parameters.owned("service"),
            trace: parameters.parse("trace", "32 hexadecimal digits", |id| id.parse::<TraceId>().ok())?,
            from,
            to,
        };
        let cursor =
            parameters.parse("cursor", "a next_cursor of the same list", |value| value.parse().ok())?;
        Ok(Self { filter, limit: limit(parameters)?, cursor })
    }
}

/// A range of time, of which statistics are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RangeQuery {
    pub(crate) service: Option<String>,
    pub(crate) from: Option<i64>,
    pub(crate) to: Option<i64>,
}

impl RangeQuery {
    /// Reads the parameters, of which these are allowed.
    pub(crate) fn parse(parameters: &Parameters, names: &[&str], now: u64) -> Result<Self> {
        parameters.check(names)?;
        let (from, to) = range(parameters, now)?;
        Ok(Self { service: parameters.owned("service"), from, to })
    }
}

fn limit(parameters: &Parameters) -> Result<usize> {
    let positive = |value: &str| value.parse().ok().filter(|limit| *limit > 0);
    let limit = parameters.parse("limit", "a number above zero", positive)?;
    Ok(limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT))
}

fn range(parameters: &Parameters, now: u64) -> Result<(Option<i64>, Option<i64>)> {
    const TIME: &str = "a time such as 2026-01-31T14:00:00Z, or -15m";
    let time = |name| parameters.parse(name, TIME, |value| time(value, now));
    let (from, to) = (time("from")?, time("to")?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(ParameterError("from: later than to".to_owned()));
    }
    Ok((from, to))
}
