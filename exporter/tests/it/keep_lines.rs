//! Tail sampling of tailed lines: which of them a sink with the rule `logs` gets.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::harness::{Exporter, command, eventually, failed, request, span};
use crate::receiver::Receiver;
use crate::sink_logs::{both, messages};

const KEPT: &str = "00000000000000010080000000000000";
const NOT_KEPT: &str = "00000000000000020080000000000000";
const NO_SPANS: &str = "00000000000000030080000000000000";

fn append(path: &Path, lines: &[(&str, &str, &str)]) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    for (trace, severity, message) in lines {
        let line = serde_json::json!({
            "time": "2026-11-22T23:00:00Z", "severity": severity, "message": message, "trace": trace,
        });
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn tailed_lines_follow_the_verdict_on_their_trace() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let receiver = Receiver::start(both).await;
    let sink = format!("otlp={}", receiver.url);
    let mut command = command(&dir.path().join("data"));
    command.args(["--sink", &sink, "--sink", "store", "--keep", "error,logs", "--tail"]).arg(&log);
    command.args(["--decision-wait", "300ms", "--grace", "5s"]);
    let exporter = Exporter::spawn(command);
    let spans = vec![failed(span(KEPT, 1, 0, "failed", 0, 1), ""), span(NOT_KEPT, 1, 0, "fine", 0, 1)];
    exporter.send(&request("shop", spans)).await;
    append(
        &log,
        &[
            (KEPT, "INFO", "a kept trace"),
            (NOT_KEPT, "INFO", "no: a trace that is not kept"),
            (NOT_KEPT, "ERROR", "an error"),
            (NO_SPANS, "WARNING", "no: a trace without spans"),
            ("", "INFO", "no trace"),
        ],
    );
    let arrived = async |expected: &[&str]| {
        eventually("the lines", async || (messages(&receiver) == expected).then_some(())).await;
    };
    let not_kept = format!("logtracer_exporter_log_records_not_kept_total{{sink=\"{sink}\"}}");
    exporter.wait_for_metric(&not_kept, 2.).await;
    arrived(&["a kept trace", "an error", "no trace"]).await;

    // The verdict holds for later lines.
    append(&log, &[(NOT_KEPT, "INFO", "no: late"), (KEPT, "DEBUG", "late")]);
    exporter.wait_for_metric(&not_kept, 3.).await;
    arrived(&["a kept trace", "an error", "late", "no trace"]).await;

    // The store has all lines, and each is counted once.
    exporter.trace(KEPT, 1, 2).await;
    exporter.trace(NOT_KEPT, 1, 3).await;
    exporter.trace(NO_SPANS, 0, 1).await;
    let count = async |name: &str| exporter.metric(&format!("logtracer_exporter_log_{name}_total")).await;
    assert_eq!(
        [count("lines_tailed").await, count("records_received").await, count("records_committed").await],
        [7., 7., 7.]
    );
}
