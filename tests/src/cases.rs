//! The tables of headers that all crates share (`tests/data/*.tsv`), as a caller and a service behind the filter with its
//! default formats see them.

use crate::{Error, Result};

const TABLE: &str = include_str!("../data/extract.tsv");
const INJECTED: &str = include_str!("../data/inject.tsv");

/// A row: what the caller sends, and what of it goes on.
pub struct Case {
    /// What the row shows.
    pub name: &'static str,
    headers: Vec<(&'static str, Vec<u8>)>,
    trace_id: Option<&'static str>,
    span_id: Option<&'static str>,
    sampling: &'static str,
}

/// Every row of the table.
pub fn all() -> Result<Vec<Case>> {
    TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(parse).collect()
}

/// What each format writes for a context, as a hop behind gets it.
pub fn injected() -> Result<Vec<Case>> {
    let rows = INJECTED.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    rows.map(|line| {
        let [_rules, format, trace_id, span_id, _parent, sampling, headers] =
            line.split('\t').collect::<Vec<_>>()[..]
        else {
            return Err(Error::new(format!("not seven columns in inject.tsv: {line}")));
        };
        Ok(Case {
            name: line,
            headers: headers.split(" || ").map(parse_header).collect::<Result<_>>()?,
            trace_id: Some(trace_id),
            span_id: Some(span_id),
            // Only B3 has a word for it.
            sampling: if sampling == "debug" && !format.starts_with("b3") { "accept" } else { sampling },
        })
    })
    .collect()
}

fn parse(line: &'static str) -> Result<Case> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [_rules, name, headers, _format, trace_id, span_id, _parent, sampling, ..] = columns[..] else {
        return Err(Error::new(format!("too few columns in extract.tsv: {line}")));
    };
    let id = |text: &'static str| Some(text).filter(|text| *text != "-");
    Ok(Case {
        name,
        headers: headers.split(" || ").map(parse_header).collect::<Result<_>>()?,
        trace_id: id(trace_id),
        span_id: id(span_id),
        sampling,
    })
}

fn parse_header(text: &'static str) -> Result<(&'static str, Vec<u8>)> {
    let bad = || Error::new(format!("not a header in extract.tsv: {text}"));
    let (name, mut rest) = text.split_once(": ").ok_or_else(bad)?;
    let mut bytes = Vec::new();
    while let Some((before, after)) = rest.split_once("\\x") {
        let (digits, following) = after.split_at_checked(2).ok_or_else(bad)?;
        bytes.extend(before.as_bytes());
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        rest = following;
    }
    bytes.extend(rest.as_bytes());
    Ok((name, bytes))
}

impl Case {
    /// The headers of the caller.
    pub fn sent(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (*name, value.as_slice()))
    }

    /// That the service got the same context in each of the default formats, with a span id of this hop, and nothing
    /// else.
    pub fn check(&self, headers: &[(String, String)]) -> Result<()> {
        self.compare(headers).map_err(Error::when(self.name))
    }

    fn compare(&self, headers: &[(String, String)]) -> Result<()> {
        let trace = one(headers, "x-b3-traceid")?;
        let span = one(headers, "x-b3-spanid")?;
        match self.trace_id {
            Some(id) => same("the trace id", trace, id)?,
            None if trace.len() == 32 && !self.sends(trace) && trace.bytes().any(|digit| digit != b'0') => {}
            None => return Err(Error::new(format!("{trace} is not a new trace id"))),
        }
        if Some(span) == self.span_id {
            return Err(Error::new("the caller's span id went on"));
        }
        let parents = values(headers, "x-b3-parentspanid");
        same("the parent", &format!("{parents:?}"), &format!("{:?}", self.span_id.as_slice()))?;

        // A caller that has not decided leaves it to the rate, which is 1.
        let (b3, bit) = match self.sampling {
            "deny" => (("x-b3-sampled", "0"), 0),
            "debug" => (("x-b3-flags", "1"), 1),
            _ => (("x-b3-sampled", "1"), 1),
        };
        same(b3.0, one(headers, b3.0)?, b3.1)?;
        same("traceparent", one(headers, "traceparent")?, &format!("00-{trace}-{span}-0{bit}"))?;
        let decimal = u64::from_str_radix(span, 16).map_err(Error::when(span))?;
        let cloud = format!("{trace}/{decimal};o={bit}");
        same("x-cloud-trace-context", one(headers, "x-cloud-trace-context")?, &cloud)?;

        let other = if self.sampling == "debug" { "x-b3-sampled" } else { "x-b3-flags" };
        for name in ["b3", "grpc-trace-bin", other] {
            same(name, &format!("{:?}", values(headers, name)), "[]")?;
        }
        Ok(())
    }

    fn sends(&self, id: &str) -> bool {
        self.headers.iter().any(|(_, value)| String::from_utf8_lossy(value).contains(id))
    }
}

/// The values of a header, in order.
pub fn values<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
}

fn one<'a>(headers: &'a [(String, String)], name: &str) -> Result<&'a str> {
    match values(headers, name)[..] {
        [value] => Ok(value),
        ref found => Err(Error::new(format!("{} of {name} in {headers:?}", found.len()))),
    }
}

fn same(what: &str, found: &str, expected: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::new(format!("{what} is {found}, not {expected}")))
}
