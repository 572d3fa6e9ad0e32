//! Validation against the schemas of Kubernetes, Istio and the Prometheus operator.

use std::io::Write;
use std::process::{Command, Stdio};

use logtracer_harness::envoy::root;
use serde_json::Value;

/// Returns the problem of each document, if any.
pub(crate) fn problems(documents: &[Value]) -> Vec<Option<String>> {
    let packages = root().join("build/python-schemas");
    assert!(packages.is_dir(), "no {}: run scripts/python-schemas", packages.display());
    let mut python = Command::new("python3")
        .arg(root().join("tests/it/manifests/schemas.py"))
        .env("PYTHONPATH", &packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed: apt-get install python3");

    python.stdin.take().unwrap().write_all(&serde_json::to_vec(documents).unwrap()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "schemas.py ended with {}", output.status);
    let problems: Vec<_> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(problems.len(), documents.len());
    problems
}
