//! The rules: Prometheus accepts them, they fire when they should, and the documents explain them.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use logtracer_harness::envoy::root;

use super::{files, metrics, rules, text};
use crate::manifests::documents::{folder, read};

fn promtool(arguments: &[&str]) -> String {
    let output = Command::new("promtool").current_dir(root()).args(arguments).output();
    let output = output.unwrap_or_else(|cause| {
        panic!("cannot run promtool ({cause}); run scripts/need promtool prometheus prometheus")
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}:\n{printed}");
    printed
}

#[test]
fn the_rules_are_valid_and_fire_when_they_should() {
    let checked = promtool(&["check", "rules", "charts/logtracer/files/alerts.yaml"]);
    assert!(checked.contains(&format!("{} rules found", rules().len())), "{checked}");
    promtool(&["test", "rules", "tests/it/monitoring/alerts_test.yaml"]);
}

/// Each alert has a test in which it fires, and one in which it does not.
#[test]
fn every_alert_is_tested() {
    let tests = read(&root().join("tests/it/monitoring/alerts_test.yaml")).remove(0)["tests"].take();
    let evaluations: Vec<(String, bool)> = tests
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|test| test["promql_expr_test"].as_array())
        .flatten()
        .map(|it| (text(it, "expr").to_owned(), it["exp_samples"].as_array().unwrap().is_empty()))
        .collect();
    for alert in rules().iter().filter_map(|rule| rule["alert"].as_str()) {
        let of_alert = format!("alertname=\"{alert}\", alertstate=\"firing\"");
        for is_silent in [true, false] {
            let is_tested =
                |(expr, is_empty): &(String, bool)| *is_empty == is_silent && expr.contains(&of_alert);
            assert!(evaluations.iter().any(is_tested), "{alert}: no test with is_silent = {is_silent}");
        }
    }
}

#[test]
fn the_objects_of_kubernetes_have_the_same_rules() {
    let groups = &read(&files().join("alerts.yaml"))[0]["groups"];
    for (file, kind) in [("prometheusrule.yaml", "PrometheusRule"), ("gke/clusterrules.yaml", "ClusterRules")]
    {
        let documents = read(&folder().join("monitoring").join(file));
        assert_eq!((documents.len(), text(&documents[0], "kind")), (1, kind));
        assert_eq!(documents[0]["spec"]["groups"], *groups, "{file}: run scripts/alert-rules");
    }
}

/// docs/operations.md has a heading for each alert, to which its `runbook_url` leads, and no other.
#[test]
fn every_alert_is_explained() {
    const OPERATIONS: &str = "https://github.com/logtracer/logtracer/blob/main/docs/operations.md#";
    let mut names = Vec::new();
    for rule in rules() {
        let Some(name) = rule["alert"].as_str() else {
            assert!(text(&rule, "record").starts_with("logtracer:"), "{rule}");
            continue;
        };
        assert!(["info", "warning", "critical"].contains(&text(&rule["labels"], "severity")), "{name}");
        let notes = &rule["annotations"];
        assert!(text(notes, "summary").ends_with('.') && text(notes, "description").ends_with('.'), "{name}");
        assert_eq!(text(notes, "runbook_url"), format!("{OPERATIONS}{}", name.to_lowercase()));
        names.push(name.to_owned());
    }
    assert!(names.len() >= 20, "{names:?}");

    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, section) = operations.split_once("\n## Alerts\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let explained: Vec<&str> =
        section.lines().filter_map(|line| line.strip_prefix("### Logtracer")).collect();
    let names: Vec<&str> = names.iter().map(|name| name.strip_prefix("Logtracer").unwrap()).collect();
    assert_eq!(explained, names);
}

/// Other tests compare the tables of the documents with the filter and the exporter.
#[test]
fn rules_use_documented_metrics() {
    let mut documented = BTreeSet::from(["istio_requests_total", "envoy_http_downstream_rq_total"]);
    let pages =
        ["docs/metrics.md", "docs/exporter.md"].map(|page| fs::read_to_string(root().join(page)).unwrap());
    for page in &pages {
        let names = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        documented.extend(names.filter(|name| name.starts_with("logtracer_")));
    }
    for rule in rules() {
        for name in metrics(text(&rule, "expr")) {
            let name = name.strip_prefix("envoy_dynamicmodulescustom_").unwrap_or(name);
            assert!(documented.contains(name), "{name} is not documented: {rule}");
        }
    }
}
