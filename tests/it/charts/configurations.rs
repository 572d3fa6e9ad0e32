//! The configurations of the filter that the chart writes.

use std::io::Write;
use std::process::{Command, Stdio};

use logtracer_harness::envoy::root;
use logtracer_harness::process::sibling;
use serde_json::{Value, json};

use super::release;
use super::releases;
use super::render::{chart, render};
use crate::manifests::documents::{list, parse};
use crate::manifests::proxy::{error_of, hop, through_struct};

/// Returns the configurations of the filter in an object, and whether they are for the native module.
fn configurations(object: &Value) -> Vec<(Value, bool)> {
    let parsed = |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap();
    match object["kind"].as_str() {
        Some("WasmPlugin") => vec![(through_struct(&object["spec"]["pluginConfig"]), false)],
        Some("EnvoyFilter") => list(&object["spec"], "configPatches")
            .iter()
            .filter(|patch| patch["applyTo"] == "HTTP_FILTER")
            .map(|patch| {
                let filter = &patch["patch"]["value"]["typed_config"];
                let native = &filter["filter_config"]["value"];
                if native.is_string() {
                    (parsed(native), true)
                } else {
                    (parsed(&filter["config"]["configuration"]["value"]), false)
                }
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The filter accepts every configuration, with the default values and with each example.
#[test]
fn the_filter_accepts_every_configuration() {
    let (mut wasm, mut natives) = (0, 0);
    for (name, release) in releases() {
        for (config, is_native) in release.objects.iter().flat_map(configurations) {
            let error = error_of_filter(&config, is_native.then_some("--native"));
            assert_eq!(error, None, "{name}: {config}");
            if is_native { natives += 1 } else { wasm += 1 }
        }
    }
    assert!(wasm > 8 && natives == 3, "{wasm} {natives}");
}

/// Returns the error of the filter for a configuration, if it rejects it.
fn error_of_filter(config: &Value, option: Option<&str>) -> Option<String> {
    let mut command = Command::new(sibling("logtracer-check-config").unwrap());
    command.args(option).arg("-");
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The schema rejects what the filter rejects, and nothing else.
#[test]
fn the_schema_and_the_filter_agree() {
    let exporter = |key: &str, value: Value| {
        let mut section = json!({ "cluster": "c" });
        section[key] = value;
        json!({ "exporter": section })
    };
    let sampling = |key: &str, value: Value| json!({ "sampling": { key: value } });
    let rule = |rule: Value| json!({ "sampling": { "rules": [rule] } });
    let accepted = [
        json!({ "project_id": "example.com:shop", "service_name": "a b", "log_format": "off", "span_kind": null }),
        json!({ "propagation": { "extract": [], "inject": ["b3"], "strip_hosts": ["*.a.b", "::1", "A_b"] } }),
        sampling("rate", json!(0)),
        sampling("max_per_second", json!(0.5)),
        sampling("keep_slower_than", json!("1.5s")),
        rule(json!({ "path_contains": "a", "method": "GET", "header": "x-debug: 1", "log": 0.5 })),
        json!({ "exclude": { "paths": ["/"], "path_contains": ["b"], "user_agents": [], "log": true } }),
        json!({ "request_headers": ["X-Tenant"], "response_header": ["x-trace-id", "server-timing"] }),
        exporter("cluster", json!(["a", "b"])),
        exporter("authority", json!("[::1]:4318")),
        exporter("timeout", json!(" 500 ms ")),
        exporter("max_batch_spans", json!(10_000)),
        exporter("max_buffer_bytes", json!(4096)),
        exporter("max_buffer_bytes", json!("1.5 MiB")),
        exporter("headers", json!({ "x-a": "" })),
        json!({ "overrides": [{ "label": "team=", "exporter": null, "sampling": { "rate": null } }] }),
    ];
    let rejected = [
        json!({ "project_id": "a/b" }),
        json!({ "service_name": "" }),
        json!({ "log_format": "json" }),
        json!({ "span_kind": "producer" }),
        json!({ "query": true }),
        json!({ "propagation": { "extract": "b3" } }),
        json!({ "propagation": { "strip_hosts": ["a.b:80"] } }),
        json!({ "edge": "deny" }),
        json!({ "edge": true }),
        sampling("rate", json!("1")),
        sampling("rate", json!(1.1)),
        sampling("max_per_second", json!(0)),
        sampling("keep_slower_than", json!("1d")),
        sampling("keep_errors", json!("true")),
        rule(json!({ "method": "get", "rate": 1 })),
        rule(json!({ "path": "a", "rate": 1 })),
        rule(json!({ "header": "a b", "rate": 1 })),
        rule(json!({ "host": "a" })),
        rule(json!({ "rate": 1 })),
        json!({ "exclude": { "path_contains": ["a?"] } }),
        json!({ "exclude": { "user_agents": [""] } }),
        json!({ "request_headers": ["authorization"] }),
        json!({ "response_header": "a b" }),
        exporter("cluster", json!("")),
        exporter("cluster", json!(["a", "a"])),
        exporter("cluster", json!(vec!["a"; 17])),
        exporter("authority", json!("http://a")),
        exporter("path", json!("v1")),
        exporter("flush_interval", json!(1)),
        exporter("max_batch_spans", json!(0)),
        exporter("max_batch_spans", json!(1.5)),
        exporter("max_buffer_bytes", json!(4095)),
        exporter("max_buffer_bytes", json!("1GiB")),
        exporter("headers", json!({ "a b": "" })),
        exporter("headers", json!({ "x-a": "\n" })),
        json!({ "overrides": [{ "query": "drop" }] }),
        json!({ "overrides": [{ "label": "a b" }] }),
        json!({ "overrides": [{ "service": "a", "overrides": [] }] }),
    ];
    let configs: Vec<&Value> = accepted.iter().chain(&rejected).collect();
    let values = |config: &&Value| json!({ "filter": { "config": config } }).to_string();
    let texts: Vec<String> = configs.iter().map(values).collect();
    for (index, (config, result)) in configs.into_iter().zip(render(&texts)).enumerate() {
        let is_accepted = index < accepted.len();
        let error = error_of_filter(config, None);
        assert_eq!(error.is_none(), is_accepted, "{config}: {error:?}");
        assert_eq!(result.is_ok(), is_accepted, "{config}: {:?}", result.err());
        if let Some(error) = result.err() {
            assert!(error.contains("/filter/config/"), "{config}: {error}");
        }
    }
}

/// Envoy, with the module, accepts what Istio sends it.
#[test]
fn envoy_accepts_the_configurations_at_the_edge() {
    let release = release(&json!({ "edge": { "enabled": true } }));
    let configs: Vec<Value> =
        release.objects.iter().flat_map(configurations).map(|(config, _)| config).collect();
    assert_eq!(configs.len(), 2);
    assert_eq!((&configs[0]["edge"], &configs[1]["edge"]), (&Value::Null, &json!("link")));
    for config in configs {
        assert_eq!(error_of(&hop(Some(config))), None);
    }
}

/// Every key of the filter passes, and those of a gateway and of a service take precedence.
#[test]
fn the_configuration_is_passed_through() {
    let all = json!({
        "project_id": "my-project",
        "sampling": { "rate": 0.25, "max_per_second": 1_000_000, "rules": [{ "path": "/", "rate": 1 }] },
        "exporter": { "max_buffer_bytes": 2_097_152, "headers": { "x-tenant": "shop" } },
        "query": "drop",
    });
    let gateway = json!({ "name": "edge", "matchLabels": { "istio": "ingress" }, "edge": "resample",
        "config": { "query": "redact", "sampling": { "rate": 0.5 } } });
    let values = json!({ "filter": { "config": all }, "edge": { "enabled": true, "gateways": [gateway] } });
    let plugins = release(&values).of(&["WasmPlugin"]);
    let mut expected = all;
    expected["exporter"]["cluster"] = json!("outbound|4318||logtracer-exporter.logtracer.svc.cluster.local");
    assert_eq!(through_struct(&plugins[0]["spec"]["pluginConfig"]), expected);
    expected["edge"] = json!("resample");
    expected["query"] = json!("redact");
    expected["sampling"]["rate"] = json!(0.5);
    assert_eq!(through_struct(&plugins[1]["spec"]["pluginConfig"]), expected);
    assert_eq!(plugins[1]["spec"]["selector"]["matchLabels"], json!({ "istio": "ingress" }));

    // A cluster of one's own takes precedence; without the exporter there is none.
    let own = json!({ "exporter": { "enabled": false }, "filter": { "config": { "exporter": { "cluster": "c" } } } });
    assert_eq!(release(&own).of(&["WasmPlugin"])[0]["spec"]["pluginConfig"]["exporter"]["cluster"], "c");
    let none = release(&json!({ "exporter": { "enabled": false } }));
    assert_eq!(
        through_struct(&none.of(&["WasmPlugin"])[0]["spec"]["pluginConfig"]),
        json!({ "sampling": { "rate": 1 } })
    );
    assert!(none.of(&["StatefulSet", "Service", "NetworkPolicy", "ServiceAccount"]).is_empty());
}

/// A value of a gateway takes precedence also if it is false, zero or empty.
#[test]
fn nothing_is_a_value_of_a_gateway() {
    let general =
        json!({ "sampling": { "rate": 0.5, "keep_errors": true }, "exclude": { "user_agents": ["a"] } });
    let of_gateway = json!({ "sampling": { "rate": 0, "keep_errors": false }, "exclude": { "user_agents": [] },
        "edge": "resample" });
    let gateway = json!({ "name": "edge", "matchLabels": { "istio": "ingress" }, "config": of_gateway });
    let values =
        json!({ "filter": { "config": general }, "edge": { "enabled": true, "gateways": [gateway] } });
    let config = through_struct(&release(&values).of(&["WasmPlugin"])[1]["spec"]["pluginConfig"]);
    for key in ["sampling", "exclude", "edge"] {
        assert_eq!(config[key], of_gateway[key], "{key}");
    }
}

/// The example is the plugin of the page.
#[test]
fn the_gateway_behind_a_google_load_balancer_is_that_of_the_page() {
    let page = std::fs::read_to_string(root().join("docs/google-load-balancer.md")).unwrap();
    let plugin = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let expected = parse(plugin).unwrap().remove(0);
    let text = std::fs::read_to_string(chart().join("examples/google-load-balancer.yaml")).unwrap();
    let plugins = render(&[text]).remove(0).unwrap().of(&["WasmPlugin"]);
    assert_eq!(plugins[1]["metadata"]["name"], expected["metadata"]["name"]);
    assert_eq!(through_struct(&plugins[1]["spec"]), through_struct(&expected["spec"]));
}

/// Without the filter, a gateway has none, either: the first step of an installation with the module from the exporter.
#[test]
fn gateways_wait_for_the_filter() {
    let release = release(&json!({ "edge": { "enabled": true }, "filter": { "enabled": false } }));
    assert!(release.of(&["WasmPlugin", "Telemetry"]).is_empty());
    assert!(!release.notes.contains("gateways"), "{}", release.notes);
}

/// A list of clusters takes precedence over that of the shards, also a list of one.
#[test]
fn clusters_in_a_list_replace_those_of_the_shards() {
    for clusters in [json!(["c"]), json!(["c", "d"])] {
        let values = json!({
            "exporter": { "sinks": ["cloud-trace"], "shards": 2 },
            "filter": { "config": { "exporter": { "cluster": clusters }, "overrides": [{ "service": "a" }] } },
        });
        let plugin = &release(&values).of(&["WasmPlugin"])[0];
        assert_eq!(plugin["spec"]["pluginConfig"]["exporter"]["cluster"], clusters);
    }
}
