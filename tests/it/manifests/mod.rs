//! The manifests in `istio/`: Kubernetes, Istio, Envoy and the exporter accept every field, and they match each other.

pub(crate) mod access_log;
pub(crate) mod documents;
pub(crate) mod exporter;
mod kustomize;
mod native;
pub(crate) mod proxy;
pub(crate) mod schemas;

use documents::{build, files, folder, parse, read};
use schemas::problems;
use serde_json::{Value, json};

/// Kinds without a schema in any package. `proxy.rs` and `native.rs` load their contents into Envoy, or `exporter.rs` compares them with
/// the objects that they refer to.
pub(crate) const WITHOUT_SCHEMA: [&str; 7] = [
    "IstioOperator",
    "EnvoyExtensionPolicy",
    "EnvoyPatchPolicy",
    "EnvoyProxy",
    "PodMonitoring",
    "ClusterPodMonitoring", // monitoring/proxies.rs compares its names of metrics with the rules
    "ClusterRules",         // monitoring/rules.rs compares its groups with a rule file that promtool accepts
];

#[test]
fn every_manifest_matches_its_schema() {
    let mut documents: Vec<Value> = files(&folder())
        .iter()
        .filter(|file| !file.ends_with("kustomization.yaml"))
        .flat_map(|file| read(file))
        .collect();
    for overlay in ["plain", "gke", "gke-shards"] {
        documents.extend(build(&folder().join("exporter").join(overlay)).unwrap());
    }
    documents.extend(build(&folder().join("monitoring")).unwrap());
    documents.retain(|it| !WITHOUT_SCHEMA.iter().any(|kind| it["kind"] == *kind));

    for (document, problem) in documents.iter().zip(problems(&documents)) {
        assert_eq!(problem, None, "{}", document["kind"]);
    }
    for kind in [
        "WasmPlugin",
        "TrafficExtension",
        "Telemetry",
        "EnvoyFilter",
        "Sidecar",
        "DestinationRule",
        "StatefulSet",
        "NetworkPolicy",
        "PrometheusRule",
        "PodMonitor",
        "ConfigMap",
    ] {
        assert!(documents.iter().any(|it| it["kind"] == kind), "no {kind} was read");
    }
}

/// `kubectl apply -k istio/` applies the files of the folder itself: the filter and its line, and no variant or example.
#[test]
fn the_folder_can_be_applied_as_it_is() {
    let kinds: Vec<Value> = build(&folder()).unwrap().iter().map(|it| it["kind"].clone()).collect();
    assert_eq!(kinds, ["Telemetry", "WasmPlugin"]);
    let own: Vec<_> = files(&folder()).into_iter().filter(|file| file.parent() == Some(&folder())).collect();
    let names: Vec<_> = own.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["kustomization.yaml", "telemetry.yaml", "wasmplugin.yaml"]);
}

/// Checks that the schemas are not permissive.
#[test]
fn a_misspelt_field_is_found() {
    let cases = [
        ("wasmplugin.yaml", "/spec/phase", json!("AUTH"), "phase"),
        ("wasmplugin.yaml", "/spec/failStrateggy", json!("FAIL_OPEN"), "failStrateggy"),
        ("wasmplugin.yaml", "/spec/match/0/mdoe", json!("CLIENT"), "mdoe"),
        ("variants/trafficextension.yaml", "/spec/failStrategy", json!("FAIL_OPEN"), "failStrategy"),
        ("variants/trafficextension.yaml", "/spec/wasm/match", json!([]), "match"),
        ("telemetry.yaml", "/spec/accessLogging/0/filter/expresion", json!(""), "expresion"),
        ("variants/sidecar.yaml", "/spec/egress/0/hosts", json!("./*"), "hosts"),
        ("variants/envoyfilter.yaml", "/spec/configPatches/0/applyTo", json!("HTTP_FILTERS"), "applyTo"),
        ("variants/envoyfilter.yaml", "/kind", json!("EnvoyFilters"), "EnvoyFilters"),
        ("monitoring/prometheusrule.yaml", "/spec/groups/0/rules/0/alerts", json!("a"), "alerts"),
        ("monitoring/podmonitor.yaml", "/spec/podMetricsEndpoints/0/intervall", json!("1s"), "intervall"),
        ("exporter/base/service.yaml", "/spec/ports/0/targetport", json!(1), "targetport"),
        ("exporter/base/statefulset.yaml", "/spec/template/spec/container", json!([]), "container"),
        ("exporter/base/statefulset.yaml", "/apiVersion", json!("apps/v2"), "apps/v2"),
        ("exporter/autoscaling/horizontalpodautoscaler.yaml", "/spec/minReplicas", json!("2"), "minReplicas"),
    ];
    let documents: Vec<Value> = cases.iter().map(|(file, at, value, _)| changed(file, at, value)).collect();
    for ((file, at, _, word), problem) in cases.iter().zip(problems(&documents)) {
        let problem = problem.unwrap_or_else(|| panic!("{file}: nothing is wrong with {at}"));
        assert!(problem.contains(word), "{file}: {problem}");
    }
}

/// Returns the document of a file with a changed value.
fn changed(file: &str, at: &str, value: &Value) -> Value {
    let mut document = read(&folder().join(file)).remove(0);
    let patch: json_patch::Patch =
        serde_json::from_value(json!([{ "op": "add", "path": at, "value": value }])).unwrap();
    json_patch::patch(&mut document, &patch).unwrap();
    document
}

#[test]
fn an_unsupported_kustomization_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let check = |kustomization: &str, word: &str| {
        std::fs::write(dir.path().join("kustomization.yaml"), kustomization).unwrap();
        let error = build(dir.path()).unwrap_err();
        assert!(error.contains(word), "{error}");
    };
    std::fs::write(dir.path().join("account.yaml"), "kind: ServiceAccount\nmetadata: { name: a }\n").unwrap();
    let account = "resources: [account.yaml]\n";
    let patch = |kind: &str, operation: &str| {
        format!("{account}patches:\n- target: {{ kind: {kind}, name: a }}\n  patch: '[{operation}]'\n")
    };

    check("resources: [missing.yaml]\n", "missing.yaml");
    check("namePrefix: b\n", "namePrefix");
    check("resources: {\n", "kustomization.yaml");
    check(&patch("Service", "{ op: remove, path: /kind }"), "no \"Service\"");
    check(&patch("ServiceAccount", "{ op: replace, path: /metadata/nam, value: b }"), "ServiceAccount");
    std::fs::write(dir.path().join("kustomization.yaml"), account).unwrap();
    assert_eq!(build(dir.path()).unwrap(), parse("kind: ServiceAccount\nmetadata: { name: a }\n").unwrap());
}
