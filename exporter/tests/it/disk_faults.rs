//! Errors of the disk in the files that a running exporter writes: each is reported as what it is, nothing that was
//! acknowledged is lost, and the exporter recovers when the error ends.

use std::fs;
use std::path::Path;

use prost::Message;

use crate::faults::Faults;
use crate::harness::{Exporter, command, eventually, request, span};
use crate::receiver::{Receiver, arrived, strict_otlp};
use crate::sinks::TRACE;

/// What the exporter does while the file fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Requests are rejected with the reason.
    Rejects,
    /// This line is logged, with the reason.
    Logs(&'static str),
    Nothing,
}

const FILES: [(&str, Effect); 7] = [
    ("outbox.db", Effect::Logs("failed to checkpoint the outbox")),
    ("outbox.db-wal", Effect::Rejects),
    ("store.db", Effect::Logs("failed to checkpoint the store")),
    ("store.db-wal", Effect::Logs("delivery failed, retrying")),
    ("outbox.mark", Effect::Nothing),
    ("calls", Effect::Nothing),
    ("reserve", Effect::Logs("failed to create the disk reserve")),
];

/// Sends a span of this size. Returns the reason if it is not acknowledged.
async fn send(exporter: &Exporter, id: u64, bytes: usize) -> Result<(), String> {
    let mut state = id;
    // Not compressible.
    let mut next = || {
        state = (state ^ (state << 13)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^ (state >> 7)
    };
    let name: String = (0..bytes / 16).map(|_| format!("{:016x}", next())).collect();
    let body = request("shop", vec![span(TRACE, id, 0, &name, id, 1)]).encode_to_vec();
    let response = exporter.post("application/x-protobuf", body).await.unwrap();
    match response.status().as_u16() {
        200 => Ok(()),
        503 => Err(String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned()),
        other => panic!("{other}"),
    }
}

/// Returns the names of the files in the data directory.
fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with("dead-letters.db-")).collect();
    names.sort();
    names
}

async fn check(errno: i32, reason: &str) {
    let is_full = reason == "disk full";
    // The reserve has no database.
    let reasons = [reason, &format!("(os error {errno})")];
    let is_reason =
        |text: &str| reasons.iter().any(|reason| text.to_lowercase().contains(&reason.to_lowercase()));
    for (file, effect) in FILES {
        let what = format!("error {errno} of {file}");
        let backend = Receiver::start(strict_otlp).await;
        let dir = tempfile::tempdir().unwrap();
        let faults = Faults::new();
        let start = || {
            let mut command = command(dir.path());
            command.args(["--sink", &format!("otlp={}", backend.url), "--sink", "store"]);
            faults.apply(&mut command);
            Exporter::spawn(command)
        };
        let mut exporter = start();
        let mut acknowledged: Vec<u64> = Vec::new();
        for id in 1..=5 {
            send(&exporter, id, 1000).await.unwrap();
            acknowledged.push(id);
        }
        exporter.trace(TRACE, 5, 0).await;
        let before = names(dir.path());

        // As if the whole disk had it: the exporter asks a new file what the error means.
        faults.set(&format!("{errno} {file}\n{errno} reserve.probe"));
        if file == "reserve" {
            fs::remove_file(dir.path().join(file)).unwrap();
        }
        if effect == Effect::Rejects {
            let error = eventually(&what, async || send(&exporter, 6, 1000).await.err()).await;
            assert!(is_reason(&error), "{what}: {error}");
            let ready = exporter.get("/readyz").await;
            assert_eq!(ready.status(), 503, "{what}");
            assert_eq!(exporter.metric("logtracer_exporter_ready").await, 0., "{what}");
            assert!(is_reason(&ready.text().await.unwrap()), "{what}");
        }
        // More than the write-ahead log of the outbox holds before a checkpoint.
        let bytes = if file == "outbox.db" { 1_600_000 } else { 50_000 };
        for id in 10..=30 {
            let result = send(&exporter, id, bytes).await;
            assert!(result.is_ok() || is_full || effect == Effect::Rejects, "{what}: {result:?}");
            if result.is_ok() {
                acknowledged.push(id);
            }
        }
        if let Effect::Logs(message) = effect {
            let line = exporter.line(&format!("logtracer-exporter - {message}"));
            assert!(is_reason(line["error"].as_str().unwrap()), "{what}: {line}");
        }
        if !is_full {
            let now = names(dir.path());
            let left: Vec<&String> = before.iter().filter(|name| *name != file).collect();
            assert!(left.iter().all(|name| now.contains(name)), "{what}: {now:?}");
            for reason in ["disk full", "bytes", "age"] {
                let evicted = format!("logtracer_exporter_store_traces_evicted_total{{reason=\"{reason}\"}}");
                assert_eq!(exporter.metric(&evicted).await, 0., "{what}");
            }
        }

        faults.set("");
        eventually(&format!("a request after {what}"), async || send(&exporter, 40, 1000).await.ok()).await;
        acknowledged.push(40);
        let is_ready = async || (exporter.get("/readyz").await.status() == 200).then_some(());
        eventually(&format!("readiness after {what}"), is_ready).await;
        assert_eq!(exporter.metric("logtracer_exporter_ready").await, 1., "{what}");
        let is_there = async || names(dir.path()).contains(&file.to_owned()).then_some(());
        eventually(&format!("the file after {what}"), is_there).await;
        assert!(!names(dir.path()).iter().any(|name| name.contains("damaged")), "{what}");
        exporter.kill();
        let mut exporter = start();
        assert!(exporter.drains().await);
        let stored = exporter.json(&format!("/api/traces/{TRACE}")).await;
        let stored: Vec<&str> = stored["spans"]
            .as_array()
            .unwrap()
            .iter()
            .map(|span| span["span_id"].as_str().unwrap())
            .collect();
        let arrived = arrived(&backend.accepted());
        for id in &acknowledged {
            let id = format!("{id:016x}");
            // On a full disk, the store evicts its oldest spans.
            assert!(is_full || stored.contains(&&id[..]), "{what}: span {id} is not stored");
            assert!(
                arrived.contains_key(&(TRACE.to_owned(), id.clone())),
                "{what}: span {id} has not arrived"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_io_error_in_any_file_is_reported_and_deletes_nothing() {
    check(5, "disk I/O error").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_file_is_reported_and_deletes_nothing() {
    check(30, "read-only file system").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_space_for_any_file_is_a_full_disk() {
    check(28, "disk full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exceeded_quota_of_any_file_is_a_full_disk() {
    check(122, "disk full").await;
}
