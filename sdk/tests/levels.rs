//! Levels in environment variables. Each case is a process.

use std::process::Command;

use logtracer_sdk::{Format, Logging, Project};
use serde_json::Value;

const IS_SERVICE: &str = "LOGTRACER_TEST_SERVICE";

/// Logs at each level, and returns the messages.
#[track_caller]
fn check(variables: &[(&str, &str)], expected: &[&str]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "levels_of_the_environment", "--nocapture", "--test-threads=2"]);
    command.env(IS_SERVICE, "1").env_remove("RUST_LOG").env_remove("LOG_LEVEL");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, expected, "{variables:?}: {text}");
    let is_warning = |line: &Value| line["severity"] == "WARNING";
    let warnings = lines.iter().filter(|line| line["message"].as_str().unwrap().contains("ignored"));
    assert!(warnings.clone().all(is_warning), "{text}");
}

#[test]
fn levels_of_the_environment() {
    if std::env::var_os(IS_SERVICE).is_some() {
        Logging::new(Project::none(), "shop").format(Format::Local).level("info").install().unwrap();
        tracing::error!("error");
        tracing::info!("info");
        tracing::debug!("debug");
        std::process::exit(0);
    }
    check(&[], &["shop - error", "shop - info"]);
    check(&[("LOG_LEVEL", "debug ")], &["shop - error", "shop - info", "shop - debug"]);
    check(&[("RUST_LOG", " error\n"), ("LOG_LEVEL", "debug")], &["shop - error"]);
    check(&[("RUST_LOG", "  ")], &["shop - error", "shop - info"]);
    let inof = "\"inof\" is not a level (off, error, warn, info, debug or trace); a target has one, as in \"inof=trace\"";
    check(
        &[("LOG_LEVEL", "inof")],
        &[&format!("shop - ignored LOG_LEVEL: {inof}"), "shop - error", "shop - info"],
    );
    check(
        &[("RUST_LOG", "shop="), ("LOG_LEVEL", "error")],
        &[
            "shop - ignored RUST_LOG: \"\" is not a level (off, error, warn, info, debug or trace) in \"shop=\"",
            "shop - error",
        ],
    );
}
