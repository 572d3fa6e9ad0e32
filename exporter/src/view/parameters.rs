//! The parameters of lists: of the pages, of the API and of the terminal's commands. A value becomes a filter, and a
//! filter becomes a link.
//!
//! An unknown parameter, a second value and an invalid value are errors that name the parameter. An empty value counts as
//! absent, because a form sends all of its fields.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use logtracer_core::TraceId;
use logtracer_core::line::Severity;
use logtracer_core::request::grpc;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::otlp::severity;
use crate::store::{LineCursor, LineFilter, Sort, StatusFilter, TraceCursor, TraceFilter};

/// The number of rows of a list without the parameter `limit`.
const DEFAULT_LIMIT: usize = 100;

/// A greater limit counts as this one.
const MAX_LIMIT: usize = 1000;

/// More attributes in one filter are an error.
const MAX_ATTRIBUTES: usize = 16;

/// A longer value is an error.
const MAX_VALUE_BYTES: usize = 1024;

/// What was wrong with the parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParameterError(pub(crate) String);

type Result<T> = std::result::Result<T, ParameterError>;

/// Names and values, in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Takes those that are not empty.
    pub(crate) fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// Rejects all but these names, and more than one value of each. `attribute` may have several.
    pub(crate) fn check(&self, names: &[&str]) -> Result<()> {
        for (index, (name, value)) in self.0.iter().enumerate() {
            if !names.contains(&name.as_str()) {
                let name: String = name.chars().take(100).collect();
                let names = names.join(", ");
                return Err(ParameterError(format!("unknown parameter {name:?}: expected one of {names}")));
            }
            if value.len() > MAX_VALUE_BYTES {
                return Err(ParameterError(format!("{name}: longer than {MAX_VALUE_BYTES} bytes")));
            }
            let is_repeated = self.0.iter().take(index).any(|(earlier, _)| earlier == name);
            if is_repeated && name != "attribute" {
                return Err(ParameterError(format!("{name}: given more than once")));
            }
        }
        Ok(())
    }

    /// Returns a value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Removes a parameter and returns its value.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(index).1)
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn parse<T>(&self, name: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => match parse(value) {
                Some(parsed) => Ok(Some(parsed)),
                None => {
                    let value: String = value.chars().take(100).collect();
                    Err(ParameterError(format!("{name}: expected {expected}, found {value:?}")))
                }
            },
        }
    }

    /// Returns all names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns a copy with another value of a parameter, and without a cursor. An attribute is added to the others.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let is_added = name == "attribute";
        let kept = |(known, old): &&(String, String)| {
            known != "cursor" && if is_added { known != name || old != value } else { known != name }
        };
        let mut pairs: Vec<_> = self.0.iter().filter(kept).cloned().collect();
        pairs.push((name.to_owned(), value.to_owned()));
        Self::new(pairs)
    }

    /// Returns a copy without one value, and without a cursor.
    pub(crate) fn without(&self, name: &str, value: &str) -> Self {
        let kept = |(known, old): &&(String, String)| known != "cursor" && (known != name || old != value);
        Self(self.0.iter().filter(kept).cloned().collect())
    }

    /// Returns the link to a page with these parameters.
    pub(crate) fn link(&self, path: &str) -> String {
        let mut link = path.to_owned();
        for (index, (name, value)) in self.0.iter().enumerate() {
            link.push(if index == 0 { '?' } else { '&' });
            link.push_str(name);
            link.push('=');
            link.push_str(&encode(value));
        }
        link
    }
}

/// Encodes a value of a query.
pub(crate) fn encode(value: &str) -> String {
    const RESERVED: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'&')
        .add(b'\'')
        .add(b'+')
        .add(b'<')
        .add(b'>')
        .add(b'=')
        .add(b'?');
    utf8_percent_encode(value, RESERVED).to_string()
}

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
    pub(crate) cursor: Option<LineCursor>,
}

impl LinesQuery {
    pub(crate) const NAMES: [&str; 8] =
        ["q", "severity", "service", "trace", "from", "to", "limit", "cursor"];

