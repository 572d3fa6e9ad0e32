//! The chart and the manifests in `istio/` are the same where they mean the same.

use serde_json::{Value, json};

use super::render::release;
use crate::manifests::documents::{build, folder, parse, read};
use crate::manifests::proxy::through_struct;

/// What one side of a comparison is: files of `istio/`, or a kustomization.
enum Manifests {
    File(&'static str),
    Kustomization(&'static str),
}
use Manifests::{File, Kustomization};

const OF_EXPORTER: [&str; 7] = [
    "ServiceAccount",
    "Service",
    "StatefulSet",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "HorizontalPodAutoscaler",
    "PodMonitoring",
];
const OF_FILTER: [&str; 3] = ["WasmPlugin", "EnvoyFilter", "Telemetry"];

/// Values, the kinds to compare, and the manifests that are the same.
fn cases() -> Vec<(Value, &'static [&'static str], Manifests)> {
    let from_exporter = json!({ "filter": { "module": { "source": "exporter", "sha256": "0".repeat(64) } } });
    let gke = json!({
        "exporter": { "sinks": ["cloud-trace"] },
        "autoscaling": { "enabled": true },
        "networkPolicy": { "google": true },
        "monitoring": { "podMonitoring": { "enabled": true } },
    });
    let shards = json!({
        "exporter": { "sinks": ["cloud-trace"], "shards": 2 },
        "extraArgs": ["--keep=error,slower-than=2s,rate=0.05"],
        "networkPolicy": { "google": true },
        "monitoring": { "podMonitoring": { "enabled": true } },
    });
    let native = json!({ "filter": { "mode": "native", "native": { "services": [
        { "name": "shop", "namespace": "default", "matchLabels": { "app": "shop" } },
    ] } } });
    let file = json!({ "filter": { "mode": "file", "file": { "namespaces": ["default"] } } });
    vec![
        (json!({}), &OF_EXPORTER, Kustomization("exporter/plain")),
        (gke, &OF_EXPORTER, Kustomization("exporter/gke")),
        (shards, &OF_EXPORTER, Kustomization("exporter/gke-shards")),
        (json!({}), &OF_FILTER, Kustomization("")),
        (json!({}), &["WasmPlugin"], File("wasmplugin.yaml")),
        (json!({}), &["Telemetry"], File("telemetry.yaml")),
        (json!({ "edge": { "enabled": true } }), &["WasmPlugin"], File("variants/edge.yaml")),
        (
            json!({ "exporter": { "sinks": ["cloud-trace"], "shards": 2 } }),
            &["WasmPlugin"],
            File("variants/shards.yaml"),
        ),
        (from_exporter, &["WasmPlugin"], File("variants/wasmplugin-from-exporter.yaml")),
        (file, &["EnvoyFilter"], File("variants/envoyfilter.yaml")),
        (native, &OF_FILTER, File("variants/native.yaml")),
        (
            json!({ "destinationRule": { "enabled": true } }),
            &["DestinationRule"],
            File("variants/destinationrule.yaml"),
        ),
        (
            json!({ "destinationRule": { "enabled": true },
                "tls": { "secretName": "logtracer-tls", "caCertificates": "/etc/logtracer/ca/ca.crt" } }),
            &["DestinationRule"],
            File("variants/destinationrule-tls.yaml"),
        ),
        (
            json!({ "monitoring": { "prometheusRule": { "enabled": true } } }),
            &["PrometheusRule"],
            File("monitoring/prometheusrule.yaml"),
        ),
        (
            json!({ "monitoring": { "podMonitor": { "enabled": true } } }),
            &["PodMonitor"],
            File("monitoring/podmonitor.yaml"),
        ),
        (
            json!({ "monitoring": { "clusterRules": { "enabled": true } } }),
            &["ClusterRules"],
            File("monitoring/gke/clusterrules.yaml"),
        ),
        (
            json!({ "monitoring": { "clusterPodMonitoring": { "enabled": true } } }),
            &["ClusterPodMonitoring"],
            File("monitoring/gke/clusterpodmonitoring.yaml"),
        ),
    ]
}

#[test]
fn objects_are_those_of_the_manifests() {
    for (values, kinds, manifests) in cases() {
        let (name, mut expected) = match manifests {
            File(file) => (file, read(&folder().join(file))),
            Kustomization(path) => (path, build(&folder().join(path)).unwrap()),
        };
        // Helm installs into a namespace that exists. NOTES.txt prints its labels.
        expected.retain(|it| it["kind"] != "Namespace");
        assert!(!expected.is_empty(), "{name}");
        let mut objects = release(&values).of(kinds);
        for object in &mut objects {
            remove_labels_of_helm(object);
        }
        if name == "variants/native.yaml" {
            // A chart can have many services in a namespace, so each object has the service in its name.
            for object in &mut objects {
                assert_eq!(object["metadata"]["name"], "logtracer-native-shop");
                object["metadata"]["name"] = json!("logtracer-native");
            }
        }
        assert_eq!(comparable(&objects), comparable(&expected), "{name}");
    }
}

/// Each shard has the Service of the manifests, beside that of all replicas.
#[test]
fn shards_are_those_of_the_manifests() {
    let values = json!({
        "exporter": { "sinks": ["cloud-trace"], "shards": 2 },
        "destinationRule": { "enabled": true },
    });
    let release = release(&values);
    let mut expected = read(&folder().join("exporter/base/service.yaml"));
    expected.extend(read(&folder().join("exporter/shards/services.yaml")));
    let mut services = release.of(&["Service"]);
    services.iter_mut().for_each(remove_labels_of_helm);
    assert_eq!(comparable(&services), comparable(&expected));
    assert_eq!(release.of(&["StatefulSet"])[0]["spec"]["replicas"], 2);
    let rules = release.of(&["DestinationRule"]);
    let hosts: Vec<&str> = rules.iter().map(|rule| rule["spec"]["host"].as_str().unwrap()).collect();
    let host = |name: &str| format!("{name}.logtracer.svc.cluster.local");
    assert_eq!(hosts, ["logtracer-exporter", "logtracer-exporter-0", "logtracer-exporter-1"].map(host));
}

fn remove_labels_of_helm(object: &mut Value) {
    for at in ["/metadata", "/spec/template/metadata"] {
        let Some(metadata) = object.pointer_mut(at).and_then(Value::as_object_mut) else { continue };
        let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) else { continue };
        labels.retain(|name, _| !name.starts_with("helm.sh/") && !name.starts_with("app.kubernetes.io/"));
        if labels.is_empty() {
            metadata.remove("labels");
        }
    }
}

