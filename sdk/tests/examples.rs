//! The examples, run as a reader runs them.
//!
//! `tests/examples/` holds what they print. Set `UPDATE_EXPECT=1` to write it again.

#[path = "../examples/services/received.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the examples")]
mod received;

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use expect_test::expect_file;
use serde_json::Value;

use received::Received;

const EXAMPLES: [&str; 5] = ["axum", "tonic", "mixed", "worker", "queue"];
const FORMATS: [&str; 2] = ["stackdriver", "local"];

/// Returns the command of an example, which is built with the tests.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let built: PathBuf = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    let mut command = Command::new(built);
    let variables =
        ["RUST_LOG", "LOG_LEVEL", "LOGGING_FORMAT", "RUST_BACKTRACE", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    for variable in variables {
        command.env_remove(variable);
    }
    command
}

/// Returns stdout and stderr of an example.
fn output_of(name: &str, variables: &[(&str, &str)]) -> (String, String) {
    let output = example(name).envs(variables.iter().copied()).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{name}: {stderr}");
    (String::from_utf8(output.stdout).unwrap(), stderr)
}

fn parse(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// Each example prints its lines in both formats, and its spans.
#[test]
fn lines_and_spans() {
    for name in EXAMPLES {
        for format in FORMATS {
            let (lines, spans) = output_of(name, &[("LOGGING_FORMAT", format)]);
            expect_file![format!("examples/{name}.{format}.jsonl")].assert_eq(&normalized(&lines));
            expect_file![format!("examples/{name}.spans.txt")]
                .assert_eq(&without_durations(spans.trim_start()));
        }
    }
}

/// An exporter gets the same spans, and each line belongs to one of them.
#[test]
fn spans_are_sent_to_an_exporter() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for name in EXAMPLES {
        let received = Received::default();
        let endpoint = runtime.block_on(received.serve()).unwrap();
        let (lines, stderr) = output_of(name, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
        assert_eq!(stderr, format!("\nThe spans are at {endpoint}\n"));
        expect_file![format!("examples/{name}.spans.txt")].assert_eq(&without_durations(&received.tree()));

        let spans = received.span_ids();
        for line in parse(&lines) {
            assert_eq!(line["logging.googleapis.com/trace_sampled"], true, "{line}");
            let span = line["logging.googleapis.com/spanId"].as_str().unwrap();
            assert!(spans.iter().any(|id| id == span), "{name}: no span of {line}");
        }
    }
}

/// The producer and the consumer of a message are in one trace; a batch and each run of a job have their own.
#[test]
fn queue() {
    let lines = parse(&output_of("queue", &[("LOGGING_FORMAT", "local")]).0);
    let with = |message: &str| -> Vec<_> {
        let has_it = |line: &&Value| line["message"].as_str().unwrap() == format!("shop - {message}");
        lines.iter().filter(has_it).collect()
    };
    let order = |line: &Value| (line["trace"].clone(), line["item"].clone());
    let (ordered, packed) = (with("ordered"), with("packed"));
    let (billed, reported) = (with("billed"), with("reported"));
    assert_eq!((ordered.len(), packed.len(), billed.len(), reported.len()), (3, 1, 1, 2), "{lines:#?}");
    assert_eq!(lines.len(), 7);
    assert_eq!(order(packed[0]), order(ordered[0]));
    assert_ne!(packed[0]["spanId"], ordered[0]["spanId"]);
    assert_eq!(billed[0]["orders"], 2);
    let mut traces: Vec<_> =
        ordered.iter().chain(&billed).chain(&reported).map(|line| &line["trace"]).collect();
    traces.sort_by_key(|trace| trace.to_string());
    traces.dedup();
    assert_eq!(traces.len(), 6);
}

/// Sorts the lines by trace and service, because those of several processes have no order, and masks what differs in
/// each run.
fn normalized(lines: &str) -> String {
    let mut lines: Vec<(Value, String)> =
        lines.lines().map(|line| (serde_json::from_str(line).unwrap(), line.to_owned())).collect();
    lines.sort_by_key(|(line, _)| line["time"].as_str().unwrap().to_owned());
    let mut traces: Vec<String> = Vec::new();
    let of = |line: &Value, keys: [&str; 2]| {
        let value = keys.iter().find_map(|key| line[key].as_str()).unwrap_or_default();
        value.rsplit('/').next().unwrap().to_owned()
    };
    let trace_of = |line: &Value| of(line, ["trace", "logging.googleapis.com/trace"]);
    for (line, _) in &lines {
        let trace = trace_of(line);
        if !traces.contains(&trace) {
            traces.push(trace);
        }
    }
    let service = |line: &Value| line["message"].as_str().unwrap().split(' ').next().unwrap().to_owned();
    // The sort is stable: the lines of a service keep their order.
    lines.sort_by_key(|(line, _)| (traces.iter().position(|it| *it == trace_of(line)), service(line)));

    let mut names: HashMap<String, String> = HashMap::new();
    let mut text = String::new();
    for (line, raw) in lines {
        let mut masked = raw;
        for (keys, kind) in [
            (["trace", "logging.googleapis.com/trace"], "trace"),
            (["spanId", "logging.googleapis.com/spanId"], "span"),
        ] {
            let id = of(&line, keys);
            let number = names.values().filter(|name| name.starts_with(kind)).count() + 1;
            let name = names.entry(id.clone()).or_insert_with(|| format!("{kind}-{number}"));
            masked = masked.replace(&id, name);
        }
        masked = masked
            .replace(line["time"].as_str().unwrap(), "TIME")
            .replace(env!("CARGO_PKG_VERSION"), "VERSION");
        for (before, after) in [
            ("\"line\":\"", "\""),
            ("\"lineNumber\":", "}"),
            ("\"latency\":\"", "s\""),
            ("127.0.0.1:", ""),
            ("tonic/", "\""),
        ] {
            masked = mask_after(&masked, before, after);
        }
        text += &masked;
        text += "\n";
    }
    text
}

/// Replaces each text between two others, or the digits after one, by `#`.
fn mask_after(text: &str, before: &str, after: &str) -> String {
    let mut parts = text.split(before);
    let mut masked = parts.next().unwrap().to_owned();
    for part in parts {
        let end = match after {
            "" => part.find(|c: char| !c.is_ascii_digit()),
            after => part.find(after),
        };
        masked += before;
        masked += "#";
        masked += &part[end.unwrap_or(part.len())..];
    }
    masked
}

/// Removes the durations from a tree of spans.
fn without_durations(tree: &str) -> String {
    let line = |line: &str| match line.split_once(" ms") {
        Some((before, outcome)) => {
            let before = before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
            format!("{before}{outcome}\n")
        }
        None => format!("{line}\n"),
    };
    tree.lines().map(line).collect()
}

/// Every line and span in the README is printed, except for times, ids, ports and line numbers.
#[test]
fn the_readme_has_lines_and_spans_of_the_examples() {
    let readme = include_str!("../README.md");
    let (mut lines, mut spans) = (0, 0);
    for name in EXAMPLES {
        let heading = format!("cargo run -p logtracer-sdk --example {name}`");
        let (_, section) = readme.split_once(&heading).unwrap_or_else(|| panic!("no {heading}"));
        let section = section.split("`cargo run").next().unwrap();
        let outputs = FORMATS.map(|format| output_of(name, &[("LOGGING_FORMAT", format)]));
        let printed: Vec<_> = outputs.iter().flat_map(|(lines, _)| lines.lines().map(masked)).collect();
        let tree = without_durations(&outputs[0].1);
        for line in section.lines() {
            if line.starts_with('{') {
                assert!(printed.contains(&masked(line)), "{name} does not print {line}\n{printed:#?}");
                lines += 1;
            } else if line.contains(" ms") {
                let line = without_durations(line);
                assert!(tree.lines().any(|it| it == line.trim_end()), "{name} does not show {line}\n{tree}");
                spans += 1;
            }
        }
    }
    assert!(lines > 12 && spans > 12, "{lines} lines, {spans} spans");
}

/// The README of the repository shows the whole trace of one example.
#[test]
fn the_readme_of_the_repository_has_the_spans_of_an_example() {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("`cargo run -p logtracer-sdk --example mixed`").unwrap();
    let tree = section.split("```").nth(1).unwrap().trim_start();
    expect_file!["examples/mixed.spans.txt"].assert_eq(&without_durations(tree));
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

/// The files in `tests/examples/` are those of the examples.
#[test]
fn no_file_of_an_old_example_is_left() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples");
    let names = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let expected = EXAMPLES.iter().flat_map(|name| {
        ["stackdriver.jsonl", "local.jsonl", "spans.txt"].map(|extension| format!("{name}.{extension}"))
    });
    assert_eq!(names.collect::<BTreeSet<_>>(), expected.collect());
}

/// A line is one write: it arrives as one datagram.
#[test]
fn one_write_for_a_line() {
    for name in ["tonic", "axum"] {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let mut child = example(name)
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::null())
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
    let lines_with = |variables: &[(&str, &str)]| parse(&output_of("axum", variables).0);
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
    let wrong = example("axum").env("LOGGING_FORMAT", "json").output().unwrap();
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("LOGGING_FORMAT"));

    // With `RUST_BACKTRACE` the line has a stack trace.
    let lines = lines_with(&[("RUST_BACKTRACE", "1")]);
    let is_panic =
        |line: &&Value| line["message"].as_str().unwrap().starts_with("shop - panicked: on purpose");
    let panicked = lines.iter().find(is_panic).unwrap();
    let stack_trace = panicked["stack_trace"].as_str().unwrap();
    assert!(stack_trace.contains("on purpose") && stack_trace.contains("axum::"), "{stack_trace}");
}
