//! Full disks, corrupt files and foreign files.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::Message;

use crate::harness::{Exporter, command, eventually, request, run_to_exit, span};
use crate::receiver::{Answer, Receiver, Request, arrived, otlp, strict_otlp};
use crate::small_disk::SmallDisk;

/// Returns a request of 20 spans with unique ids and incompressible names.
fn batch(n: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ n;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let spans = (1..=20).map(|id| {
        let name: String = (0..100).map(|_| format!("{:016x}", next())).collect();
        span(&trace(n), id, 0, &name, 0, 1)
    });
    request("shop", spans.collect()).encode_to_vec()
}

fn trace(n: u64) -> String {
    format!("{:032x}", u128::from(n) + 1)
}

/// Sends until the disk is full. Returns the acknowledged batches.
async fn fill(exporter: &Exporter, mut n: u64) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    let mut rejected = 0;
    while rejected < 20 {
        n += 1;
        let response = exporter.post("application/x-protobuf", batch(n)).await.unwrap();
        match response.status().as_u16() {
            200 => acknowledged.push(n),
            503 => {
                assert_eq!(response.headers()["retry-after"], "2");
                let text = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
                assert!(text.contains("failed to write the outbox: disk full"), "{text}");
                rejected += 1;
            }
            other => panic!("{other}"),
        }
    }
    acknowledged
}

/// Sends until the disk is full and remains full: a checkpoint of the WAL can free space once more.
async fn fill_permanently(exporter: &Exporter, from: u64) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    loop {
        acknowledged.extend(fill(exporter, from + acknowledged.len() as u64 * 100).await);
        tokio::time::sleep(Duration::from_secs(3)).await;
        if exporter.get("/readyz").await.status() == 503 {
            return acknowledged;
        }
    }
}

/// Sends until the batch is accepted.
async fn send_with_retries(exporter: &Exporter, n: u64) {
    eventually("free space", async || {
        let response = exporter.post("application/x-protobuf", batch(n)).await.unwrap();
        match response.status().as_u16() {
            200 => Some(()),
            503 => None,
            other => panic!("{other}"),
        }
    })
    .await;
}

fn assert_arrived(backend: &Receiver, acknowledged: impl IntoIterator<Item = u64>) {
    let arrived = arrived(&backend.accepted());
    for n in acknowledged {
        for id in 1..=20u64 {
            let key = (trace(n), format!("{id:016x}"));
            assert!(arrived.contains_key(&key), "span {id} of batch {n} was acknowledged and is lost");
        }
    }
}

