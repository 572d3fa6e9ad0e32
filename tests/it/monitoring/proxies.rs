//! Istio's proxies report only metrics with certain prefixes.

use logtracer_harness::envoy::root;
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::shell::{self, Shell};
use serde_json::{Value, json};

/// `requiredEnvoyStatsMatcherInclusionPrefixes` and the prefixes around it, of `pkg/bootstrap/config.go` in istio/istio.
const ISTIO: [&str; 8] = [
    "reporter=",
    "cluster_manager",
    "listener_manager",
    "server",
    "cluster.xds-grpc",
    "wasm",
    "component",
    "istio",
];

/// Returns the prefixes that the annotation in `istio/variants/native.yaml` adds.
fn of_native_manifest() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("istio/variants/native.yaml")).unwrap();
    let annotation = text.lines().find_map(|line| line.strip_prefix("#   proxy.istio.io/config: '")).unwrap();
    let config: Value = serde_json::from_str(annotation.trim_end_matches('\'')).unwrap();
    serde_json::from_value(config["proxyStatsMatcher"]["inclusionPrefixes"].clone()).unwrap()
}

#[test]
fn istios_proxies_report_the_metrics_of_the_filter() {
    let added = of_native_manifest();
    for (module, added, is_reported) in
        [(Shell::Wasm, &[][..], true), (Shell::Native, &[][..], false), (Shell::Native, &added[..], true)]
    {
        shell::select(module);
        let prefixes = ISTIO.iter().copied().chain(added.iter().map(String::as_str));
        let patterns: Vec<Value> = prefixes.map(|prefix| json!({ "prefix": prefix })).collect();
        let matcher = json!({ "inclusion_list": { "patterns": patterns } });
        let bootstrap = json!({ "stats_config": { "stats_matcher": matcher } });
        let node = json!({ "id": "shop", "cluster": "shop" });
        let listener = Listener { filters: &["logtracer"], ..Listener::new("inbound", json!({})) };
        // Without an exporter: port 9 is closed.
        let proxy = Proxy::start_with(node, &[listener], 9, bootstrap).unwrap();
        let name = format!("{}logtracer_requests{{}}", shell::prometheus_prefix());
        let page = proxy.envoy.prometheus().unwrap();
        assert_eq!(page.contains(&name), is_reported, "{module:?} {added:?}\n{page}");
    }
}
