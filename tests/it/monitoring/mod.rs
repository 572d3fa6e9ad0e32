//! What an operator watches: the alerts and the dashboard in `charts/logtracer/files/`, with a real Prometheus.

mod dashboard;
mod live;
mod proxies;
mod rules;

use std::collections::BTreeSet;
use std::path::PathBuf;

use logtracer_harness::envoy::root;
use serde_json::Value;

use crate::manifests::documents::read;

/// The files that the Helm chart and `istio/monitoring/` share.
fn files() -> PathBuf {
    root().join("charts/logtracer/files")
}

/// Returns the rules of all groups, in order.
fn rules() -> Vec<Value> {
    let groups = read(&files().join("alerts.yaml")).remove(0)["groups"].take();
    groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Returns the names of the metrics in an expression, except those of recording rules.
fn metrics(expression: &str) -> BTreeSet<&str> {
    let names = expression.split(|c: char| !c.is_ascii_alphanumeric() && !"_:".contains(c));
    let prefixes = ["logtracer_", "envoy_", "istio_"];
    names
        // A label that envoy_http_downstream_rq_total has.
        .filter(|name| *name != "envoy_http_conn_manager_prefix")
        .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

#[track_caller]
fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or_else(|| panic!("no {key} in {of}"))
}
