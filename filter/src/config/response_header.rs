//! `response_header`: the headers of the response in which the caller gets the trace.

use serde_json::Value;

use super::error::ConfigError;
use super::header_names;
use super::section::Section;
use super::values::{Expected, string};

/// A header of the response in which the caller gets the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseHeader {
    /// The trace id, in a header with this name in lower case.
    TraceId(String),
    /// `traceresponse`, whose value has the form of a `traceparent`.
    ///
    /// <https://w3c.github.io/trace-context/#traceresponse-header>
    TraceResponse,
    /// `server-timing` with a metric `traceparent`, which scripts of a web page can read.
    ///
    /// <https://www.w3.org/TR/server-timing/>
    ServerTiming,
}

impl ResponseHeader {
    /// Reads a name or a list of names.
    pub(super) fn read(root: &Section<'_>) -> Result<Vec<Self>, ConfigError> {
        const KEY: &str = "response_header";
        let is_list = root.get(KEY, |value| Ok(value.is_array()))?.unwrap_or(false);
        if is_list {
            return Ok(root
                .list(KEY, "a header name or a list of header names", header)?
                .unwrap_or_default());
        }
        Ok(root.get(KEY, header)?.into_iter().collect())
    }
}

fn header(value: &Value) -> Result<ResponseHeader, Expected> {
    let is_free = |name: &str| header_names::is_valid(name) && !header_names::is_reserved(name);
    let expected =
        "a header name without a standard meaning, such as \"x-trace-id\", or traceresponse or server-timing";
    let name = string(value, expected, is_free)?.to_ascii_lowercase();
    Ok(match name.as_str() {
        "traceresponse" => ResponseHeader::TraceResponse,
        "server-timing" => ResponseHeader::ServerTiming,
        _ => ResponseHeader::TraceId(name),
    })
}
