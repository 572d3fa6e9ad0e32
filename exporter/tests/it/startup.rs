//! Starting: what keeps the exporter from it is told in one line that names the culprit.

use std::net::TcpListener;
use std::process::Command;

use crate::harness::{Exporter, command, ends};

#[tokio::test]
async fn health_and_readiness() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    for path in ["/healthz", "/readyz"] {
        let response = exporter.get(path).await;
        assert_eq!(
            (response.status().as_u16(), response.text().await.unwrap().as_str()),
            (200, "ok"),
            "{path}"
        );
    }
    assert!(
        exporter.get("/metrics").await.text().await.unwrap().contains("logtracer_exporter_outbox_bytes 0")
    );
}

#[test]
fn an_unknown_sink_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.args(["--sink", "kafka"]);
    let (code, stderr) = ends(command);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("for '--sink <NAME>': there is no sink \"kafka\"; what exists: store"),
        "{stderr}"
    );
}

#[test]
fn a_password_is_not_repeated() {
    for place in ["option", "environment"] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = command(dir.path());
        match place {
            "option" => command.args(["--sink", "otlp=grpc://me:secret@tempo:4317"]),
            _ => command.env("LOGTRACER_SINK", "otlp=grpc://me:secret@tempo:4317"),
        };
        let (code, stderr) = ends(command);
        assert_eq!(code, Some(2), "{place}");
        assert!(stderr.contains("a URL with a user is for http and https"), "{place}: {stderr}");
        assert!(!stderr.contains("secret"), "{place}: {stderr}");
    }
}

#[test]
fn headers_for_one_receiver_go_to_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret");
    command.args(["--sink", "otlp=http://one.example:4318", "--sink", "otlp=grpc://other.example:4317"]);
    let (code, stderr) = ends(command);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("would go to one.example and to other.example"), "{stderr}");
    assert!(!stderr.contains("secret"), "{stderr}");
}

#[test]
fn bad_values_are_refused_with_what_was_expected() {
    for (option, value, expected) in [
        ("--http", "localhost", "expected an IP address and a port"),
        ("--retention-age", "72", "expected a time above zero with its unit"),
        ("--outbox-max-bytes", "much", "expected a size above zero"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_logtracer-exporter"));
        command.arg("--data-dir").arg(dir.path()).args([option, value]);
        let (code, stderr) = ends(command);
        assert_eq!(code, Some(2));
        assert!(stderr.contains(option) && stderr.contains(value) && stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn options_come_from_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.env("LOGTRACER_SINK", "pigeon");
    let (code, stderr) = ends(command);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("there is no sink \"pigeon\""), "{stderr}");
}

#[test]
fn an_address_in_use_is_named_with_its_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let all = ["--http", "--grpc", "--view"];
    for option in all {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_logtracer-exporter"));
        command.arg("--data-dir").arg(dir.path()).args([option, &address]);
        for other in all.into_iter().filter(|other| *other != option) {
            command.args([other, "127.0.0.1:0"]);
        }
        let (code, stderr) = ends(command);
        assert_eq!(code, Some(1));
        let expected = format!("cannot listen on {address} ({option}): Address already in use");
        assert!(stderr.starts_with(&expected), "{stderr}");
    }
}

#[test]
fn two_exporters_do_not_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Exporter::start(dir.path());
    let (code, stderr) = ends(command(dir.path()));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("is in use by another exporter (--data-dir)"), "{stderr}");
}

#[test]
fn the_same_sink_twice_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.args(["--sink", "store", "--sink", "store"]);
    assert_eq!(ends(command), (Some(1), "--sink store is given twice".to_owned()));
}
