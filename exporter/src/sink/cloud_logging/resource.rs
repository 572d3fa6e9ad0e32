//! The monitored resource of a record, by where its service runs
//! (<https://cloud.google.com/logging/docs/api/v2/resource-list>).

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

use super::super::google::project::ProjectId;
use super::model::MonitoredResource;
use super::truncator::Truncator;

/// Longer values are truncated.
const MAX_LABEL_BYTES: usize = 512;

/// Returns a text attribute that is not empty. Of equal keys, the last counts.
pub(super) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().rfind(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// Returns the resource for these attributes, as Google's exporters map them. A label of which the value is unknown is
/// empty.
pub(super) fn monitored(
    attributes: &[KeyValue],
    project: &ProjectId,
    truncator: &mut Truncator,
) -> MonitoredResource {
    let find = |key: &str| text(attributes, key);
    let zone = find("cloud.availability_zone");
    let location = zone.or_else(|| find("cloud.region"));
    let cluster = [("location", location), ("cluster_name", find("k8s.cluster.name"))];
    let pod = [("namespace_name", find("k8s.namespace.name")), ("pod_name", find("k8s.pod.name"))];
    let generic = [
        ("location", location.or(Some("global"))),
        ("namespace", find("service.namespace").or_else(|| find("k8s.namespace.name"))),
    ];
    let host = find("host.id").or_else(|| find("host.name"));
    let is_on = |platform| find("cloud.platform") == Some(platform);
    let (kind, labels): (_, Vec<(&'static str, Option<&str>)>) =
        if let (Some(_), Some(container)) = (find("k8s.pod.name"), find("k8s.container.name")) {
            ("k8s_container", [&cluster[..], &pod, &[("container_name", Some(container))]].concat())
        } else if find("k8s.pod.name").is_some() {
            ("k8s_pod", [&cluster[..], &pod].concat())
        } else if let Some(node) = find("k8s.node.name") {
            ("k8s_node", [&cluster[..], &[("node_name", Some(node))]].concat())
        } else if is_on("gcp_cloud_run") {
            let service = find("faas.name").or_else(|| find("service.name"));
            let names = [
                ("location", find("cloud.region").or(zone)),
                ("service_name", service),
                ("configuration_name", service),
                ("revision_name", find("faas.version")),
            ];
            ("cloud_run_revision", names.to_vec())
        } else if is_on("gcp_compute_engine") {
            ("gce_instance", vec![("zone", location), ("instance_id", find("host.id"))])
        } else if let (Some(job), Some(task)) = (find("service.name"), find("service.instance.id")) {
            ("generic_task", [&generic[..], &[("job", Some(job)), ("task_id", Some(task))]].concat())
        } else if host.is_some() {
            ("generic_node", [&generic[..], &[("node_id", host)]].concat())
        } else if let Some(job) = find("service.name") {
            ("generic_task", [&generic[..], &[("job", Some(job)), ("task_id", None)]].concat())
        } else {
            ("global", Vec::new())
        };
    let is_google = kind != "global" && find("cloud.provider").is_none_or(|provider| provider == "gcp");
    let project = find("cloud.account.id").filter(|_| is_google).unwrap_or(project.as_str());
    let labels = labels.into_iter().chain([("project_id", Some(project))]);
    let shown = |(label, value): (&'static str, Option<&str>)| {
        (label, truncator.truncate(value.unwrap_or_default(), MAX_LABEL_BYTES).to_owned())
    };
    MonitoredResource { kind, labels: labels.map(shown).collect::<BTreeMap<_, _>>() }
}
