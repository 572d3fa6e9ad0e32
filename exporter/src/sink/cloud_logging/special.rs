//! The fields of a payload that have a place of their own in an entry: those of Google's exporters (`gcp.…`), those of
//! structured logging (`logging.googleapis.com/…`), and those of OpenTelemetry's conventions.

use jiff::Timestamp;
use logtracer_core::line::Severity;
use logtracer_core::{SpanId, TraceId};
use serde_json::{Map, Value};

use super::super::google::project::ProjectId;
use super::http_request::{
    HTTP_REQUEST, Kind, Members, OPERATION, SOURCE_LOCATION, checked, shortened, take, take_conventions,
};
use super::model::LogEntry;
use super::truncator::Truncator;

/// The limits of labels (<https://cloud.google.com/logging/quotas>). A key has at most 512 bytes; those in a payload are
/// shorter.
const MAX_LABELS: usize = 64;
const MAX_LABEL_BYTES: usize = 64 << 10;

/// The number of labels that are reserved for those of the resource and the scope.
const OWN_LABELS: usize = 10;

/// An insert id has at most this length here.
const MAX_INSERT_ID_BYTES: usize = 256;

/// Moves the special fields of the payload to their places.
pub(super) fn lift(entry: &mut LogEntry, project: &ProjectId, truncator: &mut Truncator) {
    let mut fields = std::mem::take(&mut entry.json_payload);
    for (place, members, names) in [
        (&mut entry.http_request, HTTP_REQUEST, ["gcp.http_request", "httpRequest"]),
        (
            &mut entry.source_location,
            SOURCE_LOCATION,
            ["gcp.source_location", "logging.googleapis.com/sourceLocation"],
        ),
        (&mut entry.operation, OPERATION, ["gcp.operation", "logging.googleapis.com/operation"]),
    ] {
        for name in names {
            if place.is_empty() {
                *place = take_object(&mut fields, name, members, truncator);
            }
        }
    }
    if entry.http_request.is_empty() {
        entry.http_request = take_conventions(&mut fields, truncator);
    }
    if entry.source_location.is_empty() {
        entry.source_location = take_code(&mut fields, truncator);
    }
    for name in ["log.record.uid", "logging.googleapis.com/insertId", "insertId"] {
        let is_id = |text: &str| (1..=MAX_INSERT_ID_BYTES).contains(&text.len());
        if let Some(id) = fields.get(name).and_then(Value::as_str).filter(|id| is_id(id)) {
            id.clone_into(&mut entry.insert_id);
            fields.remove(name);
            break;
        }
    }
    for name in ["gcp.trace_sampled", "logging.googleapis.com/trace_sampled"] {
        if let Some(is_sampled) = fields.get(name).and_then(Value::as_bool) {
            entry.trace_sampled |= is_sampled;
            fields.remove(name);
        }
    }
    take_ids(entry, &mut fields, project);
    take_labels(entry, &mut fields, truncator);
    remove_repeated(entry, &mut fields);
    entry.json_payload = fields;
}

/// Moves the members of a field that is an object, or a text of one. The field stays if something is left in it: a text as
/// a text, because the size of the payload counts it as one.
fn take_object(
    fields: &mut Map<String, Value>,
    name: &str,
    members: &Members,
    truncator: &mut Truncator,
) -> Map<String, Value> {
    // Some loggers write it as a text.
    let parsed = fields.get(name).and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok());
    let is_text = parsed.is_some();
    let mut object: Map<String, Value> = match (parsed, fields.get_mut(name)) {
        (Some(parsed), _) => parsed,
        (None, Some(Value::Object(object))) => std::mem::take(object),
        _ => return Map::new(),
    };
    let taken = take(members, &mut object, truncator);
    if object.is_empty() {
        fields.remove(name);
    } else {
        let left = Value::Object(object);
        fields.insert(name.to_owned(), if is_text { Value::String(left.to_string()) } else { left });
    }
    taken
}

