//! Configurations that Envoy accepts and rejects.

use std::net::SocketAddr;

use logtracer_demo::mesh;
use logtracer_harness::hop::{Hop, Options};
use logtracer_harness::shell::{self, Shell};
use logtracer_harness::{envoy, hop};
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
fn the_reference_of_the_native_module_is_accepted() {
    shell::select(Shell::Native);
    check_accepted(&std::fs::read_to_string(envoy::root().join("envoy/native.yaml")).unwrap());
}

#[test]
fn the_mesh_is_accepted() {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let ports = mesh::Ports::reserve().unwrap();
    check_accepted(&mesh::configuration(&ports, anywhere, anywhere, anywhere).unwrap());
}

/// `failure_policy` is new in Envoy 1.33, and older versions reject unknown fields.
#[test]
fn every_filter_fails_open_with_a_field_that_all_envoys_know() {
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
fn an_invalid_configuration_stops_envoy() {
    check_rejected(json!({ "projct_id": "p" }), &["projct_id"]);
    check_rejected(json!({ "project_id": 7 }), &["project_id"]);
    check_rejected(json!({ "log_format": "xml" }), &["log_format", "stackdriver"]);
    check_rejected(json!({ "propagation": { "extract": ["b4"] } }), &["propagation.extract", "b3multi"]);
    check_rejected(json!({ "sampling": { "rate": 2 } }), &["sampling.rate"]);
    check_rejected(json!({ "sampling": { "rte": 1 } }), &["sampling.rte"]);
    check_rejected(
        json!({ "exporter": { "cluster": "c", "flush_interval": "soon" } }),
        &["exporter.flush_interval"],
    );
    check_rejected(json!([1]), &["object"]);
}

#[track_caller]
fn check_rejected(filter: Value, words: &[&str]) {
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
