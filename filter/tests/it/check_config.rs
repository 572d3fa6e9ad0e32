//! Runs `logtracer-check-config`.

use std::io::Write;
use std::process::{Command, Stdio};

#[track_caller]
fn check(json: &str, exit_code: i32, expected: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_logtracer-check-config"))
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
}

#[test]
fn a_missing_file_is_named() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_logtracer-check-config")).arg("/nowhere.json").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("/nowhere.json: No such file"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}
