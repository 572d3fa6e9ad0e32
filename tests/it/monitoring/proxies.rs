//! Istio's proxies report only metrics with certain prefixes.

use logtracer_harness::envoy::root;
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::shell::{self, Shell};
use serde_json::{Value, json};

use super::dashboard::{dashboard, panels};
use super::{metrics, rules, text};
use crate::manifests::documents::{build, folder, read};

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

/// On GKE, what the alerts and the dashboard read of the proxies is collected, and nothing is collected in vain.
#[test]
fn managed_prometheus_collects_what_is_read() {
    let monitoring = read(&folder().join("monitoring/gke/clusterpodmonitoring.yaml")).remove(0);
    let endpoint = &monitoring["spec"]["endpoints"][0];
    let kept = &endpoint["metricRelabeling"][0];
    assert_eq!((&kept["action"], &kept["sourceLabels"]), (&json!("keep"), &json!(["__name__"])));
    let alternatives: Vec<&str> = text(kept, "regex").split('|').collect();
    let is_kept = |name: &str| {
        let matches =
            |of: &&str| of.strip_suffix(".*").map_or(name == *of, |prefix| name.starts_with(prefix));
        alternatives.iter().any(matches)
    };
    let dashboard = dashboard();
    let targets = panels(&dashboard).flat_map(|panel| panel["targets"].as_array().unwrap());
    let rules = rules();
    let queries = targets.chain(&rules).map(|it| text(it, "expr"));
    let mut found = 0;
    for name in queries.flat_map(metrics) {
        // Istio's proxies do not report it by default.
        if !name.starts_with("logtracer_exporter_") && name != "envoy_http_downstream_rq_total" {
            assert!(is_kept(name), "{name}");
            found += 1;
        }
    }
    assert!(found > 20, "{found}");
    assert!(!is_kept("istio_request_bytes_bucket"));
}

/// The overlay of the README limits the alert, and nothing else.
#[test]
fn the_overlay_limits_the_alert_to_namespaces() {
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let example = readme.split("```yaml\n").nth(2).and_then(|rest| rest.split("```").next()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(folder().join("monitoring"), dir.path().join("monitoring")).unwrap();
    let own = dir.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("kustomization.yaml"), example).unwrap();
    let limited = build(&own).unwrap();
    let mut expected = build(&folder().join("monitoring")).unwrap();
    let rule = expected.iter_mut().find(|it| it["kind"] == "PrometheusRule").unwrap();
    let expr = &mut rule["spec"]["groups"][0]["rules"][10]["expr"];
    let of_all = "logtracer:proxy_requests:rate5m > 0";
    let of_some = "logtracer:proxy_requests:rate5m{namespace=~\"shop|orders\"} > 0";
    *expr = json!(expr.as_str().unwrap().replace(of_all, of_some));
    assert_eq!(limited, expected);
}
