//! Google Cloud Trace, API v2: `projects.traces.batchWrite`
//! (<https://cloud.google.com/trace/docs/reference/v2/rest/v2/projects.traces/batchWrite>).
//!
//! ```text
//!  Chunk ──► one project? ──► span (ids, times, events, links, status) ──► JSON ──► http, with a token
//!               │ no: split            └► labels (32 of them, by priority) ─► text (lengths)
//! ```
//!
//! `sink/http/status.rs` maps the status of the response to an error; 400 is `Rejected`. `deliver/call_result.rs` halves a
//! rejected chunk, until the rejected span alone is a dead letter (or whole chunks, after many in a row).
//! `deliver/dead_letters/retry.rs` queues that again when an operator requests it.

mod event;
mod grpc_code;
mod labels;
mod model;
mod resource;
mod span;
mod text;
mod time_limits;

use std::collections::BTreeSet;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;

use super::google::project::{self, ProjectId};
use super::google::{Access, Google, Service};
use super::http;
use crate::clock::unix_nanos;
use crate::deliver::{Accepted, Chunk, DeliveryError, Pace, Sink, decode};

/// The sink `cloud-trace`.
#[derive(Debug)]
pub(crate) struct CloudTrace(Google);

/// The narrowest scope that can write spans.
const SCOPE: &str = "https://www.googleapis.com/auth/trace.append";

impl CloudTrace {
    pub(crate) async fn open(endpoint: &Url, access: &Access) -> anyhow::Result<Self> {
        Google::open(Service { endpoint, scope: SCOPE }, access).await.map(Self)
    }
}

impl Sink for CloudTrace {
    /// A project has a quota of 4,800 calls a minute, whatever their size, and a large call takes seconds. So there are
    /// many calls in flight, and small calls wait for more spans.
    fn pace(&self) -> Pace {
        Pace { calls: 32, items: 1000, bytes: 1 << 20, linger: Duration::from_millis(500) }
    }

    async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        let (project, body) = self.prepare(chunk)?;
        let path = format!("/v2/projects/{project}/traces:batchWrite");
        let call =
            self.0.post(&path).await?.header(CONTENT_TYPE, "application/json").body(http::body(body.into()));
        match http::send(call).await {
            Ok(_) => {
                self.0.record_accepted();
                Ok(Accepted::default())
            }
            Err(error) => Err(self.0.adjust_access_denied(&project, error)),
        }
    }
}

impl CloudTrace {
    /// Returns the project and the body of a call. The decoded chunk is freed before the call.
    fn prepare(&self, chunk: &Chunk) -> Result<(ProjectId, Vec<u8>), DeliveryError> {
        let request = decode(chunk)?;
        let project = match only_project(&request, &self.0.project) {
            Some(project) => project,
            None => return Err(DeliveryError::Split { chunks: split_by_project(chunk, &self.0.project) }),
        };
        time_limits::check(chunk, &request, unix_nanos())?;
        let body = body(&request, &project).map_err(|reason| DeliveryError::Rejected { reason })?;
        Ok((project, body))
    }
}

/// Returns the project of all resources that have spans, if there is only one.
fn only_project(request: &ExportTraceServiceRequest, default: &ProjectId) -> Option<ProjectId> {
    let of = |resource: Option<_>| resource.and_then(project::named).unwrap_or_else(|| default.clone());
    let with_spans = request.resource_spans.iter().filter(|resource_spans| {
        resource_spans.scope_spans.iter().any(|scope_spans| !scope_spans.spans.is_empty())
    });
    let projects: BTreeSet<ProjectId> =
        with_spans.map(|resource_spans| of(resource_spans.resource.as_ref())).collect();
    match projects.len() {
        0 => Some(default.clone()),
        1 => projects.into_iter().next(),
        _ => None,
    }
}

/// Splits a chunk into one for each project.
pub(in crate::sink) fn split_by_project(chunk: &Chunk, default: &ProjectId) -> Vec<Chunk> {
    let key = |resource: &[u8]| project::of_resource(resource).unwrap_or_else(|| default.clone());
    chunk.by_resource(key).into_values().collect()
}

/// Returns the body of a call.
fn body(request: &ExportTraceServiceRequest, project: &ProjectId) -> Result<Vec<u8>, String> {
    let mut spans = Vec::new();
    for resource_spans in &request.resource_spans {
        let resource = resource::ResourceLabels::new(resource_spans.resource.as_ref(), project);
        for scope_spans in &resource_spans.scope_spans {
            let scope = scope_spans.scope.as_ref();
            spans.extend(scope_spans.spans.iter().map(|span| span::convert(span, &resource, scope, project)));
        }
    }
    serde_json::to_vec(&model::Request { spans }).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    fn of(project: &str, spans: usize) -> ResourceSpans {
        let value = Some(AnyValue { value: Some(Any::StringValue(project.to_owned())) });
        let attribute = KeyValue { key: project::ATTRIBUTE.to_owned(), value, key_strindex: 0 };
        ResourceSpans {
            resource: Some(Resource { attributes: vec![attribute], ..Default::default() }),
            scope_spans: vec![ScopeSpans { spans: vec![Span::default(); spans], ..Default::default() }],
            ..Default::default()
        }
    }

    #[test]
    fn a_resource_without_spans_does_not_count() {
        let default: ProjectId = "shop-1".parse().unwrap();
        for (resource_spans, expected) in [
            (vec![], Some("shop-1")),
            (vec![of("first-1", 1), of("first-1", 2)], Some("first-1")),
            (vec![of("first-1", 1), of("second-2", 0)], Some("first-1")),
            (vec![of("first-1", 1), of("second-2", 1)], None),
        ] {
            let project = only_project(&ExportTraceServiceRequest { resource_spans }, &default);
            assert_eq!(project.as_ref().map(ProjectId::as_str), expected);
        }
    }
}
