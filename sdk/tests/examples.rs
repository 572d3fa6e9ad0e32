//! The examples, run as a reader would run them.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// Runs an example that was built with the tests, and reads its lines.
fn lines_of(example: &str) -> Vec<Value> {
    let test = std::env::current_exe().unwrap();
    let built: PathBuf = test.parent().unwrap().parent().unwrap().join("examples").join(example);
    let output = Command::new(&built)
        .env_remove("RUST_LOG")
        .env_remove("LOG_LEVEL")
        .env_remove("LOGGING_FORMAT")
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{example}: {stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn find<'l>(lines: &'l [Value], message: &str) -> &'l Value {
    let found = lines.iter().find(|line| line["message"].as_str().unwrap().starts_with(message));
    found.unwrap_or_else(|| panic!("no {message:?} in {lines:#?}"))
}

#[test]
fn axum() {
    let lines = lines_of("axum");
    let trace = "projects/my-project/traces/463ac35c9f6413ad48485a3953bb6124";
    assert!(lines.iter().all(|line| line["logging.googleapis.com/trace"] == trace), "{lines:#?}");
    assert_eq!(find(&lines, "shop - looking up")["user"], 7);
    let report = find(&lines, "shop - no database");
    assert_eq!(
        (&report["error"], &report["serviceContext"]["service"]),
        (&"connection refused".into(), &"shop".into())
    );
    assert_eq!(find(&lines, "shop - panicked: on purpose")["severity"], "ERROR");
    let requests: Vec<_> = lines.iter().filter(|line| line.get("httpRequest").is_some()).collect();
    let statuses: Vec<_> =
        requests.iter().map(|line| line["httpRequest"]["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 500, 400, 500]);
    assert!(!format!("{lines:?}").contains("secret"));
}

#[test]
fn tonic() {
    let lines = lines_of("tonic");
    let buying = find(&lines, "shop - buying");
    let received = find(&lines, "shop - /demo.Shop/Buy - received gRPC call");
    assert_eq!(
        (&received["request"], &received["trace"]),
        (&"item: \"bread\" card: REDACTED".into(), &buying["trace"])
    );
    assert!(!format!("{lines:?}").contains("4111"));
    assert_eq!(find(&lines, "shop - /demo.Shop/Buy - NOT_FOUND")["severity"], "WARNING");
    assert_eq!(find(&lines, "shop - /demo.Shop/Buy - outbound")["trace"], buying["trace"]);
}

#[test]
fn mixed() {
    let lines = lines_of("mixed");
    for message in [
        "shop - OUTBOUND GET",
        "shop - one less",
        "shop - /demo.Shop/Buy - OK",
        "shop - GET - ",
        "shop - 200 OK",
    ] {
        assert_eq!(find(&lines, message)["trace"], lines[0]["trace"], "{message}");
    }
}

#[test]
fn worker() {
    let lines = lines_of("worker");
    assert_eq!(lines.len(), 10, "{lines:#?}");
    let (first, second) = lines.split_at(5);
    assert!(first.iter().all(|line| line["trace"] == first[0]["trace"]));
    assert!(second.iter().all(|line| line["trace"] == second[0]["trace"]));
    assert_ne!(first[0]["trace"], second[0]["trace"]);
    find(first, "worker - 42 rows, told by");
}
