//! `request_headers` and `response_headers`: headers to capture in spans and log lines.

use serde_json::Value;

use super::error::ConfigError;
use super::header_names;
use super::section::Section;
use super::values::{Expected, string};

/// Headers that are never captured: they carry credentials, or URLs in a form that nothing redacts.
const SECRET_HEADERS: [&str; 10] = [
    "authorization",
    "cookie",
    "link",
    "proxy-authorization",
    "refresh",
    "set-cookie",
    "x-api-key",
    "x-forwarded-client-cert",
    "x-goog-iap-jwt-assertion",
    "x-serverless-authorization",
];

/// A header to capture in spans and log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedHeader {
    /// The name in lower case.
    pub name: String,
    /// The name of its attribute and label: `http.request.header.x-tenant`, as in OpenTelemetry's semantic
    /// conventions.
    pub attribute: String,
}

impl CapturedHeader {
    /// Returns the index of the header with this name.
    pub(crate) fn index_of(headers: &[Self], name: &[u8]) -> Option<usize> {
        headers.iter().position(|header| header.name.as_bytes() == name)
    }

    pub(super) fn read_request_headers(root: &Section<'_>) -> Result<Vec<Self>, ConfigError> {
        Self::read(root, "request_headers", "http.request.header.")
    }

    pub(super) fn read_response_headers(root: &Section<'_>) -> Result<Vec<Self>, ConfigError> {
        Self::read(root, "response_headers", "http.response.header.")
    }

    fn read(root: &Section<'_>, key: &str, prefix: &str) -> Result<Vec<Self>, ConfigError> {
        let names = root.list(key, "a list of header names", header_name)?.unwrap_or_default().into_iter();
        Ok(names.map(|name| Self { attribute: format!("{prefix}{name}"), name }).collect())
    }
}

fn header_name(value: &Value) -> Result<String, Expected> {
    let name = string(value, "a header name", header_names::is_valid)?.to_ascii_lowercase();
    if SECRET_HEADERS.contains(&name.as_str()) { Err("a header that carries no secret") } else { Ok(name) }
}
