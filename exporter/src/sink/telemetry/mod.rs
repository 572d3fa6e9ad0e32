//! Google Cloud's Telemetry API: OTLP/HTTP with a token, to `/v1/traces`
//! (<https://docs.cloud.google.com/stackdriver/docs/reference/telemetry/overview>).
//!
//! Each resource has to name its project in `gcp.project_id`; where it does not, it gets the exporter's. Spans that are
//! within the limits of the API stay the bytes that they are.

mod limits;

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use reqwest::Url;

use super::cloud_trace::divide;
use super::google::project::{self, ProjectId};
use super::google::{Access, Google, Service};
use super::otlp;
use crate::deliver::{Accepted, Chunk, DeliveryError, Pace, Sink};
use crate::otlp::envelope::{Envelope, ResourceItems};

/// The sink.
#[derive(Debug)]
pub(crate) struct Telemetry(Google);

/// The API knows no narrower one for traces of all kinds of credentials.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

impl Telemetry {
    pub(crate) async fn open(endpoint: &Url, access: &Access) -> anyhow::Result<Self> {
        Google::open(Service { endpoint, scope: SCOPE }, access).await.map(Self)
    }
}

impl Sink for Telemetry {
    /// A message may have 16 MiB.
    fn pace(&self) -> Pace {
        Pace { calls: 32, items: 2000, bytes: 1 << 20, linger: Duration::from_millis(200) }
    }

    async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        let undecodable = |error: prost::DecodeError| DeliveryError::Rejected { reason: error.to_string() };
        let mut envelope = Envelope::from_body(&chunk.body()).map_err(undecodable)?;
        // What has no spans must not decide about those that there are.
        envelope.resources.retain(ResourceItems::has_items);
        let mut project = None;
        for of_resource in &mut envelope.resources {
            let named = complete(of_resource, &self.0.project).map_err(undecodable)?;
            for span in of_resource.scopes.iter_mut().flat_map(|of_scope| &mut of_scope.items) {
                if let Some(within) = limits::span(span) {
                    *span = within;
                }
            }
            match &project {
                None => project = Some(named),
                Some(project) if *project == named => {}
                // Access to one project must not decide about spans of another.
                Some(_) => return Err(DeliveryError::Split { chunks: divide(chunk, &self.0.project) }),
            }
        }
        let project = project.unwrap_or_else(|| self.0.project.clone());
        let call = self.0.post("/v1/traces").await?;
        let sent = otlp::http::send(call, envelope.to_body()).await;
        sent.inspect(|_| self.0.accepted()).map_err(|error| self.0.judge(&project, error))
    }
}

/// Lets the resource name a project; which it is.
fn complete(of_resource: &mut ResourceItems, default: &ProjectId) -> Result<ProjectId, prost::DecodeError> {
    let mut resource = match &of_resource.resource {
        Some(resource) => Resource::decode(resource.clone())?,
        None => Resource::default(),
    };
    let before = resource.clone();
    let project = project::named(&resource).unwrap_or_else(|| default.clone());
    resource.attributes.retain(|attribute| attribute.key != project::ATTRIBUTE);
    // In front, where no limit cuts it off.
    let attribute = KeyValue {
        key: project::ATTRIBUTE.to_owned(),
        value: Some(AnyValue { value: Some(Any::StringValue(project.to_string())) }),
        key_strindex: 0,
    };
    resource.attributes.insert(0, attribute);
    limits::resource(&mut resource);
    if resource != before {
        of_resource.resource = Some(resource.encode_to_vec().into());
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
            let mut of_resource =
                ResourceItems { resource: Some(resource.encode_to_vec().into()), ..Default::default() };
            assert_eq!(complete(&mut of_resource, &default).unwrap().as_str(), expected);
            let completed = Resource::decode(of_resource.resource.unwrap()).unwrap();
            assert_eq!(completed.attributes, [attribute(text(expected))]);
        }
        // Behind as many as there may be.
        let mut many: Vec<_> =
            (0..1024).map(|n| KeyValue { key: format!("{n}"), ..Default::default() }).collect();
        many.push(attribute(text("other")));
        let resource = Resource { attributes: many, ..Default::default() };
        let mut of_resource =
            ResourceItems { resource: Some(resource.encode_to_vec().into()), ..Default::default() };
        assert_eq!(complete(&mut of_resource, &default).unwrap().as_str(), "other");
        let completed = Resource::decode(of_resource.resource.unwrap()).unwrap();
        assert_eq!((completed.attributes.len(), completed.dropped_attributes_count), (1024, 1));
        assert_eq!(completed.attributes[0], attribute(text("other")));
        let mut none = ResourceItems::default();
        complete(&mut none, &default).unwrap();
        assert!(none.resource.is_some());
    }
}
