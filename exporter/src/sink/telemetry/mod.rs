//! Google Cloud's Telemetry API: OTLP/HTTP with a token, to `/v1/traces` and `/v1/logs`
//! (<https://docs.cloud.google.com/stackdriver/docs/reference/telemetry/overview>).
//!
//! Each resource has to name its project in `gcp.project_id`. A resource without it gets the exporter's project. Items
//! within the limits of the API are sent unchanged.

mod limits;

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use reqwest::Url;

use super::body::BodyBudget;
use super::google::project::{self, ProjectId, split_by_project};
use super::google::{Access, Google, Service};
use super::http::within_timeout;
use super::limits::LARGE;
use super::otlp;
use crate::deliver::{Accepted, Chunk, DeliveryError, Denied, Pace, Sink};
use crate::otlp::Signal;
use crate::otlp::envelope::{Envelope, ResourceItems};

/// The sink `telemetry`.
#[derive(Debug)]
pub(crate) struct Telemetry {
    google: Google,
    budget: BodyBudget,
}

/// No narrower scope works with every kind of credentials.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

impl Telemetry {
    pub(crate) async fn open(endpoint: &Url, access: &Access) -> anyhow::Result<Self> {
        let google = Google::open(Service { endpoint, scope: SCOPE }, access).await?;
        Ok(Self { google, budget: BodyBudget::new() })
    }
}

impl Sink for Telemetry {
    /// A message can have 16 MiB.
    fn pace(&self) -> Pace {
        Pace { calls: 32, items: 2000, bytes: 1 << 20, linger: Duration::from_millis(200) }
    }

    async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        // A resource gets a project.
        let max_bytes = 2 * chunk.bytes();
        let ((project, truncated), body) = self.budget.make(max_bytes, || self.prepare(chunk)).await?;
        let path = match chunk.signal() {
            Signal::Traces => "/v1/traces",
            Signal::Logs => "/v1/logs",
        };
        let call = async { otlp::http::send(self.google.post(path).await?, body).await };
        let sent = within_timeout(call).await;
        sent.inspect(|_| self.google.record_accepted())
            .map(|accepted| Accepted { truncated, ..accepted })
            .map_err(|error| about_logs(chunk.signal(), self.google.adjust_access_denied(&project, error)))
    }
}

/// A role for spans alone is common, and log records without a permission must not hold up the spans.
fn about_logs(signal: Signal, error: DeliveryError) -> DeliveryError {
    match error {
        DeliveryError::AccessDenied { reason, denied: Denied::Resource, .. } if signal == Signal::Logs => {
            DeliveryError::Unsupported { reason }
        }
        other => other,
    }
}

impl Telemetry {
    /// Returns the project, the number of items that are truncated, and the body of a call.
    fn prepare(&self, chunk: &Chunk) -> Result<((ProjectId, u32), Bytes), DeliveryError> {
        let undecodable = |error: prost::DecodeError| DeliveryError::Rejected { reason: error.to_string() };
        let default = &self.google.project;
        let mut whole = Envelope::default();
        for envelope in chunk.envelopes() {
            whole
                .resources
                .append(&mut envelope.map_err(|reason| DeliveryError::Rejected { reason })?.resources);
        }
        // The project of a resource without items does not matter.
        whole.resources.retain(ResourceItems::has_items);
        let mut project = None;
        let mut truncated = 0;
        for resource_items in &mut whole.resources {
            let named = set_project(resource_items, default).map_err(undecodable)?;
            for item in resource_items.scopes.iter_mut().flat_map(|scope_items| &mut scope_items.items) {
                let within = match chunk.signal() {
                    Signal::Traces => limits::span(item),
                    Signal::Logs => limits::log_record(item),
                };
                if let Some(within) = within {
                    *item = within;
                    truncated += 1;
                }
            }
            match &project {
                None => project = Some(named),
                Some(project) if *project == named => {}
                // Items of one project must not depend on the access to another.
                Some(_) => return Err(DeliveryError::Split { chunks: split_by_project(chunk, default) }),
            }
        }
        Ok(((project.unwrap_or_else(|| default.clone()), truncated), whole.to_body()))
    }
}

/// Sets the project of a resource, and returns it.
fn set_project(
    resource_items: &mut ResourceItems,
    default: &ProjectId,
) -> Result<ProjectId, prost::DecodeError> {
    let mut resource = match &resource_items.resource {
        Some(resource) => Resource::decode(resource.clone())?,
        None => Resource::default(),
    };
    let before = resource.clone();
    let project = project::named(&resource).unwrap_or_else(|| default.clone());
    resource.attributes.retain(|attribute| attribute.key != project::ATTRIBUTE);
    // First, so that no limit drops it.
    let attribute = KeyValue {
        key: project::ATTRIBUTE.to_owned(),
        value: Some(AnyValue { value: Some(Any::StringValue(project.to_string())) }),
        key_strindex: 0,
    };
    resource.attributes.insert(0, attribute);
    LARGE.resource(&mut resource);
    if resource != before {
        resource_items.resource = Some(resource.encode_to_vec().into());
    }
    Ok(project)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_names_a_project() {
        let default: ProjectId = "shop-1".parse().unwrap();
        let attribute = |value| KeyValue {
            key: project::ATTRIBUTE.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            key_strindex: 0,
        };
        let text = |text: &str| Any::StringValue(text.to_owned());
        for (given, expected) in [
            (vec![], "shop-1"),
            (vec![attribute(text("other"))], "other"),
            (vec![attribute(text("not valid!"))], "shop-1"),
            (vec![attribute(Any::IntValue(7))], "shop-1"),
        ] {
            let resource = Resource { attributes: given, ..Default::default() };
            let mut resource_items =
                ResourceItems { resource: Some(resource.encode_to_vec().into()), ..Default::default() };
            assert_eq!(set_project(&mut resource_items, &default).unwrap().as_str(), expected);
            let completed = Resource::decode(resource_items.resource.unwrap()).unwrap();
            assert_eq!(completed.attributes, [attribute(text(expected))]);
        }
        // Behind as many as there may be.
        let mut many: Vec<_> =
            (0..1024).map(|n| KeyValue { key: format!("{n}"), ..Default::default() }).collect();
        many.push(attribute(text("other")));
        let resource = Resource { attributes: many, ..Default::default() };
        let mut resource_items =
            ResourceItems { resource: Some(resource.encode_to_vec().into()), ..Default::default() };
        assert_eq!(set_project(&mut resource_items, &default).unwrap().as_str(), "other");
        let completed = Resource::decode(resource_items.resource.unwrap()).unwrap();
        assert_eq!((completed.attributes.len(), completed.dropped_attributes_count), (1024, 1));
        assert_eq!(completed.attributes[0], attribute(text("other")));
        let mut none = ResourceItems::default();
        set_project(&mut none, &default).unwrap();
        assert!(none.resource.is_some());
    }
}
