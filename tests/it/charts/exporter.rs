//! The exporter: its options, secrets, ports and shards.

use serde_json::{Value, json};

use super::release;
use super::releases;
use super::render::{chart, render};
use crate::manifests::documents::{list, read};
use crate::manifests::exporter::stderr_of;

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
