//! A log entry in JSON (<https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry>).
//!
//! `tests/it/cloud_logging.rs` compares entries with Google's own types.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::super::google::Time;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogEntry {
    pub(super) log_name: String,
    pub(super) resource: MonitoredResource,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timestamp: Option<Time>,
    pub(super) severity: &'static str,
    pub(super) insert_id: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) http_request: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) operation: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) source_location: Map<String, Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) trace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) span_id: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) trace_sampled: bool,
    pub(super) json_payload: Map<String, Value>,
    /// This sink has truncated it.
    #[serde(skip)]
    pub(super) is_truncated: bool,
}

/// The label of an entry whose texts are truncated, or that has not all of its record.
const TRUNCATED: &str = "logtracer.truncated";

impl LogEntry {
    pub(super) fn mark_truncated(&mut self) {
        self.is_truncated = true;
        self.label_truncated();
    }

    /// Sets the label for a record that was truncated before, which is not counted again.
    pub(super) fn label_truncated(&mut self) {
        self.labels.insert(TRUNCATED.to_owned(), "true".to_owned());
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct MonitoredResource {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) labels: BTreeMap<&'static str, String>,
}