/// A sink is down until after the disk is full. The exporter is killed and started again on the full disk.
async fn check_full_disk(size: &str) {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    let backend = Receiver::start(move |request| match otlp(request) {
        Ok(_) if !down.load(Ordering::SeqCst) => Answer::ok(),
        Ok(_) => Answer::new(503, "not now"),
        Err(error) => Answer::new(400, error),
    })
    .await;
    let disk = SmallDisk::new(size);
    let sink = format!("otlp={}", backend.url);
    let mut exporter = disk.exporter(&["--sink", &sink]);

    let mut acknowledged = fill_permanently(&exporter, 0).await;
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    assert_eq!(exporter.line("logtracer-exporter - disk full")["database"], "outbox");
    for round in 1..=2 {
        let ready = exporter.get("/readyz").await.text().await.unwrap();
        assert!(ready.contains("disk full"), "{ready}");
        assert_eq!(exporter.get("/healthz").await.status(), 200, "a restart does not help");
        exporter.kill();
        exporter = disk.exporter(&["--sink", &sink]);
        acknowledged.extend(fill_permanently(&exporter, round * 1_000_000).await);
    }

    // The sink is up again: the backlog is delivered, which frees space.
    is_down.store(false, Ordering::SeqCst);
    send_with_retries(&exporter, 9_000_000).await;
    acknowledged.push(9_000_000);
    assert_eq!(exporter.get("/readyz").await.status(), 200);
    let outbox = "logtracer_exporter_outbox_bytes";
    eventually("an empty outbox", async || (exporter.metric(outbox).await == 0.).then_some(())).await;
    assert_arrived(&backend, acknowledged);
    exporter.line("logtracer-exporter - disk has free space again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_24_mib_loses_nothing_that_was_acknowledged() {
    check_full_disk("24m").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_40_mib_loses_nothing_that_was_acknowledged() {
    check_full_disk("40m").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_64_mib_loses_nothing_that_was_acknowledged() {
    check_full_disk("64m").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_140_mib_loses_nothing_that_was_acknowledged() {
    check_full_disk("140m").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_the_store_evicts_its_oldest_traces() {
    for size in ["24m", "64m"] {
        let disk = SmallDisk::new(size);
        let mut exporter = disk.exporter(&[]);
        // Much more than the disk takes.
        let last = if size == "24m" { 1_200 } else { 3_000 };
        for n in 1..=last {
            send_with_retries(&exporter, n).await;
        }
        let delivered = "logtracer_exporter_spans_delivered_total{sink=\"store\"}";
        exporter.wait_for_metric(delivered, last as f64 * 20.).await;
        exporter.trace(&trace(last), 20, 0).await;
        let expired = "logtracer_exporter_store_traces_evicted_total{reason=\"disk full\"}";
        assert!(exporter.metric(expired).await > 0.);
        let left = exporter.line("logtracer-exporter - evicted traces");
        assert_eq!(left["severity"], "WARNING");
        assert_eq!(left["reason"], "disk full");
        eventually("readiness", async || (exporter.get("/readyz").await.status() == 200).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_dead_letters_are_evicted_and_delay_no_other_sink() {
    let good = Receiver::start(strict_otlp).await;
    let picky = Receiver::start(|_: &Request| Answer::new(400, "never")).await;
    let disk = SmallDisk::new("24m");
    let (good_name, picky_name) = (format!("otlp={}", good.url), format!("otlp={}", picky.url));
    let exporter = disk.exporter(&["--sink", &good_name, "--sink", &picky_name]);
    for n in 1..=1_000 {
        send_with_retries(&exporter, n).await;
    }
    let outbox = "logtracer_exporter_outbox_bytes";
    eventually("an empty outbox", async || (exporter.metric(outbox).await == 0.).then_some(())).await;
    assert_arrived(&good, 1..=1_000);
    let discarded = format!("logtracer_exporter_dead_letters_evicted_total{{sink=\"{picky_name}\"}}");
    assert!(exporter.metric(&discarded).await > 0.);
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_quarantined_unchanged() {
    for (file, name) in [("outbox.db", "outbox"), ("store.db", "store"), ("dead-letters.db", "dead letters")]
    {
        let dir = tempfile::tempdir().unwrap();
        let content = b"this is not a database, and somebody may need it".repeat(50);
        std::fs::write(dir.path().join(file), &content).unwrap();
        let mut command = command(dir.path());
        command.stdout(Stdio::piped());
        let exporter = Exporter::spawn(command);
        let quarantined = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().contains(&format!("{file}.damaged-")));
        assert_eq!(std::fs::read(quarantined.expect(name)).unwrap(), content);
        exporter.send(&request("shop", vec![span(&trace(1), 1, 0, "GET /", 0, 1)])).await;
        exporter.trace(&trace(1), 1, 0).await;
    }
}

#[test]
fn a_database_of_another_program_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let created = Command::new("python3")
        .args(["-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE theirs(x)')"])
        .arg(&path)
        .status();
    assert!(created.is_ok_and(|status| status.success()), "python3 is needed, with its module sqlite3");
    let before = std::fs::read(&path).unwrap();
    let expected = format!(
        "failed to open the outbox {}: it is the SQLite database of another program (application id 0x0)",
        path.display()
    );
    assert_eq!(run_to_exit(command(dir.path())), (Some(1), expected));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// Another program takes every byte that the exporter frees, also those of its reserve. The store goes on with the space
/// that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_goes_on_while_another_program_takes_all_free_space() {
    let disk = SmallDisk::new("64m");
    let logs = tempfile::NamedTempFile::new().unwrap();
    let path = logs.path().to_str().unwrap();
    let mut exporter = disk.exporter(&["--tail", path]);
    let line = |n: u64| {
        let (trace, message) = (trace(n), "x".repeat(20_000));
        format!(r#"{{"severity":"INFO","message":"{message}","trace":"{trace}"}}"#)
    };
    let append = |n: u64| {
        use std::io::Write;
        writeln!(logs.as_file(), "{}", line(n)).unwrap();
    };
    (1..=680).for_each(&append);
    exporter.trace(&trace(680), 0, 1).await;
    // The last ones are in the write-ahead log only, and the file has to grow for them.
    for n in 681..=700 {
        append(n);
        exporter.trace(&trace(n), 0, 1).await;
    }
    let _competitor = disk.competitor();
    // Otherwise the exporter could be the first to use its reserve.
    disk.remove("reserve");
    exporter.line("logtracer-exporter - failed to create the disk reserve");
    // More than the write-ahead log holds.
    for n in 701..=1_200 {
        append(n);
        if n % 50 == 0 {
            let start = std::time::Instant::now();
            exporter.trace(&trace(n), 0, 1).await;
            println!("line {n} is stored after {:?}", start.elapsed());
        }
    }
    let evicted = "logtracer_exporter_store_traces_evicted_total{reason=\"disk full\"}";
    assert!(exporter.metric(evicted).await > 100.);
    assert_eq!(exporter.get("/readyz").await.status(), 503);
}
