//! Servers of Google Cloud that accept connections and never respond.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cloud_trace::span;
use crate::harness::{Exporter, command, request, run_to_exit};

/// The kernel accepts the connections of this listener.
fn hanging() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn a_metadata_server_that_hangs_is_reported_at_the_start() {
    let (_listener, address) = hanging();
    for options in [&[][..], &["--project", "mesh-project"]] {
        let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut command = command(dir.path());
        command.args(["--sink", "cloud-trace"]).args(options).env("HOME", home.path());
        command.env_remove("GOOGLE_APPLICATION_CREDENTIALS").env_remove("GOOGLE_CLOUD_PROJECT");
        command.env("GCE_METADATA_HOST", &address);
        let start = Instant::now();
        let (code, error) = run_to_exit(command);
        assert_eq!(code, Some(1), "{error}");
        let expected = if options.is_empty() { "unknown Google Cloud project" } else { "no credentials" };
        assert!(error.contains(expected), "{error}");
        assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    }
}

#[test]
fn an_empty_path_of_credentials_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.args(["--sink", "cloud-trace", "--project", "mesh-project"]);
    command.env("GOOGLE_APPLICATION_CREDENTIALS", "");
    let (code, error) = run_to_exit(command);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("GOOGLE_APPLICATION_CREDENTIALS is empty"), "{error}");
}

/// The exporter starts with its credentials file, and the other sinks go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_endpoint_that_hangs_delays_only_its_sink() {
    let (_listener, address) = hanging();
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = home.path().join("credentials.json");
    let content = json!({
        "type": "authorized_user", "client_id": "id", "client_secret": "hush", "refresh_token": "refresh-1",
        "token_uri": format!("http://{address}/token"),
    });
    std::fs::write(&file, content.to_string()).unwrap();
    let mut command = command(dir.path());
    command.args(["--sink", "store", "--sink", "cloud-trace", "--project", "mesh-project"]);
    command.env("GOOGLE_APPLICATION_CREDENTIALS", &file);
    let mut exporter = Exporter::spawn(command);
    exporter.send(&request("shop", vec![span(1, "a")])).await;
    let stored = "logtracer_exporter_spans_delivered_total{sink=\"store\"}";
    exporter.wait_for_metric(stored, 1.).await;
    let start = Instant::now();
    let line = exporter.line("logtracer-exporter - delivery failed, retrying");
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    assert_eq!(line["sink"], "cloud-trace");
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("no complete response within 30 s"), "{error}");
}
