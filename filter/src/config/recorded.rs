//! `request_headers` and `response_headers`: which headers spans and lines record.

use super::read::{ConfigError, Section};

/// A header that spans and lines record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedHeader {
    /// Its name in lower case.
    pub name: String,
    /// The attribute and the label that tell its values: `http.request.header.x-tenant`. OpenTelemetry's conventions
    /// want it so.
    pub attribute: String,
}

impl RecordedHeader {
    /// The place of a header among those that are recorded.
    pub(crate) fn place(wanted: &[Self], name: &[u8]) -> Option<usize> {
        wanted.iter().position(|header| header.name.as_bytes() == name)
    }

    pub(super) fn of_requests(root: &Section<'_>) -> Result<Vec<Self>, ConfigError> {
        Self::read(root, "request_headers", "http.request.header.")
    }

    pub(super) fn of_responses(root: &Section<'_>) -> Result<Vec<Self>, ConfigError> {
        Self::read(root, "response_headers", "http.response.header.")
    }

    fn read(root: &Section<'_>, key: &str, prefix: &str) -> Result<Vec<Self>, ConfigError> {
        let names = root.recorded_headers(key)?.into_iter();
        Ok(names.map(|name| Self { attribute: format!("{prefix}{name}"), name }).collect())
    }
}
