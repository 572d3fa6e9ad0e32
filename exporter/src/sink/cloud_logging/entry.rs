//! A log record as a log entry.

use logtracer_core::line::Severity;
use std::collections::BTreeMap;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::Map;

use super::super::google::Time;
use super::super::google::project::{self, ProjectId};
use super::super::json_body::{self, Shared};
use super::log_name::log_name;
use super::model::{LogEntry, MonitoredResource};
use super::payload::Payload;
use super::resource::{monitored, text};
use super::special::{lift, trace_name};
use super::truncator::Truncator;
use crate::otlp::any_value::unique;
use crate::otlp::severity;

/// The attribute that names the log.
const LOG_NAME: &str = "gcp.log_name";

/// The resource attributes that are labels of each entry, as Google's exporter writes them.
const SERVICE_LABELS: [&str; 4] =
    ["service.name", "service.namespace", "service.version", "service.instance.id"];

/// Longer labels of the resource, the scope and the record are truncated.
const MAX_LABEL_BYTES: usize = 1024;

/// The flag of a sampled trace.
const SAMPLED: u32 = 1;

/// Converts the records of one call, and each resource once for all its records.
pub(super) struct Converter<'a> {
    project: &'a ProjectId,
    /// Of the items of the chunk.
    insert_ids: &'a [String],
    resource: Option<(usize, SharedParts)>,
}

/// What the records of a resource share.
#[derive(Debug, Clone)]
struct SharedParts {
    monitored: MonitoredResource,
    labels: BTreeMap<String, String>,
    service: Option<String>,
    truncator: Truncator,
}

impl SharedParts {
    fn new(shared: &Shared, project: &ProjectId) -> Self {
        let attributes =
            shared.resource.as_ref().map(|resource| &resource.attributes[..]).unwrap_or_default();
        let mut truncator = Truncator::default();
        let of_service = |key: &&str| label(key, text(attributes, key)?, &mut truncator);
        let labels = SERVICE_LABELS.iter().filter_map(of_service).collect();
        Self {
            monitored: monitored(attributes, project, &mut truncator),
            labels,
            service: text(attributes, "service.name").map(str::to_owned),
            truncator,
        }
    }
}

impl<'a> Converter<'a> {
    pub(super) fn new(project: &'a ProjectId, insert_ids: &'a [String]) -> Self {
        Self { project, insert_ids, resource: None }
    }

    pub(super) fn convert(&mut self, shared: &Shared, record: &LogRecord) -> LogEntry {
        let project = self.project;
        let parts = match self.resource.take() {
            Some((id, parts)) if id == shared.resource_id => parts,
            _ => SharedParts::new(shared, project),
        };
        let time = [record.time_unix_nano, record.observed_time_unix_nano].into_iter().find(|time| *time > 0);
        let named = text(&record.attributes, LOG_NAME);
        let own_project = text(&record.attributes, project::ATTRIBUTE);
        let mut payload = Payload::of_body(record.body.as_ref());
        let mut truncator = parts.truncator;
        let mut was_truncated = false;
        for attribute in unique(&record.attributes) {
            match attribute.key.as_str() {
                // By the sender, or by `json_body`, which counts it.
                json_body::TRUNCATED => was_truncated = true,
                LOG_NAME if named.is_some() => {}
                // The name of the log has it.
                project::ATTRIBUTE if own_project == Some(project.as_str()) => {}
                key => payload.add(key, attribute.value.as_ref()),
            }
        }
        truncator.has_truncated |= payload.is_cut;
        let mut entry = LogEntry {
            log_name: log_name(project, named.or(parts.service.as_deref()), &mut truncator),
            resource: parts.monitored.clone(),
            timestamp: time.map(Time),
            severity: severity_of(record),
            insert_id: self.insert_ids.get(shared.index).cloned().unwrap_or_default(),
            labels: BTreeMap::new(),
            http_request: Map::new(),
            operation: Map::new(),
            source_location: Map::new(),
            trace: id(&record.trace_id, 16).map(|id| trace_name(project, &id)).unwrap_or_default(),
            span_id: id(&record.span_id, 8).unwrap_or_default(),
            trace_sampled: record.flags & SAMPLED != 0,
            json_payload: payload.fields,
            is_truncated: false,
        };
        lift(&mut entry, project, &mut truncator);
        entry.labels.extend(parts.labels.clone());
        entry.labels.extend(labels_of(shared, record, &mut truncator));
        if was_truncated {
            entry.label_truncated();
        }
        if truncator.has_truncated {
            entry.mark_truncated();
        }
        self.resource = Some((shared.resource_id, parts));
        entry
    }
}

/// Returns the labels of a scope and a record.
fn labels_of(
    shared: &Shared,
    record: &LogRecord,
    truncator: &mut Truncator,
) -> impl Iterator<Item = (String, String)> {
    let scope = shared.scope.as_ref();
    let mut label = |key, value: &str| label(key, value, truncator);
    // The number says less than a name that is not one of the severities.
    let is_named = Severity::from_text(&record.severity_text).is_some();
    let severity_text = if is_named { "" } else { record.severity_text.trim() };
    [
        label("instrumentation_source", scope.map_or("", |scope| &scope.name)),
        label("instrumentation_version", scope.map_or("", |scope| &scope.version)),
        label("event", &record.event_name),
        label("severity_text", severity_text),
    ]
    .into_iter()
    .flatten()
}

fn label(key: &str, value: &str, truncator: &mut Truncator) -> Option<(String, String)> {
    (!value.is_empty()).then(|| (key.to_owned(), truncator.truncate(value, MAX_LABEL_BYTES).to_owned()))
}

/// Returns the severity by number, or else by name.
fn severity_of(record: &LogRecord) -> &'static str {
    severity::of(record.severity_number, &record.severity_text).as_str()
}

/// Returns an id of this length as hexadecimal digits, unless it is zero.
fn id(bytes: &[u8], len: usize) -> Option<String> {
    (bytes.len() == len && bytes.iter().any(|byte| *byte != 0)).then(|| hex::encode(bytes))
}
