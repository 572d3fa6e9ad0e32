//! The `Telemetry` objects: they cover the proxies that have the filter, and no others.

use serde_json::{Value, json};

use super::equality::printed;
use super::render::release;

/// Values, and the objects in the form `NAMESPACE/NAME`, with what they select.
fn cases() -> Vec<(Value, Vec<(&'static str, Value)>)> {
    let selector = |key: &str, value: &str| json!({ "selector": { "matchLabels": { key: value } } });
    let ingress = || selector("istio", "ingressgateway");
    let gateway = |namespace: &str| {
        json!({ "enabled": true, "gateways": [
            { "name": "edge", "namespace": namespace, "matchLabels": { "istio": "ingressgateway" } },
        ] })
    };
    let target = json!([{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "waypoint" }]);
    let file = |file: Value| json!({ "filter": { "mode": "file", "file": file } });
    vec![
        (json!({}), vec![("istio-system/logtracer", json!({}))]),
        (json!({ "filter": { "namespace": "team" } }), vec![("team/logtracer", json!({}))]),
        (
            json!({ "rootNamespace": "istio-config", "filter": { "namespace": "istio-config" } }),
            vec![("istio-config/logtracer", json!({}))],
        ),
        (
            json!({ "filter": { "namespace": "team", "matchLabels": { "app": "a" } } }),
            vec![("team/logtracer", selector("app", "a"))],
        ),
        (
            json!({ "filter": { "matchLabels": { "app": "a" } }, "telemetry": { "namespaces": ["b", "c"] } }),
            vec![("b/logtracer", selector("app", "a")), ("c/logtracer", selector("app", "a"))],
        ),
        (
            json!({ "filter": { "namespace": "team", "targetRefs": target } }),
            vec![("team/logtracer", json!({ "targetRefs": target }))],
        ),
        // The Telemetry of the root namespace covers the gateways.
        (json!({ "edge": { "enabled": true } }), vec![("istio-system/logtracer", json!({}))]),
        // A gateway outside of the filter's namespace needs one of its own.
        (
            json!({ "filter": { "namespace": "team" }, "edge": { "enabled": true } }),
            vec![("team/logtracer", json!({})), ("istio-system/logtracer-edge", ingress())],
        ),
        (
            json!({ "filter": { "namespace": "team" }, "edge": gateway("public") }),
            vec![("team/logtracer", json!({})), ("public/logtracer-edge", ingress())],
        ),
        (
            json!({ "filter": { "namespace": "team" }, "edge": gateway("team") }),
            vec![("team/logtracer", json!({}))],
        ),
        (
            file(json!({ "namespaces": ["a", "b"] })),
            vec![("a/logtracer", json!({})), ("b/logtracer", json!({}))],
        ),
        (
            file(json!({ "namespaces": ["a"], "matchLabels": { "app": "a" } })),
            vec![("a/logtracer", selector("app", "a"))],
        ),
        (json!({ "telemetry": { "enabled": false } }), vec![]),
    ]
}

#[test]
fn it_covers_the_proxies_with_the_filter() {
    for (values, expected) in cases() {
        let found: Vec<(String, Value)> = release(&values)
            .of(&["Telemetry"])
            .into_iter()
            .map(|object| {
                let metadata = &object["metadata"];
                let [namespace, name] = ["namespace", "name"].map(|key| metadata[key].as_str().unwrap());
                let mut spec = object["spec"].clone();
                let keys = spec.as_object_mut().unwrap();
                keys.retain(|key, _| ["selector", "targetRefs"].contains(&key.as_str()));
                (format!("{namespace}/{name}"), spec)
            })
            .collect();
        let expected: Vec<_> = expected.into_iter().map(|(id, selected)| (id.to_owned(), selected)).collect();
        assert_eq!(found, expected, "{values}");
    }
}

/// A plugin for a gateway is in the namespace of the gateway, and the notes name the root namespace.
#[test]
fn the_plugin_of_a_gateway_is_where_the_gateway_is() {
    let values = json!({ "filter": { "namespace": "team" }, "edge": { "enabled": true } });
    let release = release(&values);
    let plugins = release.of(&["WasmPlugin"]);
    let namespaces: Vec<&Value> = plugins.iter().map(|it| &it["metadata"]["namespace"]).collect();
    assert_eq!(namespaces, ["team", "istio-system"]);
    assert!(release.notes.contains("istio-system/edge: "), "{}", release.notes);
    assert!(release.notes.contains("--namespace istio-system get configmap istio"), "{}", release.notes);
}

/// The notes have nothing that changes proxies without the filter.
#[test]
fn a_part_of_a_mesh_needs_only_the_providers() {
    let file = json!({ "filter": { "mode": "file", "file": { "namespaces": ["a"] } } });
    for values in [json!({ "filter": { "namespace": "team" } }), file] {
        let mesh = printed(&release(&values).notes, "meshConfig")["meshConfig"].clone();
        let keys: Vec<&String> = mesh.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["extensionProviders"], "{values}");
        assert_eq!(mesh["extensionProviders"].as_array().unwrap().len(), 3, "{values}");
    }
}

fn native(more: &Value) -> Value {
    let mut values = json!({ "filter": { "mode": "native", "native": { "services": [
        { "name": "shop", "namespace": "default", "matchLabels": { "app": "shop" } },
    ] } } });
    values["telemetry"] = more.clone();
    values
}

/// The native module prints the lines of requests itself, so it needs one provider, or none.
#[test]
fn the_native_module_needs_one_provider() {
    let notes = release(&native(&json!({}))).notes;
    let mesh = printed(&notes, "meshConfig")["meshConfig"].clone();
    let providers = mesh["extensionProviders"].as_array().unwrap();
    assert_eq!((mesh.as_object().unwrap().len(), providers.len()), (1, 1), "{mesh}");
    assert_eq!(providers[0]["name"], "logtracer-fallback-tcp");

    let none = release(&native(&json!({ "providers": { "fallbackTcp": "" } })));
    assert!(!none.notes.contains("meshConfig"), "{}", none.notes);
    // Without their names, Istio would disable only the last provider of the root namespace.
    let names = ["logtracer", "logtracer-fallback-http", "logtracer-fallback-tcp"];
    let providers: Vec<Value> = names.map(|name| json!({ "name": name })).into();
    assert_eq!(
        none.of(&["Telemetry"])[0]["spec"]["accessLogging"],
        json!([{ "providers": providers, "disabled": true }])
    );

    let without = release(&native(&json!({ "enabled": false })));
    assert!(without.of(&["Telemetry"]).is_empty());
    let spec = &printed(&without.notes, "spec")["spec"];
    assert_eq!(spec["accessLogging"][0]["providers"][0]["name"], "logtracer-fallback-tcp");
}
