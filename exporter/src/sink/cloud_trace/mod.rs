//! Google Cloud Trace, API v2: `projects.traces.batchWrite`
//! (<https://cloud.google.com/trace/docs/reference/v2/rest/v2/projects.traces/batchWrite>).
//!
//! ```text
//!  Chunk ──► one project? ──► span (ids, times, events, links, status) ──► JSON ──► http, with a token
//!               │ no: split            └► labels (32 of them, by priority) ─► text (lengths)
//! ```
//!
//! A rejected chunk with texts that are longer than documented is sent once more within the documented limits.
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

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::Span as OtlpSpan;
use prost::Message;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;

use super::body::{BodyBudget, MAX_BODY_BYTES};
use super::google::project::{ProjectId, project_of};
use super::google::{Access, Google, Service};
use super::http;
use super::json_body::{Frame, Shared, write_items};
use super::time_limits::{self, DAY, TimeLimits};
use crate::clock::unix_nanos;
use crate::deliver::{Accepted, Chunk, DeliveryError, Pace, Sink};
use resource::ResourceLabels;
use text::{CURRENT, DOCUMENTED, Limits};

/// The sink `cloud-trace`.
#[derive(Debug)]
pub(crate) struct CloudTrace {
    google: Google,
    budget: BodyBudget,
}

/// The narrowest scope that can write spans.
const SCOPE: &str = "https://www.googleapis.com/auth/trace.append";

impl CloudTrace {
    pub(crate) async fn open(endpoint: &Url, access: &Access) -> anyhow::Result<Self> {
        let google = Google::open(Service { endpoint, scope: SCOPE }, access).await?;
        Ok(Self { google, budget: BodyBudget::new() })
    }
}

/// <https://cloud.google.com/trace/docs/quotas>
const TIMES: TimeLimits = TimeLimits {
    past: Duration::from_secs(14 * DAY.as_secs()),
    future: Duration::from_secs(3 * DAY.as_secs()),
    time: |span| StartTime::decode(span).ok().map(|start| start.unix_nano),
    reason: "Cloud Trace accepts spans that start within the last 14 or the next 3 days",
};

/// The start time of a `Span`.
#[derive(Clone, PartialEq, Message)]
struct StartTime {
    #[prost(fixed64, tag = "7")]
    unix_nano: u64,
}

impl Sink for CloudTrace {
    /// A project has a quota of 4,800 calls a minute, whatever their size, and a large call takes seconds. So there are
    /// many calls in flight, and small calls wait for more spans.
    fn pace(&self) -> Pace {
        Pace { calls: 32, items: 1000, bytes: 1 << 20, linger: Duration::from_millis(500) }
    }

    async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        let project = &project_of(chunk, &self.google.project)?;
        time_limits::check(chunk, TIMES, unix_nanos())?;
        let make = || body(chunk, project, &CURRENT);
        let (mut truncated, made) = self.budget.make(MAX_BODY_BYTES, make).await?;
        let mut result = self.send(project, made).await;
        if let Err(DeliveryError::Rejected { .. }) = result {
            let make = || body(chunk, project, &DOCUMENTED);
            let (shortened, made) = self.budget.make(MAX_BODY_BYTES, make).await?;
            if shortened > 0 {
                truncated = truncated.max(shortened);
                result = self.send(project, made).await;
            }
        }
        match result {
            Ok(_) => {
                self.google.record_accepted();
                Ok(Accepted { truncated, ..Default::default() })
            }
            Err(error) => Err(self.google.adjust_access_denied(project, error)),
        }
    }
}

impl CloudTrace {
    async fn send(&self, project: &ProjectId, body: Bytes) -> Result<http::Success, DeliveryError> {
        http::within_timeout(async {
            let call = self.google.post(&format!("/v2/projects/{project}/traces:batchWrite")).await?;
            http::send(call.header(CONTENT_TYPE, "application/json").body(http::body(body))).await
        })
        .await
    }
}

const FRAME: Frame = Frame { start: r#"{"spans":["#, separator: ",", end: "]}" };

/// Returns the body of a call, and the number of spans that are truncated more than by [`CURRENT`] limits.
fn body(chunk: &Chunk, project: &ProjectId, limits: &Limits) -> Result<(u32, Bytes), DeliveryError> {
    let (mut within, mut current) = (Converter::new(project, limits), Converter::new(project, &CURRENT));
    let body = write_items(chunk, FRAME, |out, shared, span: &OtlpSpan| {
        let converted = within.convert(shared, span);
        let is_shortened = *limits != CURRENT && converted != current.convert(shared, span);
        serde_json::to_writer(out, &converted).map(|()| is_shortened)
    })?;
    Ok((body.truncated, body.bytes))
}

/// Converts spans, and the resource once for all of them.
struct Converter<'a> {
    project: &'a ProjectId,
    limits: &'a Limits,
    resource: Option<(usize, ResourceLabels)>,
}

impl<'a> Converter<'a> {
    fn new(project: &'a ProjectId, limits: &'a Limits) -> Self {
        Self { project, limits, resource: None }
    }

    fn convert(&mut self, shared: &Shared, span: &OtlpSpan) -> model::Span {
        let Self { project, limits, resource } = self;
        if resource.as_ref().is_none_or(|(id, _)| *id != shared.resource_id) {
            let labels = ResourceLabels::new(shared.resource.as_ref(), project, limits);
            *resource = Some((shared.resource_id, labels));
        }
        let (_, labels) = resource.get_or_insert_with(|| (0, ResourceLabels::new(None, project, limits)));
        span::convert(span, labels, shared.scope.as_ref(), project, limits)
    }
}

#[cfg(test)]
mod tests {
    use super::super::google;
    use super::*;
    use crate::deliver::{Origin, Slice};
    use crate::otlp::Signal;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    fn of(project: &str, spans: usize) -> ResourceSpans {
        let value = Some(AnyValue { value: Some(Any::StringValue(project.to_owned())) });
        let attribute = KeyValue { key: google::project::ATTRIBUTE.to_owned(), value, key_strindex: 0 };
        ResourceSpans {
            resource: Some(Resource { attributes: vec![attribute], ..Default::default() }),
            scope_spans: vec![ScopeSpans { spans: vec![Span::default(); spans], ..Default::default() }],
            ..Default::default()
        }
    }

    #[tokio::test]
    async fn a_resource_without_spans_does_not_count() {
        let access = Access { project: Some("shop-1".parse().unwrap()), auth: google::Auth::None };
        let endpoint = google::endpoint("http://localhost").unwrap();
        let sink = CloudTrace::open(&endpoint, &access).await.unwrap();
        for (resource_spans, expected) in [
            (vec![], Some("shop-1")),
            (vec![of("first-1", 1), of("first-1", 2)], Some("first-1")),
            (vec![of("first-1", 1), of("second-2", 0)], Some("first-1")),
            (vec![of("first-1", 1), of("second-2", 1)], None),
        ] {
            let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
            let chunk = Chunk::new(Signal::Traces, Slice::new(Origin::Batch(1), 0, body.into()));
            let project = project_of(&chunk, &sink.google.project).ok();
            assert_eq!(project.as_ref().map(ProjectId::as_str), expected);
        }
    }
}
