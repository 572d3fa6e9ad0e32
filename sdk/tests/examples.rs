//! The examples, run as a reader runs them.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Returns the command of an example, which is built with the tests.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let built: PathBuf = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    let mut command = Command::new(built);
    for variable in ["RUST_LOG", "LOG_LEVEL", "LOGGING_FORMAT", "RUST_BACKTRACE"] {
        command.env_remove(variable);
    }
    command
}

fn stdout_of(name: &str) -> String {
    let output = example(name).output().unwrap_or_else(|error| panic!("{name}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{name}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs an example and parses its lines.
fn lines_of(name: &str) -> Vec<Value> {
    stdout_of(name)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
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
    find(first, "worker - 42 rows, logged by");
}

/// The producer and the consumer of a message are in one trace; a batch and each run of a job have their own.
#[test]
fn queue() {
    let lines = lines_of("queue");
    let with = |message: &str| -> Vec<_> {
        let has_it = |line: &&Value| line["message"].as_str().unwrap() == format!("shop - {message}");
        lines.iter().filter(has_it).collect()
    };
    let ids = |line: &Value| (line["trace"].clone(), line["spanId"].clone(), line["item"].clone());
    let (ordered, packed) = (with("ordered"), with("packed"));
    let (billed, reported) = (with("billed"), with("reported"));
    assert_eq!((ordered.len(), packed.len(), billed.len(), reported.len()), (3, 1, 1, 2), "{lines:#?}");
    assert_eq!(lines.len(), 7);
    assert_eq!(ids(packed[0]), ids(ordered[0]));
    assert_eq!(billed[0]["orders"], 2);
    let mut traces: Vec<_> =
        ordered.iter().chain(&billed).chain(&reported).map(|line| &line["trace"]).collect();
    traces.sort_by_key(|trace| trace.to_string());
    traces.dedup();
    assert_eq!(traces.len(), 6);
}

/// Every line in the README is printed, except for times, ids, ports and line numbers.
#[test]
fn the_lines_in_the_readme_are_printed() {
    let readme = include_str!("../README.md");
    let mut compared = 0;
    for name in ["axum", "tonic", "mixed", "worker"] {
        let heading = format!("`cargo run -p logtracer-sdk --example {name}`");
        let (_, section) = readme.split_once(&heading).unwrap_or_else(|| panic!("no {heading}"));
        let (_, block) = section.split_once("```json\n").unwrap();
        let (block, _) = block.split_once("```").unwrap();
        let printed: Vec<_> = stdout_of(name).lines().map(masked).collect();
        for line in block.lines() {
            assert!(printed.contains(&masked(line)), "{name} does not print {line}\n{printed:#?}");
            compared += 1;
        }
    }
    assert!(compared > 12, "{compared}");
}

/// Masks decimal numbers and hexadecimal ids, which differ in every run.
fn masked(line: &str) -> String {
    let mut masked = String::new();
    for word in line.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let is_number = word.contains(|c: char| c.is_ascii_digit());
        masked += if is_number { "#" } else { word };
        masked += if is_number { word.trim_start_matches(|c: char| c.is_ascii_alphanumeric()) } else { "" };
    }
    masked
}

/// A line is one write: it arrives as one datagram.
#[test]
fn one_write_for_a_line() {
    for name in ["tonic", "axum"] {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let mut child = example(name)
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        ours.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut buffer = vec![0; 1 << 17];
        let mut written = vec![];
        loop {
            // Checked first, so that the last lines are read.
            let has_ended = child.try_wait().unwrap().is_some();
            match ours.recv(&mut buffer) {
                Ok(0) | Err(_) if has_ended => break,
                Ok(length) => written.push(String::from_utf8(buffer[..length].to_vec()).unwrap()),
                Err(_) => {}
            }
        }
        assert!(written.len() > 5, "{written:?}");
        for line in written {
            let json = line.strip_suffix('\n').unwrap_or_else(|| panic!("{line:?} is not a whole line"));
            let value: Value = serde_json::from_str(json).unwrap_or_else(|_| panic!("{line:?}"));
            assert!(value.is_object());
        }
    }
}

/// The environment sets the level and the format of a program that sets none.
#[test]
fn the_environment_of_a_program() {
    let lines_with = |variables: &[(&str, &str)]| -> Vec<Value> {
        let output = example("axum").envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let severities = |lines: &[Value]| {
        let mut severities: Vec<_> =
            lines.iter().map(|line| line["severity"].as_str().unwrap().to_owned()).collect();
        severities.sort();
        severities.dedup();
        severities
    };
    let all = ["ERROR", "INFO", "WARNING"];
    assert_eq!(severities(&lines_with(&[])), all);
    for (variables, expected) in [
        (&[("RUST_LOG", "error")][..], &all[..1]),
        (&[("LOG_LEVEL", "WARNING")], &["ERROR", "WARNING"]),
        (&[("LOG_LEVEL", "CRITICAL")], &all[..1]),
        // The first variable that is set and not empty wins.
        (&[("RUST_LOG", ""), ("LOG_LEVEL", "error")], &all[..1]),
        (&[("RUST_LOG", "info"), ("LOG_LEVEL", "error")], &all),
    ] {
        assert_eq!(severities(&lines_with(variables)), expected, "{variables:?}");
    }
    let trace = "463ac35c9f6413ad48485a3953bb6124";
    assert!(lines_with(&[("LOGGING_FORMAT", "local")]).iter().all(|line| line["trace"] == trace));
    let named = format!("projects/my-project/traces/{trace}");
    let lines = lines_with(&[("LOGGING_FORMAT", "stackdriver")]);
    assert!(lines.iter().all(|line| line["logging.googleapis.com/trace"] == named));
    let wrong = example("axum").env("LOGGING_FORMAT", "json").output().unwrap();
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("LOGGING_FORMAT"));

    // With `RUST_BACKTRACE` the line has a stack trace.
    let lines = lines_with(&[("RUST_BACKTRACE", "1")]);
    let panicked = find(&lines, "shop - panicked: on purpose");
    let stack_trace = panicked["stack_trace"].as_str().unwrap();
    assert!(stack_trace.contains("on purpose") && stack_trace.contains("axum::"), "{stack_trace}");
}
