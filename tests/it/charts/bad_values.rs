//! Bad values are rejected with an error that names the key.

use serde_json::{Value, json};

use super::render::render;

/// Values, and what the error contains.
fn cases() -> Vec<(Value, &'static [&'static str])> {
    let native =
        |service: Value| json!({ "filter": { "mode": "native", "native": { "services": [service] } } });
    let gateway = |gateway: Value| json!({ "edge": { "enabled": true, "gateways": [gateway] } });
    let config = |config: Value| json!({ "filter": { "config": config } });
    let module = |module: Value| json!({ "filter": { "module": module } });
    let one_cluster = |config: Value| json!({ "exporter": { "sinks": ["cloud-trace"], "shards": 2 }, "filter": { "config": config } });
    vec![
        // Unknown keys.
        (json!({ "filtr": {} }), &["'filtr'"]),
        (json!({ "image": { "repo": "r" } }), &["/image", "'repo'"]),
        (json!({ "filter": { "config": { "projct_id": "p" } } }), &["/filter/config", "'projct_id'"]),
        (config(json!({ "sampling": { "rte": 1 } })), &["/filter/config/sampling", "'rte'"]),
        (
            config(json!({ "sampling": { "rules": [{ "path": "/", "rat": 1 }] } })),
            &["/filter/config/sampling/rules/0", "'rat'"],
        ),
        (
            config(json!({ "overrides": [{ "service": "a", "exporter": { "clustr": "c" } }] })),
            &["/filter/config/overrides/0/exporter", "'clustr'"],
        ),
        (module(json!({ "src": "oci" })), &["/filter/module", "'src'"]),
        (gateway(json!({ "name": "a", "labels": {} })), &["/edge/gateways/0", "'labels'"]),
        // Types.
        (json!({ "exporter": { "replicas": "2" } }), &["/exporter/replicas", "integer"]),
        (json!({ "exporter": { "replicas": -1 } }), &["/exporter/replicas"]),
        (json!({ "exporter": { "shards": 0 } }), &["/exporter/shards"]),
        (json!({ "exporter": { "shards": 17 } }), &["/exporter/shards"]),
        (json!({ "exporter": { "shards": ["a"] } }), &["/exporter/shards", "integer"]),
        (json!({ "exporter": { "sinks": "store" } }), &["/exporter/sinks", "array"]),
        (json!({ "podLabels": { "a": 1 } }), &["/podLabels/a", "string"]),
        (json!({ "autoscaling": { "enabled": "yes" } }), &["/autoscaling/enabled", "boolean"]),
        (json!({ "filter": { "config": { "overrides": {} } } }), &["/filter/config/overrides", "array"]),
        // A number of `--set` with a decimal point is a text.
        (config(json!({ "sampling": { "rate": "0.1" } })), &["/filter/config/sampling/rate", "number"]),
        (config(json!({ "exporter": { "timeout": 2 } })), &["/filter/config/exporter/timeout", "string"]),
        (config(json!({ "exporter": { "headers": { "a": 1 } } })), &["/filter/config/exporter/headers/a"]),
        (
            config(json!({ "overrides": [{ "namespace": "a", "sampling": { "rate": "1" } }] })),
            &["/filter/config/overrides/0/sampling/rate", "number"],
        ),
        (json!({ "imagePullSecrets": ["secret"] }), &["/imagePullSecrets/0", "object"]),
        // Values.
        (json!({ "fullnameOverride": "1a" }), &["/fullnameOverride", "1a"]),
        (json!({ "image": { "digest": "sha256:12" } }), &["/image/digest", "sha256:12"]),
        (json!({ "image": { "repository": "r/e:1" } }), &["/image/repository", "r/e:1"]),
        (json!({ "image": { "tag": "a b" } }), &["/image/tag", "a b"]),
        (json!({ "image": { "pullPolicy": "always" } }), &["/image/pullPolicy", "'Always'"]),
        (json!({ "exporter": { "sinks": ["cloud_trace"] } }), &["/exporter/sinks/0", "cloud_trace"]),
        (json!({ "exporter": { "sinks": ["otlp"] } }), &["/exporter/sinks/0", "otlp"]),
        (json!({ "exporter": { "sinks": ["stdout", "stdout"] } }), &["/exporter/sinks"]),
        (json!({ "exporter": { "grace": "1m" } }), &["/exporter/grace", "1m"]),
        (json!({ "extraArgs": ["retention-age=1h"] }), &["/extraArgs/0", "retention-age"]),
        (json!({ "filter": { "mode": "wsm" } }), &["/filter/mode", "'wasm', 'file', 'native'"]),
        (json!({ "filter": { "namespace": "" } }), &["/filter/namespace"]),
        (json!({ "filter": { "config": { "query": "hide" } } }), &["/filter/config/query", "'redact'"]),
        (config(json!({ "sampling": { "rate": 2 } })), &["/filter/config/sampling/rate", "maximum"]),
        (config(json!({ "sampling": { "rules": [{ "rate": 1 }] } })), &["/filter/config/sampling/rules/0"]),
        (
            config(json!({ "overrides": [{ "query": "drop" }] })),
            &["/filter/config/overrides/0", "'namespace'"],
        ),
        (config(json!({ "exporter": { "timeout": "2 days" } })), &["/filter/config/exporter/timeout"]),
        (config(json!({ "exporter": { "cluster": [] } })), &["/filter/config/exporter/cluster"]),
        (
            config(json!({ "exporter": { "max_buffer_bytes": 100 } })),
            &["/filter/config/exporter/max_buffer_bytes"],
        ),
        (
            config(json!({ "propagation": { "extract": ["b4"] } })),
            &["/filter/config/propagation/extract/0", "'b3'"],
        ),
        (config(json!({ "request_headers": ["cookie"] })), &["/filter/config/request_headers/0"]),
        (config(json!({ "exclude": { "paths": ["healthz"] } })), &["/filter/config/exclude/paths/0"]),
        (module(json!({ "source": "http" })), &["/filter/module/source", "'exporter'"]),
        (module(json!({ "digest": "12" })), &["/filter/module/digest"]),
        (module(json!({ "sha256": "12" })), &["/filter/module/sha256"]),
        (module(json!({ "url": "oci://r/f" })), &["/filter/module/url", "oci://r/f"]),
        (gateway(json!({ "name": "A" })), &["/edge/gateways/0/name", "'A'"]),
        (gateway(json!({ "name": "a", "edge": "trust" })), &["/edge/gateways/0/edge", "'link'"]),
        (native(json!({ "name": "shop", "namespace": "default" })), &["services/0", "'matchLabels'"]),
        (
            native(json!({ "name": "shop", "namespace": "default", "matchLabels": {} })),
            &["services/0/matchLabels"],
        ),
        (json!({ "podDisruptionBudget": { "maxUnavailable": 0 } }), &["/podDisruptionBudget/maxUnavailable"]),
        (
            json!({ "monitoring": { "podMonitor": { "interval": "30" } } }),
            &["/monitoring/podMonitor/interval"],
        ),
        (json!({ "telemetry": { "providers": { "line": "" } } }), &["/telemetry/providers/line"]),
        // Values that do not fit each other.
        (json!({ "filter": { "mode": "native" } }), &["filter.native.services: is empty"]),
        (json!({ "filter": { "mode": "file" } }), &["filter.file.namespaces: is empty"]),
        (
            json!({ "filter": { "matchLabels": { "a": "b" }, "targetRefs": [{ "kind": "Gateway", "name": "g" }] } }),
            &["filter.targetRefs: cannot be combined with filter.matchLabels"],
        ),
        (
            json!({ "filter": { "config": { "line_break": true } } }),
            &["filter.config.line_break: must be false"],
        ),
        (module(json!({ "digest": "" })), &["filter.module.digest: is empty"]),
        (module(json!({ "source": "url", "sha256": "0".repeat(64) })), &["filter.module.url: is empty"]),
        (module(json!({ "source": "exporter" })), &["filter.module.sha256: is empty"]),
        (
            json!({ "exporter": { "enabled": false },
                "filter": { "module": { "source": "exporter", "sha256": "0".repeat(64) } } }),
            &["filter.module.source: exporter needs exporter.enabled"],
        ),
        (gateway(json!({ "name": "a" })), &["edge.gateways[0]: needs either matchLabels or targetRefs"]),
        (
            json!({ "edge": { "enabled": true }, "filter": { "mode": "file", "file": { "namespaces": ["a"] } } }),
            &["edge.enabled: needs filter.mode wasm, found file"],
        ),
        (
            json!({ "edge": { "enabled": true }, "filter": { "config": { "edge": "link" } } }),
            &["filter.config.edge: not with edge.enabled"],
        ),
        (
            gateway(json!({ "name": "a", "matchLabels": { "istio": "a" }, "edge": "link",
                "config": { "edge": "resample" } })),
            &["edge.gateways[0].edge: is link, but its config has resample"],
        ),
        (
            json!({ "filter": { "mode": "file", "file": { "namespaces": ["a"] }, "matchLabels": { "a": "b" } } }),
            &["filter.matchLabels: has no effect, because filter.mode is file"],
        ),
        (
            json!({ "filter": { "matchLabels": { "a": "b" } } }),
            &["telemetry.namespaces: is empty, but filter.matchLabels select pods of all namespaces"],
        ),
        (
            json!({ "filter": { "mode": "file",
                "file": { "namespaces": ["istio-system"], "matchLabels": { "a": "b" } } } }),
            &["telemetry.namespaces: is empty, but filter.file.matchLabels select pods of all namespaces"],
        ),
        (
            json!({ "telemetry": { "namespaces": ["a"] }, "filter": { "mode": "native", "native": { "services": [
                { "name": "a", "namespace": "n", "matchLabels": { "app": "a" } },
            ] } } }),
            &["telemetry.namespaces: must be empty, because filter.mode is native"],
        ),
        (json!({ "autoscaling": { "enabled": true } }), &["autoscaling.enabled", "exporter.sinks"]),
        (json!({ "exporter": { "replicas": 2 } }), &["exporter.replicas", "exporter.sinks"]),
        (
            json!({ "exporter": { "sinks": ["store,keep=error"], "replicas": 2 } }),
            &["exporter.replicas", "exporter.sinks"],
        ),
        (
            json!({ "exporter": { "sinks": [], "replicas": 2 } }),
            &["exporter.replicas", "an empty exporter.sinks"],
        ),
        (
            json!({ "exporter": { "sinks": ["cloud-trace,keep=rate=0.1,keep=error"], "replicas": 2 } }),
            &["exporter.replicas: must be 1 with the rule error", "exporter.shards"],
        ),
        (
            json!({ "exporter": { "sinks": ["cloud-trace"] }, "autoscaling": { "enabled": true },
                "extraArgs": ["--keep=rate=0.1,slower-than=2s"] }),
            &["autoscaling.enabled: not with the rule slower-than=2s"],
        ),
        (
            json!({ "exporter": { "sinks": [], "replicas": 2 },
                "extraEnv": [{ "name": "LOGTRACER_SINK", "value": "stdout,keep=new-route" }] }),
            &["exporter.replicas: must be 1 with the rule new-route"],
        ),
        (json!({ "tls": { "secretName": "a" } }), &["tls.secretName: needs destinationRule.enabled"]),
        (
            json!({ "tls": { "secretName": "a" }, "destinationRule": { "enabled": true },
                "filter": { "module": { "source": "exporter", "sha256": "0".repeat(64) } } }),
            &["tls.caCertificates: is empty, but filter.module.source is exporter"],
        ),
        (
            json!({ "tls": { "ca": { "secretName": "a", "configMapName": "b" } } }),
            &["tls.ca.configMapName: cannot be combined with tls.ca.secretName"],
        ),
        (
            json!({ "tls": { "secretName": "a", "ca": { "configMapName": "b" } },
                "monitoring": { "podMonitoring": { "enabled": true } } }),
            &["tls.ca.configMapName: a PodMonitoring reads a CA only from a Secret"],
        ),
        (json!({ "token": { "secretName": "a" } }), &["filter.config.exporter.headers: needs authorization"]),
        (
            json!({ "exporter": { "sinks": ["stdout"] },
                "autoscaling": { "enabled": true, "minReplicas": 3, "maxReplicas": 2 } }),
            &["autoscaling.minReplicas: is more than autoscaling.maxReplicas"],
        ),
        (json!({ "exporter": { "shards": 2 } }), &["exporter.shards", "exporter.sinks"]),
        (
            json!({ "exporter": { "sinks": ["cloud-trace"], "shards": 2, "replicas": 2 } }),
            &["exporter.shards: must be 1 with exporter.replicas"],
        ),
        (
            json!({ "exporter": { "sinks": ["cloud-trace"], "shards": 2 }, "autoscaling": { "enabled": true } }),
            &["exporter.shards: must be 1 with autoscaling.enabled"],
        ),
        (one_cluster(json!({ "exporter": { "cluster": "c" } })), &["exporter.shards: is 2", "one name, c,"]),
        (
            one_cluster(json!({ "overrides": [{ "service": "a", "exporter": { "cluster": "c" } }] })),
            &["exporter.shards: is 2", "one name, c,"],
        ),
        (json!({ "commonLabels": { "app": "a" } }), &["commonLabels: app is set by the chart"]),
        (
            json!({ "podLabels": { "app.kubernetes.io/name": "a" } }),
            &["podLabels: app.kubernetes.io/name is set by the chart"],
        ),
        (
            json!({ "monitoring": { "podMonitor": { "labels": { "helm.sh/chart": "a" } } } }),
            &["monitoring.podMonitor.labels: helm.sh/chart is set by the chart"],
        ),
        (
            json!({ "edge": { "gateways": [
                { "name": "a", "matchLabels": { "istio": "a" } },
                { "name": "a", "matchLabels": { "istio": "b" } },
            ] } }),
            &["edge.gateways[1].name: a is the name of another gateway"],
        ),
        (
            json!({ "filter": { "native": { "services": [
                { "name": "a", "namespace": "n", "matchLabels": { "app": "a" } },
                { "name": "a", "namespace": "n", "matchLabels": { "app": "b" } },
            ] } } }),
            &["filter.native.services[1].name: a is the name of another service of n"],
        ),
        (
            json!({ "exporter": { "sinks": ["stdout"] }, "autoscaling": { "enabled": true },
                "resources": { "requests": { "cpu": null } } }),
            &["autoscaling.enabled: needs resources.requests.cpu"],
        ),
        (json!({ "extraVolumes": [{ "name": "tls" }] }), &["extraVolumes[0]: tls"]),
        (json!({ "extraEnv": [{ "name": "SQLITE_TMPDIR" }] }), &["extraEnv[0]: SQLITE_TMPDIR"]),
        (json!({ "extraEnv": [{ "name": "LOGTRACER_DATA_DIR" }] }), &["extraEnv[0]: LOGTRACER_DATA_DIR"]),
        (json!({ "extraArgs": ["--grace=5s"] }), &["extraArgs[0]: --grace=5s is set by exporter.grace"]),
        (json!({ "extraArgs": ["--json", "--sink=stdout"] }), &["extraArgs[1]", "exporter.sinks"]),
    ]
}

#[test]
fn bad_values_are_rejected_with_their_key() {
    let cases = cases();
    let texts: Vec<String> = cases.iter().map(|(values, _)| values.to_string()).collect();
    for ((values, words), result) in cases.iter().zip(render(&texts)) {
        let Err(error) = result else { panic!("{values} was accepted") };
        for word in *words {
            assert!(error.contains(word), "{values}: no {word:?} in {error}");
        }
    }
}

/// A text that is not YAML is an error, too.
#[test]
fn a_file_that_is_not_yaml_is_rejected() {
    let error = render(&["filter: {"]).remove(0).unwrap_err();
    assert!(error.contains("yaml"), "{error}");
}
