//! A Cloud Trace and a metadata server on loopback, as strict as Google's documentation.
//!
//! Requests to Cloud Trace are read with Google's own types. An unknown field is an error.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use google_cloud_trace_v2::model::attribute_value::Value as Attribute;
use google_cloud_trace_v2::model::span::{Attributes, time_event};
use google_cloud_trace_v2::model::{Span, TruncatableString};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Any};
use prost::Message;
use serde_json::{Value, json};

use crate::receiver::{Answer, Receiver, Request};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Returns an error response of Google's APIs.
pub(crate) fn error(status: u16, name: &str, message: &str) -> Answer {
    let body = json!({ "error": { "code": status, "message": message, "status": name } });
    Answer::new(status, body.to_string())
}

/// The limits that differ between the versions of the API.
#[derive(Clone, Copy)]
pub(crate) struct TraceLimits {
    name: usize,
    key: usize,
    value: usize,
    annotations: usize,
    description: usize,
}

/// What Google's own exporter writes since August 2026.
pub(crate) const CURRENT: TraceLimits =
    TraceLimits { name: 1024, key: 512, value: 64 << 10, annotations: 256, description: 1024 };

/// The page "Quotas and limits".
pub(crate) const DOCUMENTED: TraceLimits =
    TraceLimits { name: 128, key: 128, value: 256, annotations: 32, description: 256 };

/// Returns the project and the spans of a valid call to `projects.traces.batchWrite`.
pub(crate) fn batch_write(request: &Request) -> Result<(String, Vec<Span>), String> {
    batch_write_within(request, CURRENT)
}

/// As [`batch_write`], with these limits.
pub(crate) fn batch_write_within(
    request: &Request,
    limits: TraceLimits,
) -> Result<(String, Vec<Span>), String> {
    let path = request.uri.path();
    let project = path
        .strip_prefix("/v2/projects/")
        .and_then(|path| path.strip_suffix("/traces:batchWrite"))
        .ok_or_else(|| format!("no such method: {path}"))?;
    if request.headers.get("content-type").is_none_or(|value| value != "application/json") {
        return Err("the content type".to_owned());
    }
    let body: Value = serde_json::from_slice(&request.body).map_err(|error| error.to_string())?;
    if body.as_object().is_none_or(|body| body.keys().ne(["spans"])) {
        return Err("the body has something else than spans".to_owned());
    }
    let spans: Vec<Span> =
        serde_json::from_value(body["spans"].clone()).map_err(|error| error.to_string())?;
    if spans.is_empty() {
        return Err("no spans".to_owned());
    }
    let unknown = spans.iter().find(|span| format!("{span:?}").contains("_unknown_fields"));
    if let Some(span) = unknown {
        return Err(format!("a field is not known: {span:?}"));
    }
    for span in &spans {
        check(project, span, limits).map_err(|mistake| format!("{mistake}: {}", span.name))?;
    }
    Ok((project.to_owned(), spans))
}

/// Checks a span by the reference and the page "Quotas and limits".
fn check(project: &str, span: &Span, limits: TraceLimits) -> Result<(), &'static str> {
    let rule = |holds: bool, mistake| if holds { Ok(()) } else { Err(mistake) };
    let ids = span
        .name
        .strip_prefix(&format!("projects/{project}/traces/"))
        .and_then(|rest| rest.split_once("/spans/"));
    let (trace_id, span_id) = ids.ok_or("the name")?;
    rule(is_id(trace_id, 32), "the trace id")?;
    rule(is_id(span_id, 16) && span.span_id == span_id, "the span id")?;
    rule(span.parent_span_id.is_empty() || is_id(&span.parent_span_id, 16), "the parent")?;
    let display_name = span.display_name.as_ref().ok_or("no display name")?;
    rule(!display_name.value.is_empty() && fits(display_name, limits.name), "the display name")?;
    let (start, end) = (span.start_time.as_ref().ok_or("no start")?, span.end_time.as_ref().ok_or("no end")?);
    let nanos = |time: &wkt::Timestamp| i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanos());
    rule(nanos(start) <= nanos(end), "it ends before it starts")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let past = nanos(start) >= (now - 14 * DAY).as_nanos() as i128;
    rule(past && nanos(start) <= (now + 3 * DAY).as_nanos() as i128, "it starts too long ago or too late")?;
    if let Some(attributes) = &span.attributes {
        check_attributes(attributes, 32, limits)?;
    }
    if let Some(events) = &span.time_events {
        let (mut annotations, mut messages) = (0, 0);
        for event in &events.time_event {
            let time = event.time.as_ref().ok_or("an event without a time")?;
            rule(nanos(time) >= nanos(start) - (365 * DAY).as_nanos() as i128, "an event is too early")?;
            match event.value.as_ref().ok_or("an event that is nothing")? {
                time_event::Value::Annotation(annotation) => {
                    annotations += 1;
                    rule(
                        annotation.description.as_ref().is_some_and(|text| fits(text, limits.description)),
                        "a description",
                    )?;
                    check_attributes(annotation.attributes.as_ref().ok_or("no attributes")?, 4, limits)?;
                }
                time_event::Value::MessageEvent(_) => messages += 1,
                _ => return Err("an event that is not known"),
            }
        }
        rule(annotations <= limits.annotations && messages <= 128, "too many events")?;
        rule(events.dropped_annotations_count >= 0 && events.dropped_message_events_count >= 0, "a count")?;
    }
    if let Some(links) = &span.links {
        rule(links.link.len() <= 128 && links.dropped_links_count >= 0, "too many links")?;
        for link in &links.link {
            rule(is_id(&link.trace_id, 32) && is_id(&link.span_id, 16), "a link")?;
            check_attributes(link.attributes.as_ref().ok_or("no attributes")?, 32, limits)?;
        }
    }
    match &span.status {
        Some(status) => rule((0..=16).contains(&status.code), "the status"),
        None => Ok(()),
    }
}

