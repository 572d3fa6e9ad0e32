//! Tests of what each parameter accepts.

use super::values::{status, time};
use super::*;
use crate::store::{Sort, StatusFilter, TraceFilter};

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
        (&[("servce", "")][..], "unknown parameter \"servce\": expected one of service, name"),
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
        (&[("limit", "0")], "limit: expected a number above zero"),
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