/// Moves the attributes of a source location.
fn take_code(fields: &mut Map<String, Value>, truncator: &mut Truncator) -> Map<String, Value> {
    let mut taken = Map::new();
    for (member, kind, names) in [
        ("file", Kind::Text, ["code.file.path", "code.filepath"]),
        ("line", Kind::Int64, ["code.line.number", "code.lineno"]),
        ("function", Kind::Text, ["code.function.name", "code.function"]),
    ] {
        let found = names.into_iter().find_map(|name| Some((name, checked(kind, fields.get(name)?)?)));
        if let Some((name, value)) = found {
            fields.remove(name);
            taken.insert(member.to_owned(), shortened(value, truncator));
        }
    }
    if let (Some(Value::String(function)), Some(namespace)) =
        (taken.get_mut("function"), fields.get("code.namespace").and_then(Value::as_str))
    {
        function.insert_str(0, &format!("{namespace}."));
        fields.remove("code.namespace");
    }
    taken
}

/// Takes the ids of the trace and of the span, if the record has none, and removes them if they are the same.
fn take_ids(entry: &mut LogEntry, fields: &mut Map<String, Value>, project: &ProjectId) {
    const TRACE: &str = "logging.googleapis.com/trace";
    const SPAN_ID: &str = "logging.googleapis.com/spanId";
    let id_of = |name: &str| name.rsplit('/').next()?.parse::<TraceId>().ok();
    let trace = fields.get(TRACE).and_then(Value::as_str).and_then(|name| Some((name, id_of(name)?)));
    if let Some((name, id)) = trace
        && (entry.trace.is_empty() || id_of(&entry.trace) == Some(id))
    {
        // The trace can be in another project than the log.
        let own = project_of_trace(name);
        entry.trace = trace_name(own.as_ref().unwrap_or(project), &id.to_string());
        fields.remove(TRACE);
    }
    let span_id = fields.get(SPAN_ID).and_then(Value::as_str).and_then(|id| id.parse::<SpanId>().ok());
    if let Some(span_id) = span_id.map(|id| id.to_string())
        && (entry.span_id.is_empty() || entry.span_id == span_id)
    {
        entry.span_id = span_id;
        fields.remove(SPAN_ID);
    }
}

/// Returns the project of a name such as `projects/PROJECT/traces/ID`.
fn project_of_trace(name: &str) -> Option<ProjectId> {
    name.strip_prefix("projects/")?.rsplit_once("/traces/")?.0.parse().ok()
}

pub(super) fn trace_name(project: &ProjectId, trace_id: &str) -> String {
    format!("projects/{project}/traces/{trace_id}")
}

/// Moves the texts of `logging.googleapis.com/labels` to the labels, as long as there is room.
fn take_labels(entry: &mut LogEntry, fields: &mut Map<String, Value>, truncator: &mut Truncator) {
    const NAME: &str = "logging.googleapis.com/labels";
    let Some(Value::Object(labels)) = fields.get_mut(NAME) else { return };
    let mut left = Map::new();
    for (key, value) in std::mem::take(labels) {
        let fits = entry.labels.len() < MAX_LABELS - OWN_LABELS;
        match value {
            Value::String(text) if fits => {
                entry.labels.insert(key, truncator.truncate(&text, MAX_LABEL_BYTES).to_owned());
            }
            other => drop(left.insert(key, other)),
        }
    }
    if left.is_empty() {
        fields.remove(NAME);
    } else {
        *labels = left;
    }
}

/// Removes the severity and the time of a line of JSON, if the entry has the same.
fn remove_repeated(entry: &LogEntry, fields: &mut Map<String, Value>) {
    let named = fields.get("severity").and_then(Value::as_str).and_then(Severity::from_text);
    if named.is_some_and(|severity| severity.as_str() == entry.severity) {
        fields.remove("severity");
    }
    for name in ["time", "timestamp"] {
        let time = fields.get(name).and_then(Value::as_str).and_then(|text| text.parse::<Timestamp>().ok());
        let nanos = time.and_then(|time| u64::try_from(time.as_nanosecond()).ok());
        if nanos.is_some() && nanos == entry.timestamp.map(|time| time.0) {
            fields.remove(name);
        }
    }
}
