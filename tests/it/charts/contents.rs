//! What the objects contain: configurations of the filter, options of the exporter, and its volumes and ports.

use std::io::Write;
use std::process::{Command, Stdio};

use logtracer_harness::envoy::root;
use logtracer_harness::process::sibling;
use serde_json::{Value, json};

use super::release;
use super::releases;
use super::render::{chart, render};
use crate::manifests::documents::{list, parse, read};
use crate::manifests::exporter::stderr_of;
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

/// The Service of a shard has what Istio reads, and nothing that can belong to one Service only.
#[test]
fn shards_have_only_the_annotations_of_istio() {
    let annotations = json!({
        "networking.istio.io/traffic-distribution": "PreferClose",
        "networking.gke.io/load-balancer-ip-addresses": "spans-ip",
        "external-dns.alpha.kubernetes.io/hostname": "spans.example",
    });
    let values = json!({
        "exporter": { "sinks": ["cloud-trace"], "shards": 2 },
        "service": { "annotations": annotations },
    });
    let services = release(&values).of(&["Service"]);
    assert_eq!(services.len(), 3);
    let export = ("networking.istio.io/exportTo", "*");
    for service in &services {
        let mut expected =
            json!({ export.0: export.1, "networking.istio.io/traffic-distribution": "PreferClose" });
        if service["metadata"]["name"] == "logtracer-exporter" {
            expected = annotations.clone();
            expected[export.0] = json!(export.1);
        }
        assert_eq!(service["metadata"]["annotations"], expected);
    }
}

#[test]
fn the_module_comes_from_where_the_values_say() {
    let (digest, sha256) = (format!("sha256:{}", "1".repeat(64)), "2".repeat(64));
    let pinned = json!({ "module": { "repository": "r:5000/f", "digest": digest, "tag": "1" } });
    let tagged = json!({ "module": { "repository": "r:5000/f", "digest": "", "tag": "1" } });
    let from_exporter =
        json!({ "module": { "source": "exporter", "sha256": sha256, "imagePullSecret": "s" } });
    let url =
        json!({ "module": { "source": "url", "sha256": sha256, "url": "https://files.example/p.wasm" } });
    let host = "logtracer-exporter.logtracer.svc.cluster.local:4318";
    let cases = [
        (json!({ "filter": pinned }), format!("oci://r:5000/f@{digest}"), Value::Null),
        (json!({ "filter": tagged }), "oci://r:5000/f:1".to_owned(), Value::Null),
        (json!({ "filter": from_exporter }), format!("http://{host}/plugin.wasm"), json!(sha256)),
        (
            json!({ "filter": from_exporter, "destinationRule": { "enabled": true },
                "tls": { "secretName": "t", "caCertificates": "/ca.crt" } }),
            format!("https://{host}/plugin.wasm"),
            json!(sha256),
        ),
        (json!({ "filter": url }), "https://files.example/p.wasm".to_owned(), json!(sha256)),
    ];
    for (values, url, sha256) in cases {
        let spec = &release(&values).of(&["WasmPlugin"])[0]["spec"];
        assert_eq!((&spec["url"], &spec["sha256"]), (&json!(url), &sha256), "{values}");
        // Only registries need a secret.
        assert_eq!(spec["imagePullSecret"], Value::Null, "{values}");
    }
}

/// The exporter accepts its options, with the default values and with each example.
#[test]
fn the_exporter_accepts_its_options() {
    for (name, release) in releases() {
        let args: Vec<String> = list(container(&release.objects), "args")
            .iter()
            .map(|arg| arg.as_str().unwrap().to_owned())
            .collect();
        let stderr = stderr_of(&args);
        assert!(stderr.contains("no exporter data in"), "{name}: {stderr}");
    }
}

fn container(objects: &[Value]) -> &Value {
    let set = objects.iter().find(|it| it["kind"] == "StatefulSet").unwrap();
    &set["spec"]["template"]["spec"]["containers"][0]
}

/// Certificates and tokens are files below mounted volumes, and probes use TLS with a certificate.
#[test]
fn secrets_are_mounted_where_the_options_expect_them() {
    let text = std::fs::read_to_string(chart().join("examples/tls.yaml")).unwrap();
    let release = render(&[text]).remove(0).unwrap();
    let container = container(&release.objects);
    let pod = &release.of(&["StatefulSet"])[0]["spec"]["template"]["spec"];
    for (option, volume, secret) in [
        ("--tls-cert=", "tls", "logtracer-tls"),
        ("--tls-key=", "tls", "logtracer-tls"),
        ("--token-file=", "token", "logtracer-token"),
    ] {
        let file = list(container, "args").iter().find_map(|arg| arg.as_str()?.strip_prefix(option)).unwrap();
        let mount = list(container, "volumeMounts").iter().find(|it| it["name"] == volume).unwrap();
        assert!(file.starts_with(mount["mountPath"].as_str().unwrap()), "{option}{file}");
        let volume = list(pod, "volumes").iter().find(|it| it["name"] == volume).unwrap();
        assert_eq!(volume["secret"]["secretName"], secret);
    }
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["scheme"], "HTTPS", "{probe}");
    }
    let tls = &release.of(&["DestinationRule"])[0]["spec"]["trafficPolicy"]["tls"];
    assert_eq!(*tls, json!({ "mode": "SIMPLE", "caCertificates": "/etc/logtracer/ca/ca.crt" }));
}

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

