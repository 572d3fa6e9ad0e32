//! How values become YAML, and the notes after an installation.

use serde_json::{Value, json};

use super::release;
use super::releases;
use super::render::{chart, render};

/// Texts that YAML would read as something else arrive as texts.
#[test]
fn values_that_look_like_something_else_are_texts() {
    let url = "https://files.example/a b #c";
    let values = json!({
        "commonLabels": { "number": "0x10", "truth": "true" },
        "serviceAccount": { "name": "0x10" },
        "priorityClassName": "true",
        "filter": {
            "namespace": "007",
            "module": { "source": "url", "url": url, "sha256": "1".repeat(64) },
        },
        "telemetry": { "providers": { "line": "1e3", "fallbackHttp": "a: b", "fallbackTcp": "null" } },
    });
    let release = release(&values);
    for object in &release.objects {
        let labels = &object["metadata"]["labels"];
        assert_eq!((&labels["number"], &labels["truth"]), (&json!("0x10"), &json!("true")), "{object}");
    }
    let plugin = &release.of(&["WasmPlugin"])[0];
    assert_eq!(plugin["metadata"]["namespace"], "007");
    assert_eq!(plugin["spec"]["url"], url);
    let logging = &release.of(&["Telemetry"])[0]["spec"]["accessLogging"];
    let names: Vec<&Value> =
        logging.as_array().unwrap().iter().map(|it| &it["providers"][0]["name"]).collect();
    assert_eq!(names, ["1e3", "a: b", "null"]);
    let pod = &release.of(&["StatefulSet"])[0]["spec"]["template"]["spec"];
    assert_eq!((&pod["serviceAccountName"], &pod["priorityClassName"]), (&json!("0x10"), &json!("true")));
}

/// `null` removes a value, as `--set KEY=null` does.
#[test]
fn values_can_be_removed() {
    for values in [
        json!({ "podLabels": null, "commonLabels": null, "service": { "annotations": null } }),
        json!({ "exporter": { "sinks": null }, "extraArgs": null, "extraEnv": null, "extraVolumes": null }),
        json!({ "filter": { "config": null, "matchLabels": null }, "telemetry": { "namespaces": null } }),
        json!({ "edge": { "enabled": true, "gateways": null }, "tls": { "ca": null } }),
        json!({ "monitoring": { "filterNamespaces": null, "prometheusRule": { "enabled": true } } }),
    ] {
        assert!(!release(&values).objects.is_empty(), "{values}");
    }
}

/// A label that the chart also has is written once: YAML with a duplicate key is an error.
#[test]
fn keys_of_values_and_of_the_chart_are_merged() {
    let values = json!({
        "commonLabels": { "team": "a" },
        "podLabels": { "team": "b", "sidecar.istio.io/inject": "true" },
        "exporter": { "sinks": ["cloud-trace"], "shards": 2 },
        "service": { "annotations": { "networking.istio.io/exportTo": "shop" } },
        "monitoring": { "dashboard": { "enabled": true, "labels": { "team": "c" } } },
    });
    let release = release(&values);
    let labels = &release.of(&["StatefulSet"])[0]["spec"]["template"]["metadata"]["labels"];
    assert_eq!((&labels["team"], &labels["sidecar.istio.io/inject"]), (&json!("b"), &json!("true")));
    assert_eq!(release.of(&["ConfigMap"])[0]["metadata"]["labels"]["team"], "c");
    for service in release.of(&["Service"]) {
        assert_eq!(service["metadata"]["annotations"], json!({ "networking.istio.io/exportTo": "shop" }));
    }
}

/// What has to be done by hand is in the notes.
#[test]
fn the_notes_say_what_to_do_next() {
    let cases = [
        (json!({}), "WARNING: image.repository is the example"),
        (json!({}), "WARNING: filter.module.repository is the example"),
        (json!({}), "kubectl label namespace logtracer istio-injection=disabled"),
        (json!({}), "port-forward svc/logtracer-exporter 4380"),
        (
            json!({ "monitoring": { "podMonitor": { "enabled": true } } }),
            "WARNING: monitoring.podMonitor.enabled is true and networkPolicy.metricsFrom is empty",
        ),
        (
            json!({ "monitoring": { "podMonitoring": { "enabled": true } } }),
            "WARNING: monitoring.podMonitoring.enabled is true and networkPolicy.google is false",
        ),
        (
            json!({ "monitoring": { "clusterRules": { "enabled": true } } }),
            "WARNING: monitoring.clusterRules.enabled is true and monitoring.clusterPodMonitoring.enabled is false",
        ),
        (
            json!({ "monitoring": { "prometheusRule": { "enabled": true } } }),
            "The alerts about the filter need the metrics of the proxies",
        ),
        (
            json!({ "extraEnv": [{ "name": "HTTPS_PROXY", "value": "http://proxy:3128" }] }),
            "WARNING: extraEnv has HTTPS_PROXY and networkPolicy.egress is empty",
        ),
        (json!({ "edge": { "enabled": true } }), "istio-system/edge: {\"istio\":\"ingressgateway\"}"),
    ];
    for (values, wanted) in cases {
        let notes = release(&values).notes;
        assert!(notes.contains(wanted), "{values}: {notes}");
    }
    let file = json!({ "namespaces": ["a"], "path": "/modules/filter.wasm" });
    let notes = release(&json!({ "filter": { "mode": "file", "file": file } })).notes;
    assert!(notes.contains("--from-file=filter.wasm=build/plugin.wasm"), "{notes}");
    assert!(notes.contains("\"mountPath\":\"/modules\""), "{notes}");
    for (name, release) in releases() {
        let wanted: &[&str] = match name.as_str() {
            "native" => &["  default/shop\n", "ENVOY_DYNAMIC_MODULES_SEARCH_PATH"],
            "file" => &["namespaces shop, orders", "\"mountPath\":\"/etc/logtracer\""],
            "from-exporter" => &["wait for the exporter before you change the filter"],
            "gke" => &["meshConfig:"],
            _ => &[],
        };
        for wanted in wanted {
            assert!(release.notes.contains(wanted), "{name}: {}", release.notes);
        }
    }
    let text = std::fs::read_to_string(chart().join("examples/gke.yaml")).unwrap();
    assert!(!render(&[text]).remove(0).unwrap().notes.contains("WARNING: "));
}
