//! Third-party clients: OpenTelemetry's exporters for Python.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Exporter, command};

const TOKEN: &str = "s3cret";

/// Runs `clients.py`. Returns the id of the trace that it sent.
fn send(protocol: &str, endpoint: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = root.join("../build/python-clients");
    assert!(packages.is_dir(), "{} is absent: run scripts/python-clients", packages.display());
    let output = Command::new("python3")
        .arg(root.join("tests/it/clients.py"))
        .args([protocol, endpoint, TOKEN])
        .env("PYTHONPATH", packages)
        .output()
        .expect("python3 is required: apt-get install python3");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(!stderr.contains("Failed to export"), "{stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opentelemetry_exporters_for_python_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let mut command = command(&dir.path().join("data"));
    command.arg("--token-file").arg(&token);
    let exporter = Exporter::spawn(command);
    for (protocol, endpoint, logs) in [
        ("http", &exporter.http, 1),
        ("http-gzip", &exporter.http, 1),
        ("grpc", &exporter.grpc, 1),
        ("grpc-gzip", &exporter.grpc, 1),
        ("zipkin", &exporter.http, 0),
    ] {
        let id = send(protocol, endpoint);
        let trace = exporter.trace(&id, 100, logs).await;
        let spans = trace["spans"].as_array().unwrap();
        let root = &spans[0];
        assert_eq!((&root["name"], &root["kind"]), (&"GET /basket".into(), &"server".into()));
        assert_eq!(root["service_name"], format!("python {protocol}"));
        assert_eq!(root["attributes"]["http.request.method"], "GET");
        assert_eq!(root["scope"], "clients");
        let is_child = |span: &&Value| span["parent_span_id"] == root["span_id"];
        assert_eq!(spans.iter().filter(is_child).count(), 99);
        let failed: Vec<&Value> = spans.iter().filter(|span| span["status"]["code"] == "error").collect();
        assert_eq!(failed.len(), 1, "{protocol}");
        assert_eq!(failed[0]["name"], "query 42");
        assert_eq!(failed[0]["status"]["message"], "no such table");
        assert!(failed[0]["events"][0]["name"].as_str().unwrap().contains("sent"), "{protocol}");
        if logs > 0 {
            assert_eq!(trace["logs"][0]["message"], "basket is empty");
            assert_eq!(trace["logs"][0]["severity"], "WARNING");
            assert_eq!(trace["logs"][0]["span_id"], root["span_id"]);
        }
    }
}
