//! The labels that a resource adds to all its spans.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::labels::AGENT_LABEL;
use super::model::Value;
use super::text::{Limits, is_key, truncated, value};
use crate::otlp::any_value::unique;
use crate::sink::google::project::{self, ProjectId};

/// The labels of a resource, computed once for all its spans.
#[derive(Debug)]
pub(super) struct ResourceLabels {
    /// The labels that precede the span attributes for which the console has no label.
    pub(super) first: Vec<(String, Value)>,
    /// The labels that follow all other labels of a span.
    pub(super) last: Vec<(String, Value)>,
    /// The number of attributes that Cloud Trace does not accept.
    pub(super) dropped: u32,
    pub(super) has_agent: bool,
}

impl ResourceLabels {
    pub(super) fn new(resource: Option<&Resource>, project: &ProjectId, limits: &Limits) -> Self {
        let attributes = resource.map(|resource| &resource.attributes[..]).unwrap_or_default();
        let mut labels = Self {
            first: monitored(attributes, project, limits),
            last: Vec::new(),
            dropped: 0,
            has_agent: false,
        };
        for attribute in unique(attributes) {
            let value = value(attribute.value.as_ref(), limits);
            match attribute.key.as_str() {
                "service.name" => {
                    labels.first.insert(0, ("service.name".to_owned(), value.clone()));
                    labels.first.insert(1, ("/component".to_owned(), value));
                }
                "process.pid" => labels.last.push(("/pid".to_owned(), value)),
                // The name of each span has it.
                project::ATTRIBUTE => {}
                key if is_key(key, limits) => {
                    labels.has_agent |= key == AGENT_LABEL;
                    labels.last.push((key.to_owned(), value));
                }
                _ => labels.dropped += 1,
            }
        }
        labels
    }
}

/// Returns the labels of the monitored resource, `g.co/r/{type}/{label}`, as written by Google's exporters
/// (<https://cloud.google.com/monitoring/api/resources>).
fn monitored(attributes: &[KeyValue], project: &ProjectId, limits: &Limits) -> Vec<(String, Value)> {
    let find = |key: &str| {
        let attribute = attributes.iter().rfind(|attribute| attribute.key == key)?;
        match attribute.value.as_ref()?.value.as_ref()? {
            Any::StringValue(text) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        }
    };
    let location = find("cloud.availability_zone").or_else(|| find("cloud.region"));
    let (kind, labels): (&str, &[(&str, Option<&str>)]) = if find("k8s.pod.name").is_some() {
        (
            "k8s_container",
            &[
                ("location", location),
                ("cluster_name", find("k8s.cluster.name")),
                ("namespace_name", find("k8s.namespace.name")),
                ("pod_name", find("k8s.pod.name")),
                ("container_name", find("k8s.container.name")),
            ],
        )
    } else if find("cloud.platform") == Some("gcp_cloud_run") {
        (
            "cloud_run_revision",
            &[
                ("location", location),
                ("service_name", find("faas.name")),
                ("revision_name", find("faas.version")),
            ],
        )
    } else if find("cloud.platform") == Some("gcp_compute_engine") {
        ("gce_instance", &[("zone", location), ("instance_id", find("host.id"))])
    } else {
        return Vec::new();
    };
    let account = ("project_id", Some(find("cloud.account.id").unwrap_or(project.as_str())));
    let labels = std::iter::once(&account).chain(labels);
    labels
        .filter_map(|(label, text)| {
            Some((format!("g.co/r/{kind}/{label}"), Value::Text(truncated((*text)?, limits.value))))
        })
        .collect()
}
