//! The rows of `extract.tsv` for `core`, its allocation test and the end-to-end tests.

#![allow(dead_code, reason = "each user reads some of the columns")]

/// A row: the headers of a caller and the extracted context. An absent id or format is `-`.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) format: &'static str,
    pub(crate) trace_id: &'static str,
    pub(crate) span_id: &'static str,
    pub(crate) parent_span_id: &'static str,
    pub(crate) sampling: &'static str,
    pub(crate) invalid: &'static str,
    pub(crate) conflict: &'static str,
}

/// Parses every row of the table.
pub(crate) fn rows() -> Result<Vec<Row>, String> {
    include_str!("extract.tsv").lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

fn row(line: &'static str) -> Result<Row, String> {
    let columns: Vec<&str> = line.split('\t').collect();
    let &[_rules, case, headers, format, trace_id, span_id, parent_span_id, sampling, invalid, conflict] =
        &columns[..]
    else {
        return Err(format!("not ten columns in extract.tsv: {line}"));
    };
    let headers = self::headers(headers).ok_or_else(|| format!("not headers in extract.tsv: {line}"))?;
    Ok(Row { case, headers, format, trace_id, span_id, parent_span_id, sampling, invalid, conflict })
}

/// Parses headers `name: value` that are separated by ` || `.
pub(crate) fn headers(text: &'static str) -> Option<Vec<(&'static str, Vec<u8>)>> {
    text.split(" || ").map(header).collect()
}

/// Parses a header `name: value`, in which `\xNN` is a byte.
fn header(text: &'static str) -> Option<(&'static str, Vec<u8>)> {
    let (name, value) = text.split_once(": ")?;
    let mut parts = value.split("\\x");
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    Some((name, bytes))
}