/// The exporter can reach its sinks, and nothing else.
#[test]
fn the_network_policy_allows_the_sinks() {
    let ports = |values: &Value| -> Vec<u64> {
        let policies = release(values).of(&["NetworkPolicy"]);
        let rules = policies.iter().flat_map(|policy| list(&policy["spec"], "egress").to_vec());
        let ports = rules.flat_map(|rule| list(&rule, "ports").to_vec());
        ports.map(|port| port["port"].as_u64().unwrap()).filter(|port| *port != 53).collect()
    };
    let sinks = |sinks: Value| json!({ "exporter": { "sinks": sinks } });
    let google = [443, 80, 8080, 988, 987];
    for (values, expected) in [
        (json!({}), &[][..]),
        (sinks(json!(["stdout"])), &[]),
        (sinks(json!(["otlp=http://collector.a.svc:4318", "otlp=grpc://b,keep=error"])), &[4318, 4317]),
        (sinks(json!(["otlp=https://u:p@a.example/x", "zipkin=http://[::1]/api"])), &[443, 80]),
        (sinks(json!(["cloud-trace", "otlp=http://a:4318"])), &[4318, 443, 80, 8080, 988, 987]),
        (sinks(json!(["cloud-logging,signals=logs"])), &google),
        (json!({ "exporter": { "sinks": ["telemetry"] }, "networkPolicy": { "google": true } }), &google),
        // Rules of one's own replace them.
        (
            json!({ "exporter": { "sinks": ["otlp=http://a:4318"] },
                "networkPolicy": { "egress": [{ "ports": [{ "port": 9 }] }] } }),
            &[9],
        ),
    ] {
        assert_eq!(ports(&values), expected, "{values}");
    }
    let hidden = json!({ "exporter": { "sinks": [] },
        "extraEnv": [{ "name": "LOGTRACER_SINK", "valueFrom": { "secretKeyRef": { "name": "a", "key": "b" } } }] });
    let notes = release(&hidden).notes;
    assert!(notes.contains("WARNING: LOGTRACER_SINK"), "{notes}");
}

/// Replicas that a trace does not divide: those with the rule `rate` alone, and shards.
#[test]
fn replicas_can_have_rules_that_need_no_whole_trace() {
    for exporter in [
        json!({ "sinks": ["cloud-trace,keep=rate=0.1"], "replicas": 2 }),
        json!({ "sinks": ["cloud-trace,keep=error"], "shards": 2 }),
    ] {
        let set = &release(&json!({ "exporter": exporter })).of(&["StatefulSet"])[0];
        assert_eq!(set["spec"]["replicas"], 2);
    }
}

/// Conventional values arrive where Kubernetes reads them.
#[test]
fn conventional_values_reach_the_pod() {
    let text = std::fs::read_to_string(chart().join("examples/tls.yaml")).unwrap();
    let release = render(&[&text]).remove(0).unwrap();
    let set = &release.of(&["StatefulSet"])[0];
    let (metadata, pod) = (&set["spec"]["template"]["metadata"], &set["spec"]["template"]["spec"]);
    let values = &read(&chart().join("examples/tls.yaml"))[0];
    for key in ["imagePullSecrets", "nodeSelector", "tolerations", "affinity", "priorityClassName"] {
        assert!(!values[key].is_null() && pod[key] == values[key], "{key}");
    }
    let has_all = |of: &Value, wanted: &Value| {
        wanted.as_object().is_some_and(|wanted| wanted.iter().all(|(key, value)| of[key] == *value))
    };
    assert!(has_all(&metadata["annotations"], &values["podAnnotations"]));
    assert!(has_all(&metadata["labels"], &values["podLabels"]));
    for object in &release.objects {
        assert!(has_all(&object["metadata"]["labels"], &values["commonLabels"]), "{}", object["kind"]);
    }
    let account = &release.of(&["ServiceAccount"])[0]["metadata"];
    assert_eq!(account["annotations"], values["serviceAccount"]["annotations"]);
    let container = container(&release.objects);
    assert_eq!(container["image"], "registry.internal:5000/logtracer-exporter:0.1.0");
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    for arg in list(values, "extraArgs") {
        assert!(list(container, "args").contains(arg), "{arg}");
    }
    assert!(list(container, "env").contains(&values["extraEnv"][0]));
    let claim = &set["spec"]["volumeClaimTemplates"][0]["spec"];
    assert_eq!(claim["storageClassName"], "fast");
    assert_eq!(claim["resources"]["requests"]["storage"], "20Gi");

    // A digest takes precedence over a tag.
    let digest = format!("sha256:{}", "1".repeat(64));
    let image = json!({ "image": { "repository": "r/e", "tag": "1", "digest": digest } });
    assert_eq!(self::container(&super::release(&image).objects)["image"], format!("r/e@{digest}"));
    let account = super::release(&json!({ "serviceAccount": { "create": false, "name": "mine" } }));
    assert!(account.of(&["ServiceAccount"]).is_empty());
    assert_eq!(account.of(&["StatefulSet"])[0]["spec"]["template"]["spec"]["serviceAccountName"], "mine");
}

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
        (json!({ "filter": { "enabled": false } }), None),
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
