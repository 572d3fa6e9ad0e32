//! The dashboard for Grafana, without its queries, which [`super::live`] evaluates.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{files, text};
use crate::manifests::documents::{build, folder, one};

/// Returns the dashboard.
pub(super) fn dashboard() -> Value {
    let text = fs::read_to_string(files().join("dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Returns its panels without the rows.
pub(super) fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

#[test]
fn panels_have_their_place_and_the_chosen_data_source() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(variables, ["datasource", "namespace", "pod", "exporter"]);

    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: not a new id");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{title}");
        for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line))) {
            assert!(taken.insert(cell), "{title} covers another panel");
        }
    }
    for panel in panels(&dashboard) {
        let targets = panel["targets"].as_array().unwrap();
        let of_targets = targets.iter().map(|target| &target["datasource"]["uid"]);
        for source in of_targets.chain([&panel["datasource"]["uid"]]) {
            assert_eq!(*source, "${datasource}", "{}", text(panel, "title"));
        }
    }
}

/// `kubectl apply -k istio/monitoring` creates the ConfigMap in which Grafana's sidecar finds the dashboard.
#[test]
fn the_config_map_has_the_dashboard() {
    let documents = build(&folder().join("monitoring")).unwrap();
    let map = one(&documents, "ConfigMap", "logtracer-dashboard");
    assert_eq!(serde_json::from_str::<Value>(text(&map["data"], "logtracer.json")).unwrap(), dashboard());
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
}
