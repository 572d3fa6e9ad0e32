//! The chart in `charts/`: Helm renders it, Kubernetes, Istio, Envoy and the programs accept the result, and it is the
//! same as the manifests in `istio/`.

mod bad_values;
mod configurations;
mod equality;
mod exporter;
mod monitoring;
mod readme;
pub(crate) mod render;
mod telemetry;
mod values;

use render::{chart, examples, package, release, render, render_chart};
use serde_json::{Value, json};

use crate::manifests::WITHOUT_SCHEMA;
use crate::manifests::schemas::problems;

/// Every object has the schema of its kind: with the default values and with each example.
#[test]
fn every_object_matches_its_schema() {
    let (mut kinds, mut names, mut objects) = (Vec::new(), Vec::new(), Vec::new());
    for (name, release) in releases() {
        for object in release.objects {
            let kind = object["kind"].as_str().unwrap().to_owned();
            if !WITHOUT_SCHEMA.contains(&kind.as_str()) {
                names.push(format!("{name}: {kind}"));
                objects.push(object);
            }
            kinds.push(kind);
        }
    }
    for (name, problem) in names.iter().zip(problems(&objects)) {
        assert_eq!(problem, None, "{name}");
    }
    kinds.sort();
    kinds.dedup();
    let all = [
        "ClusterPodMonitoring",
        "ClusterRules",
        "ConfigMap",
        "DestinationRule",
        "EnvoyFilter",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PodMonitor",
        "PodMonitoring",
        "PrometheusRule",
        "Service",
        "ServiceAccount",
        "StatefulSet",
        "Telemetry",
        "WasmPlugin",
    ];
    assert_eq!(kinds, all);
}

/// The default values and the examples, by name.
fn releases() -> Vec<(String, render::Release)> {
    let mut all = examples();
    all.push(("default".to_owned(), String::new()));
    let (names, texts): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    names
        .into_iter()
        .zip(render(&texts))
        .map(|(name, result)| {
            let release = result.unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, release)
        })
        .collect()
}

/// Objects of two releases do not have the same names, and labels say which release an object belongs to.
#[test]
fn objects_belong_to_their_release() {
    for (name, release) in releases() {
        let mut ids: Vec<String> = release
            .objects
            .iter()
            .map(|it| format!("{} {}/{}", it["kind"], it["metadata"]["namespace"], it["metadata"]["name"]))
            .collect();
        for (object, id) in release.objects.iter().zip(&ids) {
            let metadata = &object["metadata"];
            assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "logtracer", "{name}: {id}");
            assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "Helm", "{name}: {id}");
            let is_of_cluster =
                ["ClusterPodMonitoring", "ClusterRules"].map(Value::from).contains(&object["kind"]);
            assert_eq!(metadata["namespace"].is_null(), is_of_cluster, "{name}: {id}");
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), release.objects.len(), "{name}: {ids:?}");
    }
}

#[test]
fn names_can_be_replaced() {
    let name = |values: Value| release(&values).of(&["Service"])[0]["metadata"]["name"].clone();
    // The release is called `logtracer`.
    assert_eq!(name(json!({})), "logtracer-exporter");
    assert_eq!(name(json!({ "nameOverride": "traces" })), "logtracer-traces-exporter");
    assert_eq!(name(json!({ "fullnameOverride": "traces" })), "traces-exporter");
    // With the hash of a revision, the name of a StatefulSet must fit into a label.
    let long = name(json!({ "fullnameOverride": "a".repeat(63) }));
    assert_eq!(long.as_str().unwrap().len(), 52);

    // Everything that refers to the exporter follows.
    let release = release(&json!({ "fullnameOverride": "traces", "edge": { "enabled": true } }));
    let cluster = "outbound|4318||traces-exporter.logtracer.svc.cluster.local";
    for plugin in release.of(&["WasmPlugin"]) {
        assert_eq!(plugin["spec"]["pluginConfig"]["exporter"]["cluster"], cluster);
    }
    let stateful_set = &release.of(&["StatefulSet"])[0];
    let app = json!({ "app": "traces-exporter" });
    assert_eq!(stateful_set["spec"]["selector"]["matchLabels"], app);
    assert_eq!(release.of(&["Service"])[0]["spec"]["selector"], app);
    assert_eq!(release.of(&["NetworkPolicy"])[0]["spec"]["podSelector"]["matchLabels"], app);
    assert_eq!(release.of(&["PodDisruptionBudget"])[0]["spec"]["selector"]["matchLabels"], app);
}

/// `helm package` keeps every file that the templates read.
#[test]
fn the_package_renders_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let archive = package(dir.path());
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(archive.file_name().unwrap().to_str().unwrap(), format!("logtracer-{version}.tgz"));
    let texts: Vec<String> = examples().into_iter().map(|(_, text)| text).collect();
    for (packed, unpacked) in render_chart(&archive, &texts).into_iter().zip(render(&texts)) {
        assert_eq!(packed.unwrap().objects, unpacked.unwrap().objects);
    }
}

#[test]
fn the_version_is_that_of_the_workspace() {
    let metadata = &crate::manifests::documents::read(&chart().join("Chart.yaml"))[0];
    assert_eq!(metadata["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(metadata["appVersion"], env!("CARGO_PKG_VERSION"));
}
