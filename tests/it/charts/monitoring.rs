//! Alerts, the dashboard, and the certificates of Prometheus.

use serde_json::{Value, json};

use super::release;
use super::render::chart;
use crate::manifests::documents::read;

/// What connects to an exporter with TLS has its CA, or a warning says what is missing.
#[test]
fn prometheus_has_the_ca() {
    let with = |ca: Value, monitoring: Value| {
        json!({ "destinationRule": { "enabled": true }, "monitoring": monitoring,
            "tls": { "secretName": "tls", "caCertificates": "/ca.crt", "ca": ca } })
    };
    let monitor = || json!({ "podMonitor": { "enabled": true } });
    for (ca, expected) in [
        (json!({ "secretName": "a" }), json!({ "secret": { "name": "a", "key": "ca.crt" } })),
        (
            json!({ "configMapName": "b", "key": "root.pem" }),
            json!({ "configMap": { "name": "b", "key": "root.pem" } }),
        ),
    ] {
        let release = release(&with(ca, monitor()));
        let endpoint = &release.of(&["PodMonitor"])[0]["spec"]["podMetricsEndpoints"][0];
        assert_eq!(endpoint["tlsConfig"]["ca"], expected);
        assert!(!release.notes.contains("WARNING: tls."), "{}", release.notes);
    }
    let managed = with(json!({ "secretName": "a" }), json!({ "podMonitoring": { "enabled": true } }));
    let endpoint = &release(&managed).of(&["PodMonitoring"])[0]["spec"]["endpoints"][0];
    assert_eq!(endpoint["tls"]["ca"], json!({ "secret": { "name": "a", "key": "ca.crt" } }));

    let notes = release(&with(json!({}), monitor())).notes;
    assert!(notes.contains("WARNING: tls.ca is empty"), "{notes}");
    let without = json!({ "destinationRule": { "enabled": true }, "tls": { "secretName": "tls" } });
    let notes = release(&without).notes;
    assert!(notes.contains("WARNING: tls.caCertificates is empty"), "{notes}");
}

/// The dashboard is JSON that Grafana's sidecar finds by its label, and the alerts are in the rule.
#[test]
fn monitoring_has_the_dashboard_and_the_alerts() {
    let values =
        json!({ "monitoring": { "dashboard": { "enabled": true }, "prometheusRule": { "enabled": true } } });
    let release = release(&values);
    let map = &release.of(&["ConfigMap"])[0];
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let shown: Value = serde_json::from_str(map["data"]["logtracer.json"].as_str().unwrap()).unwrap();
    let file = std::fs::read_to_string(chart().join("files/dashboard.json")).unwrap();
    assert_eq!(shown, serde_json::from_str::<Value>(&file).unwrap());
    let rule = &release.of(&["PrometheusRule"])[0];
    assert_eq!(rule["spec"], read(&chart().join("files/alerts.yaml"))[0]);
}

/// The alert about silent filters is for the namespaces that have the filter, and the rest of the rules is the same.
#[test]
fn alerts_are_for_the_namespaces_of_the_filter() {
    let service =
        |namespace: &str| json!({ "name": "shop", "namespace": namespace, "matchLabels": { "app": "shop" } });
    let chosen = |values: Value, namespaces: Value| {
        let mut values = values;
        values["monitoring"]["filterNamespaces"] = namespaces;
        values
    };
    let team = || json!({ "filter": { "namespace": "team" } });
    let file = json!({ "filter": { "mode": "file", "file": { "namespaces": ["a", "b"] } } });
    let native =
        json!({ "filter": { "mode": "native", "native": { "services": [service("a"), service("b")] } } });
    for (mut values, expected) in [
        (json!({}), None),
        (chosen(json!({ "filter": { "enabled": false } }), json!(["a"])), Some("a")),
        (chosen(json!({}), json!(["a", "b"])), Some("a|b")),
        (team(), Some("team")),
        (chosen(team(), json!(["team", "other"])), Some("team|other")),
        (file, Some("a|b")),
        (native, Some("a|b")),
    ] {
        values["monitoring"]["prometheusRule"] = json!({ "enabled": true });
        let mut groups = release(&values).of(&["PrometheusRule"])[0]["spec"].clone();
        let rule = groups["groups"][0]["rules"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .find(|it| it["alert"] == "LogtracerFilterIsSilent")
            .unwrap();
        if let Some(namespaces) = expected {
            let selector = format!("{{namespace=~\"{namespaces}\"}}");
            let text = rule["expr"].as_str().unwrap();
            assert!(text.contains(&selector), "{values}: {text}");
            rule["expr"] = json!(text.replace(&selector, ""));
        }
        assert_eq!(groups, read(&chart().join("files/alerts.yaml"))[0], "{values}");
    }
}

#[test]
fn the_rules_are_about_what_the_release_has() {
    for (part, groups) in
        [("filter", json!(["logtracer-exporter"])), ("exporter", json!(["logtracer-filter"]))]
    {
        let enabled = json!({ "prometheusRule": { "enabled": true } });
        let values = json!({ part: { "enabled": false }, "monitoring": enabled });
        let spec = &release(&values).of(&["PrometheusRule"])[0]["spec"];
        let names: Value =
            spec["groups"].as_array().unwrap().iter().map(|group| group["name"].clone()).collect();
        assert_eq!(names, groups, "without the {part}");
    }
}
