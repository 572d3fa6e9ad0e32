//! `logtracer-check-config`, as it is run.

use std::io::Write;
use std::process::{Command, Stdio};

#[track_caller]
fn check(json: &str, code: i32, said: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_logtracer-check-config"))
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(json.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap().trim_end(), said);
    assert_eq!(output.status.code(), Some(code));
}

/// Rule 84.
#[test]
fn a_configuration_is_told_right_from_wrong() {
    check(r#"{"project_id": "p"}"#, 0, "-: the filter takes this configuration");
    check(r#"{"sampling": {"rate": 2}}"#, 1, "-: sampling.rate: expected a number from 0 to 1, found 2");
}

#[test]
fn a_missing_file_is_named() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_logtracer-check-config")).arg("/nowhere.json").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("/nowhere.json: No such file"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}
