//! The tables of headers that all crates share (`tests/data/*.tsv`), and checks of what a service behind the filter
//! receives.

use crate::{Error, Result};

#[path = "../../data/extract.rs"]
mod extract;

const INJECTED: &str = include_str!("../../data/inject.tsv");

/// A row: the headers of a caller, and the context that the service must receive.
pub struct Case {
    /// The description of the row.
    pub name: &'static str,
    headers: Vec<(&'static str, Vec<u8>)>,
    trace_id: Option<&'static str>,
    span_id: Option<&'static str>,
    sampling: &'static str,
}

/// Returns every row of the table.
pub fn all() -> Result<Vec<Case>> {
    let rows = extract::rows().map_err(Error::new)?;
    let id = |text: &'static str| Some(text).filter(|text| *text != "-");
    let case = |row: extract::Row| Case {
        name: row.case,
        headers: row.headers,
        trace_id: id(row.trace_id),
        span_id: id(row.span_id),
        sampling: row.sampling,
    };
    Ok(rows.into_iter().map(case).collect())
}

/// Returns the headers that each format writes, as rows of callers.
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
            headers: extract::headers(headers)
                .ok_or_else(|| Error::new(format!("not headers in inject.tsv: {line}")))?,
            trace_id: Some(trace_id),
            span_id: Some(span_id),
            // Only B3 can express `debug`.
            sampling: if sampling == "debug" && !format.starts_with("b3") { "accept" } else { sampling },
        })
    })
    .collect()
}

impl Case {
    /// Returns the headers of the caller.
    pub fn sent(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (*name, value.as_slice()))
    }

    /// Checks that the service received the same context in each of the default formats, with the span id of this hop,
    /// and no other trace headers.
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
            return Err(Error::new("the caller's span id was forwarded"));
        }
        let parents = values(headers, "x-b3-parentspanid");
        same("the parent", &format!("{parents:?}"), &format!("{:?}", self.span_id.as_slice()))?;

        // Without a decision of the caller the rate decides, which is 1.
        let (b3, bit) = match self.sampling {
            "deny" => (("x-b3-sampled", "0"), 0),
            "debug" => (("x-b3-flags", "1"), 1),
            _ => (("x-b3-sampled", "1"), 1),
        };
        same(b3.0, one(headers, b3.0)?, b3.1)?;
        // Level 2 of the W3C has a flag for random ids, which new ids are.
        let flags = if self.trace_id.is_some() { bit } else { bit | 2 };
        same("traceparent", one(headers, "traceparent")?, &format!("00-{trace}-{span}-0{flags}"))?;
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

/// Returns the values of a header in order.
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
