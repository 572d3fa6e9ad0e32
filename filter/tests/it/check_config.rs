//! Runs `logtracer-check-config`.

use std::io::Write;
use std::process::{Command, Stdio};

#[track_caller]
fn check(json: &str, exit_code: i32, expected: &str) {
    check_with(&[], json, exit_code, expected);
}

#[track_caller]
fn check_with(options: &[&str], json: &str, exit_code: i32, expected: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_logtracer-check-config"))
        .args(options)
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(json.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap().trim_end(), expected);
    assert_eq!(output.status.code(), Some(exit_code));
}

/// Rule 84.
#[test]
fn a_configuration_is_checked_without_envoy() {
    check(r#"{"project_id": "p"}"#, 0, "-: the configuration is valid");
    check(r#"{"sampling": {"rate": 2}}"#, 1, "-: sampling.rate: expected a number from 0 to 1, found 2");
    check(r#"{"exporter": {"cluster": ["a", "b"]}}"#, 0, "-: the configuration is valid");
    check(r#"{"exporter": {"cluster": []}}"#, 1, "-: exporter.cluster: expected 1 to 16 names, found 0");
}

#[test]
fn what_the_native_module_demands_is_checked() {
    const VALID: &str = "-: the configuration is valid";
    const NO_NAME: &str = "-: service_name: missing, expected the name of the service, because a native module cannot \
                           read the node of its Envoy, and Envoy's environment has no OTEL_SERVICE_NAME";
    const NO_KIND: &str = "-: span_kind: expected server or client, because a native module cannot read the direction \
                           of its listener before Envoy 1.40";
    let named = r#"{"service_name": "shop"}"#;
    check(named, 0, VALID);
    check_with(&["--native"], "{}", 1, NO_NAME);
    check_with(&["--native"], named, 1, NO_KIND);
    check_with(&["--native"], r#"{"service_name": "shop", "span_kind": "auto"}"#, 1, NO_KIND);
    check_with(&["--native"], r#"{"service_name": "shop", "span_kind": "client"}"#, 0, VALID);
    check_with(&["--native=1.38"], named, 1, NO_KIND);
    check_with(&["--native=1.39.3"], named, 1, NO_KIND);
    check_with(&["--native=1.40.0"], named, 0, VALID);
    check_with(
        &["--native=1.40"],
        r#"{"sampling": {"rate": 2}}"#,
        1,
        "-: sampling.rate: expected a number from 0 to 1, found 2",
    );
}

#[test]
fn other_options_are_rejected() {
    for options in [&["--native=2"][..], &["--nativ", "-"], &["--native=1.x", "-"], &["--native"], &[]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_logtracer-check-config")).args(options).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with("usage: "), "{options:?}: {stderr}");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn a_missing_file_is_named() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_logtracer-check-config")).arg("/nowhere.json").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("/nowhere.json: No such file"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}