    /// Reads the parameters. `now` is in nanoseconds since 1970.
    pub(crate) fn parse(parameters: &Parameters, now: u64) -> Result<Self> {
        parameters.check(&Self::NAMES)?;
        let level = parameters.parse("severity", "a severity such as WARNING", |value| {
            let severity = severity::from_text(value)?;
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
    let limit = parameters.parse("limit", "a number from 1 to 1000", positive)?;
    Ok(limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT))
}

fn attribute(value: &str) -> Result<(String, String)> {
    match value.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => {
            let value: String = value.chars().take(100).collect();
            Err(ParameterError(format!("attribute: expected key=value, found {value:?}")))
        }
    }
}

const STATUS: &str = "an HTTP status code, a class such as 5xx, error, or a gRPC status such as UNAVAILABLE";

fn status(value: &str) -> Option<StatusFilter> {
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

const DURATION: &str = "a duration such as 250ms, 1.5s or 2m";

/// Parses a duration to nanoseconds.
fn duration(value: &str) -> Option<u64> {
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

fn range(parameters: &Parameters, now: u64) -> Result<(Option<i64>, Option<i64>)> {
    const TIME: &str = "a time such as 2026-01-31T14:00:00Z, or -15m";
    let time = |name| parameters.parse(name, TIME, |value| time(value, now));
    let (from, to) = (time("from")?, time("to")?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(ParameterError("from: later than to".to_owned()));
    }
    Ok((from, to))
}

/// Parses a time: RFC 3339, or an age such as `-15m`. A time without an offset is UTC, as a form sends it.
fn time(value: &str, now: u64) -> Option<i64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000_000_000;

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        Parameters::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn every_parameter_of_traces_is_read() {
        let got = TracesQuery::parse(
            &parameters(&[
                ("service", "shop"),
                ("name", "GET"),
                ("route", "/basket"),
                ("status", "5XX"),
                ("min_duration", "250ms"),
                ("max_duration", "1.5s"),
                ("attribute", "user=7"),
                ("attribute", "query=a=b"),
                ("q", "declined"),
                ("from", "-15m"),
                ("to", "2027-01-15T08:00:00Z"),
                ("sort", "longest"),
                ("limit", "20000"),
                ("cursor", "l.1.2.3"),
            ]),
            NOW,
        );
        let some = |text: &str| Some(text.to_owned());
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected = TracesQuery {
            filter: TraceFilter {
                service: some("shop"),
                name: some("GET"),
                route: some("/basket"),
                status: Some(StatusFilter::Class("5xx")),
                attributes: vec![pair("user", "7"), pair("query", "a=b")],
                text: some("declined"),
                min_duration_nano: Some(250_000_000),
                max_duration_nano: Some(1_500_000_000),
                from: Some(1_799_999_100_000_000_000),
                to: Some(1_800_000_000_000_000_000),
            },
            sort: Sort::Longest,
            limit: 1000,
            cursor: "l.1.2.3".parse().ok(),
        };
        assert_eq!(got, Ok(expected));
        let empty = parameters(&[("service", ""), ("attribute", ""), ("cursor", "")]);
        assert_eq!(TracesQuery::parse(&empty, NOW), TracesQuery::parse(&Parameters::default(), NOW));
    }

    #[test]
    fn an_error_names_the_parameter() {
        for (pairs, expected) in [
            (&[("servce", "a")][..], "unknown parameter \"servce\": expected one of service, name"),
            (&[("service", "a"), ("service", "b")], "service: given more than once"),
            (&[("status", "600x")], "status: expected an HTTP status code"),
            (&[("status", "6xx")], "status: expected"),
            (&[("min_duration", "250")], "min_duration: expected a duration such as 250ms"),
            (&[("max_duration", "-1s")], "max_duration: expected"),
            (&[("min_duration", "1.2.3s")], "min_duration: expected"),
            (&[("attribute", "user")], "attribute: expected key=value, found \"user\""),
            (&[("attribute", "=7")], "attribute: expected key=value"),
            (&[("from", "yesterday")], "from: expected a time"),
            (&[("from", "-15")], "from: expected a time"),
            (&[("from", "-1m"), ("to", "-2m")], "from: later than to"),
            (&[("sort", "random")], "sort: expected newest, oldest or longest"),
            (&[("limit", "0")], "limit: expected a number from 1"),
            (&[("limit", "many")], "limit: expected a number"),
            (&[("cursor", "x")], "cursor: expected a next_cursor"),
            (&[("cursor", "o.1.2.3")], "cursor: expected a next_cursor of the same list"),
        ] {
            let ParameterError(error) = TracesQuery::parse(&parameters(pairs), NOW).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        let ParameterError(error) = LinesQuery::parse(&parameters(&[("severity", "loud")]), NOW).unwrap_err();
        assert!(error.starts_with("severity: expected"), "{error}");
        let long = "x".repeat(2000);
        assert!(LinesQuery::parse(&parameters(&[("q", &long)]), NOW).is_err());
    }

    #[test]
    fn statuses_times_and_severities_have_several_forms() {
        for (value, expected) in [
            ("404", StatusFilter::Code("404".to_owned())),
            ("unavailable", StatusFilter::Code("UNAVAILABLE".to_owned())),
            ("ERROR", StatusFilter::Error),
        ] {
            assert_eq!(status(value), Some(expected));
        }
        for (value, expected) in [
            ("-2h", Some(1_799_992_800_000_000_000)),
            ("2027-01-15T09:00:00+01:00", Some(1_800_000_000_000_000_000)),
            ("2027-01-15T08:00", Some(1_800_000_000_000_000_000)),
            ("-99999d", Some(0)),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(time(value, NOW), expected, "{value}");
        }
        let line = LinesQuery::parse(&parameters(&[("severity", "warn")]), NOW).unwrap();
        assert_eq!(line.filter.level, 4);
    }

    #[test]
    fn a_link_adds_to_the_filter() {
        let all = parameters(&[("service", "a b&c"), ("attribute", "x=1"), ("cursor", "n.1.2.3")]);
        assert_eq!(all.with("service", "shop").link("/"), "/?attribute=x%3D1&service=shop");
        assert_eq!(
            all.with("attribute", "y=ü").link("/"),
            "/?service=a%20b%26c&attribute=x%3D1&attribute=y%3D%C3%BC"
        );
        assert_eq!(all.with("attribute", "x=1").link("/"), "/?service=a%20b%26c&attribute=x%3D1");
        assert_eq!(all.without("attribute", "x=1").link("/logs"), "/logs?service=a%20b%26c");
        assert_eq!(Parameters::default().link("/"), "/");
    }
}