/// Sorts documents, and converts what can be written in more than one way.
fn comparable(documents: &[Value]) -> Vec<Value> {
    let mut documents: Vec<Value> =
        documents.iter().map(|it| through_struct(&with_parsed_configurations(it))).collect();
    documents.sort_by_key(|it| format!("{} {}", it["kind"], it["metadata"]["name"]));
    documents
}

/// Replaces the text of each JSON configuration by its value.
fn with_parsed_configurations(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(with_parsed_configurations).collect(),
        Value::Object(keys) => {
            let is_text =
                keys.get("@type").and_then(Value::as_str).is_some_and(|it| it.ends_with("StringValue"));
            let parsed = |key: &String, value: &Value| match value.as_str() {
                Some(text) if is_text && key == "value" => serde_json::from_str(text).unwrap(),
                _ => with_parsed_configurations(value),
            };
            Value::Object(keys.iter().map(|(key, value)| (key.clone(), parsed(key, value))).collect())
        }
        _ => value.clone(),
    }
}

/// The mesh configuration that `helm install` prints is that of istioctl.
#[test]
fn the_printed_mesh_configuration_is_that_of_the_manifests() {
    let expected = &read(&folder().join("install/mesh.yaml"))[0]["spec"]["meshConfig"];
    for values in [json!({}), json!({ "telemetry": { "enabled": false } })] {
        assert_eq!(printed(&release(&values).notes, "meshConfig")["meshConfig"], *expected, "{values}");
    }
}

/// Providers have the names of the mesh, and those without a name have no entry.
#[test]
fn providers_can_have_other_names() {
    let providers = json!({ "line": "a", "fallbackHttp": "b", "fallbackTcp": "" });
    let release = release(&json!({ "telemetry": { "providers": providers } }));
    let logging = &release.of(&["Telemetry"])[0]["spec"]["accessLogging"];
    let names = |of: &Value, at: &str| -> Vec<Value> {
        of.as_array().unwrap().iter().map(|it| it.pointer(at).unwrap().clone()).collect()
    };
    assert_eq!(names(logging, "/providers/0/name"), ["a", "b"]);
    let mesh = printed(&release.notes, "meshConfig");
    assert_eq!(names(&mesh["meshConfig"]["extensionProviders"], "/name"), ["a", "b"]);
}

/// Returns a block of YAML in the notes that starts with a key.
pub(super) fn printed(notes: &str, key: &str) -> Value {
    let start = notes.find(&format!("\n{key}:\n")).unwrap_or_else(|| panic!("no {key}: {notes}"));
    let end = notes[start..].find("\n\n").map_or(notes.len(), |end| start + end);
    parse(&notes[start..end]).unwrap().remove(0)
}

/// Without the chart's own Telemetry, the notes have the entries to add to another one.
#[test]
fn the_printed_telemetry_is_that_of_the_manifests() {
    let notes = release(&json!({ "telemetry": { "enabled": false } })).notes;
    assert_eq!(printed(&notes, "spec")["spec"], read(&folder().join("telemetry.yaml"))[0]["spec"]);
}