fn is_id(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && text.bytes().any(|byte| byte != b'0')
}

fn fits(text: &TruncatableString, max_bytes: usize) -> bool {
    text.value.len() <= max_bytes && text.truncated_byte_count >= 0
}

fn check_attributes(attributes: &Attributes, max: usize, limits: TraceLimits) -> Result<(), &'static str> {
    if attributes.attribute_map.len() > max || attributes.dropped_attributes_count < 0 {
        return Err("too many attributes");
    }
    for (key, value) in &attributes.attribute_map {
        let is_fine = match &value.value {
            Some(Attribute::StringValue(text)) => fits(text, limits.value),
            Some(Attribute::IntValue(_) | Attribute::BoolValue(_)) => true,
            _ => false,
        };
        if !is_fine || key.is_empty() || key.len() > limits.key {
            return Err("an attribute");
        }
    }
    Ok(())
}

/// Returns why the Telemetry API would reject this request, by the page "Quotas and limits".
pub(crate) fn exceeded_telemetry_limit(request: &ExportTraceServiceRequest) -> Option<&'static str> {
    let are_fine = |attributes: &[KeyValue]| {
        let is_fine = |attribute: &KeyValue| {
            attribute.key.len() <= 512
                && attribute.value.as_ref().is_none_or(|value| match &value.value {
                    Some(Any::StringValue(text)) => text.len() <= 64 << 10,
                    _ => value.encoded_len() <= (64 << 10) + 8,
                })
        };
        attributes.len() <= 1024 && attributes.iter().all(is_fine)
    };
    for of_resource in &request.resource_spans {
        if !of_resource.resource.iter().all(|resource| are_fine(&resource.attributes)) {
            return Some("the attributes of a resource");
        }
        for span in of_resource.scope_spans.iter().flat_map(|of_scope| &of_scope.spans) {
            let events = span.events.len() <= 256
                && span.events.iter().all(|event| event.name.len() <= 1024 && are_fine(&event.attributes));
            let links = span.links.len() <= 128 && span.links.iter().all(|link| are_fine(&link.attributes));
            if span.name.len() > 1024 || !are_fine(&span.attributes) || !events || !links {
                return Some("a span is beyond a limit");
            }
        }
    }
    None
}

/// A metadata server that issues the tokens `token-1`, `token-2` and so on, each valid for some seconds.
pub(crate) struct MetadataServer {
    pub(crate) receiver: Receiver,
    given: Arc<AtomicUsize>,
    pub(crate) scopes: Arc<Mutex<String>>,
}

impl MetadataServer {
    /// Starts a server whose tokens are valid for this many seconds.
    pub(crate) async fn start(seconds: u64) -> Self {
        Self::start_late(0, seconds).await
    }

    /// Starts a server that fails the first requests for the project.
    pub(crate) async fn start_late(times: usize, seconds: u64) -> Self {
        let asked_for_project = AtomicUsize::new(0);
        let given = Arc::new(AtomicUsize::new(0));
        let scopes = Arc::new(Mutex::new(String::new()));
        let (count, asked) = (given.clone(), scopes.clone());
        let receiver = Receiver::start(move |request: &Request| {
            if request.headers.get("metadata-flavor").is_none_or(|value| value != "Google") {
                return Answer::new(403, "the header Metadata-Flavor is missing");
            }
            let body = match request.uri.path() {
                "/computeMetadata/v1/project/project-id"
                    if asked_for_project.fetch_add(1, Ordering::SeqCst) < times =>
                {
                    return Answer::new(503, "not yet");
                }
                "/computeMetadata/v1/project/project-id" => "mesh-project".to_owned(),
                "/computeMetadata/v1/instance/id" => "4567".to_owned(),
                "/computeMetadata/v1/instance/name" => "vm-1".to_owned(),
                "/computeMetadata/v1/instance/zone" => "projects/123/zones/europe-west1-b".to_owned(),
                "/computeMetadata/v1/instance/service-accounts/default/token" => {
                    *asked.lock().unwrap() = request.uri.query().unwrap_or_default().to_owned();
                    let n = count.fetch_add(1, Ordering::SeqCst) + 1;
                    json!({ "access_token": format!("token-{n}"), "expires_in": seconds, "token_type": "Bearer" })
                        .to_string()
                }
                _ => return Answer::new(404, ""),
            };
            Answer { headers: vec![("metadata-flavor", "Google".to_owned())], ..Answer::new(200, body) }
        })
        .await;
        Self { receiver, given, scopes }
    }

    /// Returns the host and the port, for `GCE_METADATA_HOST`.
    pub(crate) fn host(&self) -> &str {
        self.receiver.url.strip_prefix("http://").unwrap()
    }

    /// Returns the number of issued tokens.
    pub(crate) fn issued(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }
}
