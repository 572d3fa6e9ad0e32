//! A damaged write-ahead log of the outbox: SQLite ignores what comes after the damage, so the exporter counts it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::harness::{Exporter, command, eventually, request, span};
use crate::receiver::{Receiver, arrived, strict_otlp};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
const BATCHES: u64 = 20;
const DROPPED: &str = "logtracer_exporter_outbox_batches_dropped_total";

fn start(data_dir: &Path, backend: &str) -> Exporter {
    let mut command = command(data_dir);
    command.args(["--sink", &format!("otlp={backend}")]).stdout(Stdio::piped());
    Exporter::spawn(command)
}

fn wal(dir: &Path) -> PathBuf {
    dir.join("outbox.db-wal")
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn flip(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

fn truncate(path: &Path, length: u64) {
    File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Fills an outbox, kills the exporter, and damages the files. After the restart, each batch is delivered or counted, once.
/// Returns how many were counted.
async fn dropped_after(what: &str, damage: impl Fn(&Path)) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap();
    let exporter = start(dir.path(), &format!("http://{address}"));
    for id in 1..=BATCHES {
        exporter.send(&request("shop", vec![span(TRACE, id, 0, "work", id, 1)])).await;
    }
    exporter.kill();
    drop(unused);
    damage(dir.path());

    let exporter = start(dir.path(), &format!("http://{address}"));
    let dropped = exporter.metric(DROPPED).await;
    exporter.kill();

    // The loss is counted once. The sink has a new name, so it gets what is waiting.
    let backend = Receiver::start(strict_otlp).await;
    let exporter = start(dir.path(), &backend.url);
    assert_eq!(exporter.metric(DROPPED).await, 0., "{what}: counted twice");
    let outbox = "logtracer_exporter_outbox_bytes";
    eventually("an empty outbox", async || (exporter.metric(outbox).await == 0.).then_some(())).await;
    let delivered = arrived(&backend.accepted()).len() as u64;
    assert_eq!(delivered + dropped as u64, BATCHES, "{what}: each batch is delivered or counted");
    dropped as u64
}

#[tokio::test]
async fn batches_after_a_damaged_byte_are_counted() {
    for (what, offset) in [("the header", 20), ("the first frame", 1_000)] {
        assert_eq!(dropped_after(what, |dir: &Path| flip(&wal(dir), offset)).await, BATCHES, "{what}");
    }
    let in_the_middle = |dir: &Path| flip(&wal(dir), length(&wal(dir)) / 2);
    let dropped = dropped_after("the middle", in_the_middle).await;
    assert!((1..BATCHES).contains(&dropped), "{dropped}");
    let in_last_frame = |dir: &Path| flip(&wal(dir), length(&wal(dir)) - 1000);
    assert_eq!(dropped_after("the last frame", in_last_frame).await, 1);
}

#[tokio::test]
async fn batches_of_a_truncated_log_are_counted() {
    for (what, part) in [("empty", 0), ("half", 2)] {
        let damage = |dir: &Path| truncate(&wal(dir), length(&wal(dir)).checked_div(part).unwrap_or(0));
        assert!(dropped_after(what, damage).await > 0, "{what}");
    }
    let remove = |dir: &Path| fs::remove_file(wal(dir)).unwrap();
    assert_eq!(dropped_after("removed", remove).await, BATCHES);
}

#[tokio::test]
async fn batches_in_the_log_of_an_empty_file_are_recovered() {
    let empty = |dir: &Path| truncate(&dir.join("outbox.db"), 0);
    assert_eq!(dropped_after("empty", empty).await, 0);
    let short = |dir: &Path| truncate(&dir.join("outbox.db"), 5);
    assert_eq!(dropped_after("short", short).await, 0);
    let removed = |dir: &Path| fs::remove_file(dir.join("outbox.db")).unwrap();
    assert_eq!(dropped_after("removed", removed).await, 0);
    let both = |dir: &Path| {
        empty(dir);
        flip(&wal(dir), length(&wal(dir)) / 2);
    };
    assert!(dropped_after("both damaged", both).await > 0);
    let all = |dir: &Path| {
        removed(dir);
        fs::remove_file(wal(dir)).unwrap();
    };
    assert_eq!(dropped_after("both removed", all).await, BATCHES);
}

/// A process that is killed, or a power loss, can leave a part of a transaction that was never acknowledged.
#[tokio::test]
async fn an_unfinished_transaction_is_not_reported() {
    for part in [10, 24, 5_000, 24 + 16_384, 40_000] {
        let append = |dir: &Path| {
            // Frames without their commit: the beginning of the log again, with a checksum that does not follow.
            let bytes = fs::read(wal(dir)).unwrap();
            let file = File::options().write(true).open(wal(dir)).unwrap();
            file.write_all_at(&bytes[32..32 + part], bytes.len() as u64).unwrap();
        };
        assert_eq!(dropped_after(&format!("{part} bytes"), append).await, 0);
    }
}
