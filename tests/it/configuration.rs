//! What Envoy takes as a configuration, and what it refuses.

use std::net::SocketAddr;

use logtracer_tests::hop::{Hop, Options};
use logtracer_tests::{envoy, hop, mesh};
use serde_json::{Value, json};

use crate::NONE;

#[track_caller]
fn check_accepted(config: &str) {
    let dir = tempfile::tempdir().unwrap();
    let output = envoy::validate(config, dir.path()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_reference_is_accepted() {
    let reference = std::fs::read_to_string(envoy::root().join("envoy/envoy.yaml")).unwrap();
    let plugin = envoy::plugin().unwrap().display().to_string();
    assert!(reference.contains("build/plugin.wasm"));
    check_accepted(&reference.replace("build/plugin.wasm", &plugin));
}

#[test]
fn the_mesh_is_accepted() {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let ports = mesh::Ports::reserve().unwrap();
    check_accepted(&mesh::configuration(&ports, anywhere, anywhere, anywhere).unwrap());
}

/// `failure_policy` came with Envoy 1.33; the oldest one refuses a field that it does not know.
#[test]
fn every_filter_lets_requests_pass_by_a_field_that_all_envoys_know() {
    for file in ["envoy/envoy.yaml", "envoy/mesh.yaml", "istio/variants/envoyfilter.yaml"] {
        let text = std::fs::read_to_string(envoy::root().join(file)).unwrap();
        let count = |field: &str| text.lines().filter(|line| line.trim_start().starts_with(field)).count();
        assert_eq!(
            count("fail_open: true"),
            text.matches("extensions.filters.http.wasm.v3.Wasm").count(),
            "{file}"
        );
        assert_eq!(count("failure_policy"), 0, "{file}");
    }
}

#[test]
fn no_configuration_works() {
    let hop = Hop::with(Options::default()).unwrap();
    assert_eq!(hop.get("/echo", NONE).unwrap().status(), 200);

    let line = &hop.envoy.lines(1).unwrap()[0];
    assert_eq!(line["httpRequest"]["status"], 200);
    assert!(line["message"].as_str().unwrap().starts_with("hop-cluster - GET - "), "{line}");
}

#[test]
fn a_mistake_stops_envoy_and_is_named() {
    check_refused(json!({ "projct_id": "p" }), &["projct_id"]);
    check_refused(json!({ "project_id": 7 }), &["project_id"]);
    check_refused(json!({ "log_format": "xml" }), &["log_format", "stackdriver"]);
    check_refused(json!({ "propagation": { "extract": ["b4"] } }), &["propagation.extract", "b3multi"]);
    check_refused(json!({ "sampling": { "rate": 2 } }), &["sampling.rate"]);
    check_refused(json!({ "sampling": { "rte": 1 } }), &["sampling.rte"]);
    check_refused(
        json!({ "exporter": { "cluster": "c", "flush_interval": "soon" } }),
        &["exporter.flush_interval"],
    );
    check_refused(json!([1]), &["object"]);
}

#[track_caller]
fn check_refused(filter: Value, words: &[&str]) {
    let options = Options { filter: Some(filter), ..Options::default() };
    let config = hop::configuration(&options, 1, 2, 3).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let output = envoy::validate(&config, dir.path()).unwrap();

    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "accepted: {:?}", options.filter);
    for word in words {
        assert!(errors.contains(word), "no {word} in: {errors}");
    }
}
