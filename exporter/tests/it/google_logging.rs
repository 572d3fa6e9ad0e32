//! A Cloud Logging on loopback, as strict as Google's documentation.
//!
//! Requests are read with Google's own types. An unknown field is an error. Of the entries of a project with the same time
//! and insert id, one is stored, whatever their log is
//! (<https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry>).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use google_cloud_logging_v2::model::LogEntry;
use serde_json::{Value, json};

use crate::google::error;
use crate::receiver::{Answer, Receiver, Request};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An entry as it arrived, checked by its type.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) typed: LogEntry,
    pub(crate) json: Value,
}

impl Entry {
    pub(crate) fn message(&self) -> &str {
        self.json["jsonPayload"]["message"].as_str().unwrap_or_default()
    }
}

/// The stored entries, each with the number of times that it was written.
type Stored = Arc<Mutex<BTreeMap<(String, String, String), (Entry, usize)>>>;

/// What the server answers for an entry: `None`, or a `google.rpc.Code` and a message.
pub(crate) type Verdict = Option<(i32, String)>;

/// A running Cloud Logging.
pub(crate) struct CloudLogging {
    pub(crate) receiver: Receiver,
    stored: Stored,
}

impl CloudLogging {
    /// Starts a server that rejects what this function rejects, beside what is invalid.
    pub(crate) async fn start(judge: impl Fn(&Entry) -> Verdict + Send + Sync + 'static) -> Self {
        Self::start_with(judge, |_, answer| answer).await
    }

