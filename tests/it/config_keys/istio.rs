//! Metadata of Envoy's node, and configurations in Istio's form.

use std::collections::BTreeMap;

use logtracer_harness::collector::{Batch, Collector};
use logtracer_harness::proxy::{ISTIO_EXPORTER, Listener, Proxy};
use logtracer_harness::shell;
use logtracer_harness::wire::Connection;
use serde_json::{Value, json};

use super::{Keys, LABELS};
use crate::{CALLER, text, trace};

/// Node metadata of Istio, numbers as doubles, and an absent configuration. Two listeners have the same plugin
/// configuration, as in a sidecar.
#[test]
fn configuration_by_istio() {
    let collector = Collector::start().unwrap();
    let node = json!({
        "id": "sidecar~10.0.0.1~cart-7d9f-x.shop~shop.svc.cluster.local",
        "cluster": "cart.shop",
        "metadata": { "LABELS": { "app": "cart-app", "service.istio.io/canonical-name": "cart" } },
    });
    let plugin_config = json!({
        "project_id": "p",
        "sampling": { "rate": 1.0, "max_per_second": 1000.0 },
        "exporter": {
            "cluster": "logtracer-exporter",
            "authority": "exporter.example.com",
            "path": "/otlp/v1/traces",
            "timeout": "3s",
            "flush_interval": "100ms",
            "max_batch_spans": 5.0,
            "max_buffer_bytes": 65536.0,
            "headers": { "Authorization": "Bearer hush" },
        },
    });
    let inbound = Listener::new("inbound", plugin_config.clone());
    let outbound = Listener { direction: "OUTBOUND", ..Listener::new("outbound", plugin_config) };
    let bare = Listener { filter: None, ..Listener::new("bare", json!({})) };
    let proxy = Proxy::start(node, &[inbound, outbound, bare], collector.port()).unwrap();
    let keys = Keys { proxy, collector };

    for (number, listener, kind) in [(1, "inbound", "server"), (2, "outbound", "client")] {
        let sent = format!("{}-{CALLER}-1", trace(number));
        keys.get(listener, "/origin/ok", &[("b3", &sent)]);
        let (line, span) = keys.line_and_span(&trace(number));
        assert_eq!((span.kind, span.service_name.as_str()), (kind, "cart"));
        assert!(text(&line, "/message").starts_with("cart - GET - "), "{line}");
        assert_eq!(
            text(&line, "/logging.googleapis.com~1trace"),
            format!("projects/p/traces/{}", trace(number))
        );
    }
    let sent = format!("{}-{CALLER}-1", trace(3));
    assert_eq!(keys.get("bare", "/origin/ok", &[("b3", &sent)]).trace_id(), trace(3));
    assert!(text(&keys.line_only(&trace(3)), "/message").starts_with("cart - GET - "));

    // A burst is sent in batches of five before the interval has passed.
    for number in 100..120 {
        let sent = format!("{}-{CALLER}-1", trace(number));
        keys.get("inbound", "/origin/ok", &[("b3", &sent)]);
    }
    keys.line_and_span(&trace(119));
    let batches: Vec<Batch> = keys.collector.batches();
    assert!(batches.iter().all(|batch| (1..=5).contains(&batch.spans.len())));
    for batch in batches {
        assert_eq!(batch.path, "/otlp/v1/traces");
        assert_eq!(batch.header("host"), Some("exporter.example.com"));
        assert_eq!(batch.header("authorization"), Some("Bearer hush"));
        assert_eq!(batch.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(batch.header("b3"), Some("0")); // rule 74: exports are not traced
        let expected: BTreeMap<String, Value> =
            [("service.name", "cart"), ("gcp.project_id", "p")].map(|(k, v)| (k.to_owned(), v.into())).into();
        assert_eq!(batch.resource, expected);
    }
    assert!(!keys.proxy.envoy.errors().contains("hush"));
}

/// An inbound and an outbound listener with the same plugin configuration, which share a root since Envoy 1.40. Each
/// request has the direction and the kind of its own listener, whichever listener gets the first request and whatever
/// the other one does meanwhile.
#[test]
fn each_request_has_the_direction_of_its_listener() {
    const KINDS: [(&str, &str, bool); 2] = [("inbound", "server", false), ("outbound", "client", true)];
    let config = json!({
        "sampling": { "rate": 0, "keep_errors": true },
        "exporter": { "cluster": "logtracer-exporter", "flush_interval": "100ms" },
    });
    for order in [[0, 1], [1, 0]] {
        let collector = Collector::start().unwrap();
        let inbound = Listener::new("inbound", config.clone());
        let outbound = Listener { direction: "OUTBOUND", ..Listener::new("outbound", config.clone()) };
        let proxy = Proxy::start(super::shop(), &[inbound, outbound], collector.port()).unwrap();
        let keys = Keys { proxy, collector };

        // Sampled requests that succeed, and unsampled ones that fail with 404. Both listeners have one in progress.
        let begin = |number: u128, request: &str| {
            let (listener, ..) = KINDS[order[number as usize % 2]];
            let mut connection = Connection::open(keys.proxy.address(listener)).unwrap();
            let sampled = u8::from(!request.contains("nowhere"));
            let b3 = format!("{}-{CALLER}-{sampled}", trace(number));
            connection.send(format!("GET {request} HTTP/1.1\r\nhost: shop\r\nb3: {b3}\r\n\r\n")).unwrap();
            connection
        };
        for round in 0..4 {
            let path = if round % 2 == 0 { "/origin/ok" } else { "/nowhere" };
            let mut both = [begin(2 * round, path), begin(2 * round + 1, path)];
            let status = if round % 2 == 0 { 200 } else { 404 };
            for connection in &mut both {
                assert_eq!(connection.response().unwrap().status(), status);
            }
        }
        for number in 0..8 {
            let (listener, kind, is_client) = KINDS[order[number as usize % 2]];
            let is_failed = number / 2 % 2 == 1;
            let line = if is_failed && !is_client {
                // The 404 of a server is not its failure, so `keep_errors` does not keep it.
                keys.line_only(&trace(number))
            } else {
                let (line, span) = keys.line_and_span(&trace(number));
                assert_eq!((span.kind, span.is_error), (kind, is_failed), "{order:?} {number}");
                line
            };
            assert_eq!(line.pointer(LABELS).unwrap()["direction"], listener, "{order:?} {number}");
        }
        assert_eq!(keys.proxy.envoy.stat(&shell::metric("spans_buffered")).unwrap(), 6, "{order:?}");
    }
}

/// Rule 59: Istio marks the listeners of its gateways as outbound, but their callers are outside.
#[test]
fn gateway_of_istio() {
    let collector = Collector::start().unwrap();
    let node = json!({ "id": "router~10.0.0.2~gate-5c~istio-system.svc.cluster.local", "cluster": "gate" });
    let filter = json!({ "exporter": { "cluster": ISTIO_EXPORTER, "flush_interval": "100ms" } });
    let listener = Listener { direction: "OUTBOUND", ..Listener::new("gate", filter) };
    let keys = Keys { proxy: Proxy::start(node, &[listener], collector.port()).unwrap(), collector };

    keys.get("gate", "/origin/ok", &[("b3", &format!("{}-{CALLER}-1", trace(1)))]);
    let (line, span) = keys.line_and_span(&trace(1));
    assert_eq!((span.kind, span.service_name.as_str()), ("server", "gate"));
    assert_eq!(line.pointer(LABELS).unwrap()["direction"], "inbound");
    // The name of this cluster is not a valid authority.
    assert_eq!(keys.collector.batches()[0].header("host"), Some("exporter.obs.svc.cluster.local:4318"));
}

/// Without a better name the label `app` names the service.
#[test]
fn a_service_is_named_by_its_label() {
    let node = json!({ "id": "n", "cluster": "c", "metadata": { "LABELS": { "app": "till" } } });
    let keys = Keys::start(node, &[("plain", json!({})), ("named", json!({ "service_name": "desk" }))]);
    for (number, listener, name) in [(1, "plain", "till"), (2, "named", "desk")] {
        keys.get(listener, "/origin/ok", &[("b3", &format!("{}-{CALLER}-1", trace(number)))]);
        assert_eq!(keys.line_and_span(&trace(number)).1.service_name, name);
    }
}

/// The resource of spans has what the node says about its workload. The native module has it from its environment.
#[test]
fn the_resource_of_spans() {
    let node = json!({
        "id": "sidecar~10.0.0.1~cart-6d4cf56db6-8x2nq.shop~shop.svc.cluster.local",
        "cluster": "cart.shop",
        "locality": { "region": "europe-west1", "zone": "europe-west1-b" },
        "metadata": {
            "NAME": "cart-6d4cf56db6-8x2nq",
            "NAMESPACE": "shop",
            "NODE_NAME": "node-1",
            "CLUSTER_ID": "Kubernetes",
            "OWNER": "kubernetes://apis/apps/v1/namespaces/shop/deployments/cart",
            "LABELS": { "app": "cart", "version": "v2" },
            "PLATFORM_METADATA": { "gcp_project": "shop-prod", "gcp_gke_cluster_name": "blue" },
        },
    });
    let keys = Keys::start(node, &[("plain", json!({})), ("own", json!({ "project_id": "mine" }))]);
    for (number, listener, project) in [(1, "plain", "shop-prod"), (2, "own", "mine")] {
        keys.get(listener, "/origin/ok", &[("b3", &format!("{}-{CALLER}-1", trace(number)))]);
        let (line, _) = keys.line_and_span(&trace(number));
        let batches = keys.collector.batches();
        let batch =
            batches.iter().find(|batch| batch.spans.iter().any(|span| span.trace_id == trace(number)));
        let resource = batch.unwrap().resource.clone();
        let expected: BTreeMap<String, Value> = [
            ("service.name", "cart"),
            ("gcp.project_id", project),
            ("service.namespace", "shop"),
            ("service.version", "v2"),
            ("k8s.namespace.name", "shop"),
            ("k8s.pod.name", "cart-6d4cf56db6-8x2nq"),
            ("k8s.node.name", "node-1"),
            ("k8s.cluster.name", "blue"),
            ("k8s.deployment.name", "cart"),
            ("cloud.provider", "gcp"),
            ("cloud.account.id", "shop-prod"),
            ("cloud.region", "europe-west1"),
            ("cloud.availability_zone", "europe-west1-b"),
        ]
        .map(|(key, value)| (key.to_owned(), value.into()))
        .into();
        assert_eq!(resource, expected);
        let logged = format!("projects/{project}/traces/{}", trace(number));
        assert_eq!(text(&line, "/logging.googleapis.com~1trace"), logged);
    }
}

/// The native module cannot read its node.
#[test]
fn a_native_module_has_its_resource_from_the_environment() {
    shell::select(shell::Shell::Native);
    shell::set_environment(&[
        ("OTEL_SERVICE_NAME", "cart"),
        ("OTEL_RESOURCE_ATTRIBUTES", "k8s.namespace.name=shop,k8s.pod.name=cart-1,gcp.project_id=p"),
    ]);
    // The harness adds the name of the service, which a user with the variable leaves out.
    let overrides = json!([{ "namespace": "shop", "response_header": "x-trace-id" }]);
    let plain = json!({ "service_name": null, "span_kind": "server", "overrides": overrides });
    let keys = Keys::start(super::shop(), &[("plain", plain)]);
    let done = keys.get("plain", "/origin/ok", &[("b3", &format!("{}-{CALLER}-1", trace(1)))]);
    assert_eq!(done.response.header("x-trace-id"), Some(&*trace(1)));
    let (line, _) = keys.line_and_span(&trace(1));
    assert!(text(&line, "/logging.googleapis.com~1trace").starts_with("projects/p/"), "{line}");
    let expected: BTreeMap<String, Value> = [
        ("service.name", "cart"),
        ("gcp.project_id", "p"),
        ("k8s.namespace.name", "shop"),
        ("k8s.pod.name", "cart-1"),
    ]
    .map(|(key, value)| (key.to_owned(), value.into()))
    .into();
    assert_eq!(keys.collector.batches()[0].resource, expected);
}

/// One plugin for many teams: the first override that matches the workload.
#[test]
fn overrides_apply_to_their_workloads() {
    let config = json!({
        "sampling": { "rate": 0, "keep_errors": true },
        "exporter": { "cluster": "logtracer-exporter", "flush_interval": "100ms" },
        "overrides": [
            { "namespace": "payments", "service": "vault", "log_format": "local" },
            { "namespace": "payments", "sampling": { "rate": 1 } },
            { "label": "team=search", "response_header": "x-trace-id" },
            { "label": "quiet", "sampling": { "log_rate": 0 } },
        ],
    });
    for (namespace, name, labels, is_sampled, is_local, has_header, has_line) in [
        ("shop", "cart", json!({}), false, false, false, true),
        ("payments", "ledger", json!({}), true, false, false, true),
        ("payments", "vault", json!({ "team": "search" }), false, true, false, true),
        ("shop", "find", json!({ "team": "search", "quiet": "" }), false, false, true, true),
        ("shop", "noise", json!({ "quiet": "" }), false, false, false, false),
    ] {
        let mut all = labels.clone();
        all["app"] = name.into();
        let node =
            json!({ "id": "n", "cluster": "c", "metadata": { "NAMESPACE": namespace, "LABELS": all } });
        let keys = Keys::start(node, &[("shop", config.clone())]);
        let done = keys.get("shop", "/origin/ok", &[("b3", &format!("{}-{CALLER}", trace(1)))]);
        assert_eq!(done.is_sampled(), is_sampled, "{namespace} {name}");
        assert_eq!(done.response.header("x-trace-id").is_some(), has_header, "{namespace} {name}");
        // What the general configuration has and no override changes.
        keys.get("shop", "/origin/500", &[("b3", &format!("{}-{CALLER}-0", trace(2)))]);
        let (failed, _) = keys.line_and_span(&trace(2));
        assert_eq!(failed.get("traceSampled").is_some(), is_local, "{namespace} {name}: {failed}");
        assert_eq!(keys.proxy.lines(&trace(1)).unwrap().len(), usize::from(has_line), "{namespace} {name}");
    }
}
