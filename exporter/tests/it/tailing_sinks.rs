//! Lines of tailed files on their way to a sink.

use std::collections::{BTreeMap, HashSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;

use crate::harness::{Exporter, command, eventually};
use crate::receiver::{Answer, Receiver};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

fn append(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Returns a line with a time of its own.
fn line(second: usize, message: &str) -> String {
    let time = 1_700_000_000 + second;
    format!(
        "{{\"timestampSeconds\":{time},\"trace\":\"{TRACE}\",\"message\":\"{message}\",\"n\":{second}}}\n"
    )
}

fn exporter(dir: &Path, receiver: &Receiver, options: &[&str]) -> Command {
    let mut command = command(&dir.join("data"));
    let sink = format!("otlp={}", receiver.url);
    command.args(["--sink", "store", "--sink", &sink]).arg("--tail").arg(dir.join("log")).args(options);
    command
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        other => panic!("no text: {other:?}"),
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(text(attribute.value.as_ref()))
}

/// A record: its service, its message, and its id.
type Arrived = (String, String, String);

/// Returns the records that a receiver has accepted.
fn arrived(receiver: &Receiver) -> Vec<Arrived> {
    let mut records = Vec::new();
    for request in receiver.accepted() {
        assert_eq!(request.uri.path(), "/v1/logs");
        let body = ExportLogsServiceRequest::decode(request.body).unwrap();
        for logs in body.resource_logs {
            let service = attribute(&logs.resource.unwrap().attributes, "service.name").unwrap_or_default();
            for record in logs.scope_logs.iter().flat_map(|scope| &scope.log_records) {
                let id = attribute(&record.attributes, "log.record.uid").expect("an id");
                records.push((service.clone(), text(record.body.as_ref()), id));
            }
        }
    }
    records
}

/// Waits until this number of different records has arrived.
async fn wait_for(receiver: &Receiver, count: usize) -> Vec<Arrived> {
    eventually(&format!("{count} records"), async || {
        let records = arrived(receiver);
        let different: HashSet<_> = records.iter().map(|(_, _, id)| id).collect();
        (different.len() >= count).then_some(records)
    })
    .await
}

async fn count_of_store(exporter: &Exporter) -> u64 {
    exporter.json("/api/traces").await["traces"][0]["log_count"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn lines_of_two_services_reach_a_sink_and_the_store_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let receiver = Receiver::start(|_| Answer::ok()).await;
    let untraced = "{\"message\":\"untraced\",\"logging.googleapis.com/insertId\":\"own\"}\n";
    append(&log, &format!("{}noise\n{}{untraced}", line(1, "shop - one"), line(2, "cart - two")));
    let mut running = Exporter::spawn(exporter(dir.path(), &receiver, &[]));
    let records = wait_for(&receiver, 3).await;
    running.trace(TRACE, 0, 2).await;
    running.terminate();
    assert!(running.wait_for_exit().await.success());

    // A restart in between.
    append(&log, &line(3, "shop - three"));
    let running = Exporter::spawn(exporter(dir.path(), &receiver, &[]));
    wait_for(&receiver, 4).await;
    running.trace(TRACE, 0, 3).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut got = arrived(&receiver);
    assert_eq!(got[..3], records[..3]);
    got.sort();
    let names: Vec<_> =
        got.iter().map(|(service, message, _)| (service.as_str(), message.as_str())).collect();
    assert_eq!(
        names,
        [("", "untraced"), ("cart", "cart - two"), ("shop", "shop - one"), ("shop", "shop - three")]
    );
    assert_eq!(got[0].2, "own");
}

/// Each line reaches the sink, and what arrives twice has the same id.
#[tokio::test]
async fn a_kill_loses_no_line_and_changes_no_id() {
    const LINES: usize = 1500;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let receiver = Receiver::start(|_| Answer::ok()).await;
    append(&log, &line(0, "0"));
    let writer = {
        let log = log.clone();
        std::thread::spawn(move || {
            for n in 1..LINES {
                append(&log, &line(n, &n.to_string()));
                std::thread::sleep(Duration::from_millis(2));
                if n == LINES / 2 {
                    std::fs::rename(&log, log.with_extension("1")).unwrap();
                }
            }
        })
    };
    let mut kills = 0;
    while !writer.is_finished() {
        let running = Exporter::spawn(exporter(dir.path(), &receiver, &[]));
        tokio::time::sleep(Duration::from_millis(50 + 53 * (kills % 7))).await;
        running.kill();
        kills += 1;
    }
    writer.join().unwrap();
    let running = Exporter::spawn(exporter(dir.path(), &receiver, &[]));
    let records = wait_for(&receiver, LINES).await;
    let mut ids: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    for (_, message, id) in records {
        ids.entry(message).or_default().insert(id);
    }
    assert_eq!(ids.len(), LINES);
    assert!(ids.values().all(|ids| ids.len() == 1), "after {kills} kills");
    eventually("all lines in the store", async || {
        (count_of_store(&running).await == LINES as u64).then_some(())
    })
    .await;
}

// The receiver answers while the test waits for a line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_outbox_stops_the_tail_and_loses_no_line() {
    const LINES: usize = 3000;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let is_up = Arc::new(AtomicBool::new(false));
    let up = is_up.clone();
    let receiver =
        Receiver::start(
            move |_| {
                if up.load(Ordering::SeqCst) { Answer::ok() } else { Answer::new(503, "not now") }
            },
        )
        .await;
    // Texts that hardly shrink.
    let noise = |n: usize| format!("{:x}", (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let messages: Vec<String> = (0..LINES).map(|n| (0..8).map(|m| noise(n * 8 + m)).collect()).collect();
    let lines: Vec<String> = messages.iter().enumerate().map(|(n, message)| line(n, message)).collect();
    append(&log, &lines.concat());
    let options = ["--outbox-max-bytes", "100KiB", "--grace", "1s"];
    let mut running = Exporter::spawn(exporter(dir.path(), &receiver, &options));
    let paused = running.line("logtracer-exporter - tail paused");
    assert!(paused["error"].as_str().unwrap().starts_with("the outbox is full: "), "{paused}");
    let bytes = running.metric("logtracer_exporter_outbox_bytes").await;
    assert!(bytes > 0. && bytes <= 50. * 1024., "{bytes}");
    assert_eq!(count_of_store(&running).await, 0);
    // A shutdown, while the outbox is full, is as fast as ever.
    running.terminate();
    let stopped = tokio::time::timeout(Duration::from_secs(5), running.wait_for_exit()).await;
    assert!(stopped.expect("it does not hang").success());

    let mut running = Exporter::spawn(exporter(dir.path(), &receiver, &options));
    running.line("logtracer-exporter - tail paused");
    is_up.store(true, Ordering::SeqCst);
    running.line("logtracer-exporter - tail resumed");
    let records = wait_for(&receiver, LINES).await;
    let mut got: Vec<&String> = records.iter().map(|(_, message, _)| message).collect();
    got.sort();
    got.dedup();
    let mut expected: Vec<&String> = messages.iter().collect();
    expected.sort();
    assert!(got == expected, "{} messages", got.len());
    eventually("all lines in the store", async || {
        (count_of_store(&running).await == LINES as u64).then_some(())
    })
    .await;
}