    /// Starts a server that changes its answers with the function `respond`, which gets the number of the call.
    pub(crate) async fn start_with(
        judge: impl Fn(&Entry) -> Verdict + Send + Sync + 'static,
        respond: impl Fn(usize, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let stored = Stored::default();
        let (store, calls) = (stored.clone(), Mutex::new(0));
        let receiver = Receiver::start(move |request: &Request| {
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            let entries = match entries(request) {
                Ok(entries) => entries,
                Err(mistake) => return respond(*calls, error(400, "INVALID_ARGUMENT", &mistake)),
            };
            respond(*calls, write(entries, &judge, &store))
        })
        .await;
        Self { receiver, stored }
    }

    /// Returns the stored entries by their message, each with the number of times that it was written.
    pub(crate) fn stored(&self) -> Vec<(Entry, usize)> {
        let mut stored: Vec<_> = self.stored.lock().unwrap().values().cloned().collect();
        stored.sort_by_key(|(entry, _)| entry.message().to_owned());
        stored
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        self.stored().iter().map(|(entry, _)| entry.message().chars().take(40).collect()).collect()
    }
}

/// Stores the valid entries, and returns the response of `entries.write` with `partialSuccess`.
fn write(entries: Vec<Entry>, judge: &impl Fn(&Entry) -> Verdict, stored: &Stored) -> Answer {
    let mut errors = BTreeMap::new();
    let count = entries.len();
    for (index, entry) in entries.into_iter().enumerate() {
        let verdict = check(&entry).err().map(|mistake| (3, mistake.to_owned())).or_else(|| judge(&entry));
        if let Some(error) = verdict {
            errors.insert(index, error);
            continue;
        }
        let text = |name: &str| entry.json[name].as_str().unwrap().to_owned();
        let project = text("logName").split("/logs/").next().unwrap().to_owned();
        let key = (project, text("timestamp"), text("insertId"));
        stored.lock().unwrap().entry(key).or_insert((entry, 0)).1 += 1;
    }
    let Some((code, message)) = errors.values().next().cloned() else { return Answer::new(200, "{}") };
    let (status, name) = match code {
        7 => (403, "PERMISSION_DENIED"),
        8 => (429, "RESOURCE_EXHAUSTED"),
        14 => (503, "UNAVAILABLE"),
        _ => (400, "INVALID_ARGUMENT"),
    };
    // "Failed requests for which no entries are written will not include per-entry errors."
    if errors.len() == count {
        return error(status, name, &message);
    }
    let errors: serde_json::Map<String, Value> = errors
        .into_iter()
        .map(|(index, (code, message))| (index.to_string(), json!({ "code": code, "message": message })))
        .collect();
    let details = json!([{
        "@type": "type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors",
        "logEntryErrors": errors,
    }]);
    let body = json!({ "error": { "code": status, "message": message, "status": name, "details": details } });
    Answer::new(status, body.to_string())
}

/// Returns the entries of a valid call to `entries.write`.
fn entries(request: &Request) -> Result<Vec<Entry>, String> {
    if request.method != "POST" || request.uri.path() != "/v2/entries:write" {
        return Err(format!("no such method: {} {}", request.method, request.uri));
    }
    if request.headers.get("content-type").is_none_or(|value| value != "application/json") {
        return Err("the content type".to_owned());
    }
    if request.body.len() > 10_000_000 {
        return Err("the call is too large".to_owned());
    }
    let body: Value = serde_json::from_slice(&request.body).map_err(|error| error.to_string())?;
    if body.as_object().is_none_or(|body| body.keys().any(|key| key != "entries" && key != "partialSuccess"))
        || body["partialSuccess"] != true
    {
        return Err("the body has something else than entries".to_owned());
    }
    let list = body["entries"].as_array().filter(|list| !list.is_empty()).ok_or("no entries")?;
    let read = |json: &Value| {
        let typed: LogEntry = serde_json::from_value(json.clone()).map_err(|error| error.to_string())?;
        let shown = format!("{typed:?}");
        if shown.contains("_unknown_fields") || shown.contains("UnknownValue") {
            return Err(format!("a field or a value is not known: {shown}"));
        }
        Ok(Entry { typed, json: json.clone() })
    };
    list.iter().map(read).collect()
}

/// The monitored resources and their labels
/// (<https://cloud.google.com/logging/docs/api/v2/resource-list>).
const RESOURCES: &[(&str, &[&str])] = &[
    (
        "k8s_container",
        &["cluster_name", "container_name", "location", "namespace_name", "pod_name", "project_id"],
    ),
    ("k8s_pod", &["cluster_name", "location", "namespace_name", "pod_name", "project_id"]),
    ("k8s_node", &["cluster_name", "location", "node_name", "project_id"]),
    ("gce_instance", &["instance_id", "project_id", "zone"]),
    (
        "cloud_run_revision",
        &["configuration_name", "location", "project_id", "revision_name", "service_name"],
    ),
    ("generic_task", &["job", "location", "namespace", "project_id", "task_id"]),
    ("generic_node", &["location", "namespace", "node_id", "project_id"]),
    ("global", &["project_id"]),
];

/// Checks an entry by the reference and the page "Quotas and limits".
fn check(Entry { typed, json }: &Entry) -> Result<(), &'static str> {
    let rule = |holds: bool, mistake| if holds { Ok(()) } else { Err(mistake) };
    rule(json.to_string().len() <= 256 << 10, "the entry is too large")?;
    let (_, log) = typed
        .log_name
        .strip_prefix("projects/")
        .and_then(|rest| rest.split_once("/logs/"))
        .ok_or("the log name")?;
    let is_log = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.%".contains(&byte);
    rule((1..512).contains(&log.len()) && log.bytes().all(is_log), "the log name")?;
    let resource = typed.resource.as_ref().ok_or("no resource")?;
    let mut labels: Vec<&str> = resource.labels.keys().map(String::as_str).collect();
    labels.sort_unstable();
    rule(RESOURCES.contains(&(&resource.r#type, &labels)), "the resource")?;
    let timestamp = typed.timestamp.as_ref().ok_or("no timestamp")?;
    let at = Duration::from_secs(u64::try_from(timestamp.seconds()).map_err(|_| "the timestamp")?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    rule(at <= now + DAY && at >= now - 30 * DAY, "the timestamp is out of range")?;
    rule((1..=512).contains(&typed.insert_id.len()), "the insert id")?;
    let are_short = typed.labels.iter().all(|(key, value)| key.len() <= 512 && value.len() <= 64 << 10);
    rule(typed.labels.len() <= 64 && are_short, "the labels")?;
    let is_id = |text: &str, len: usize| {
        text.is_empty() || (text.len() == len && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    // It can be in another project than the log.
    let trace = typed.trace.strip_prefix("projects/").and_then(|rest| rest.split_once("/traces/"));
    let trace = trace.map_or(&typed.trace[..], |(_, id)| id);
    rule(is_id(trace, 32) && is_id(&typed.span_id, 16), "the ids")?;
    rule(typed.payload.is_some(), "no payload")
}
