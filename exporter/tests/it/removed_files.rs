//! Files that another program removes, replaces or truncates while the exporter runs.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Exporter, command, eventually, request, run_to_exit, span};
use crate::receiver::{Answer, Receiver, arrived};
use crate::small_disk::SmallDisk;

/// A backend that is down at first.
struct Backend {
    receiver: Receiver,
    is_up: Arc<AtomicBool>,
}

impl Backend {
    async fn start() -> Self {
        let is_up = Arc::new(AtomicBool::new(false));
        let receiver = Receiver::start_switched(is_up.clone()).await;
        Self { receiver, is_up }
    }

    fn exporter(&self, data_dir: &Path) -> Exporter {
        let mut command = command(data_dir);
        command.args(["--sink", &format!("otlp={}", self.receiver.url), "--sink", "store"]);
        Exporter::spawn(command)
    }

    /// Waits until the spans with these ids have arrived.
    async fn wait_for(&self, spans: std::ops::RangeInclusive<u64>) {
        self.is_up.store(true, Ordering::SeqCst);
        eventually("all spans at the backend", async || {
            let arrived = arrived(&self.receiver.accepted());
            spans
                .clone()
                .all(|id| arrived.contains_key(&(TRACE.to_owned(), format!("{id:016x}"))))
                .then_some(())
        })
        .await;
    }
}

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

/// Sends a span. Retries while the exporter replaces its files.
async fn send(exporter: &Exporter, id: u64) {
    use prost::Message;
    let body = request("shop", vec![span(TRACE, id, 0, "work", id, 1)]).encode_to_vec();
    eventually("an acknowledgement", async || {
        let response = exporter.post("application/x-protobuf", body.clone()).await.unwrap();
        match response.status().as_u16() {
            200 => Some(()),
            503 => None,
            other => panic!("{other}"),
        }
    })
    .await;
}

async fn wait_until_ready(exporter: &Exporter) {
    eventually("readiness", async || (exporter.get("/readyz").await.status() == 200).then_some(())).await;
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Spans before and after the change are delivered after a SIGKILL and a restart, and are in the store.
async fn check_nothing_is_lost(what: &str, change: impl Fn(&Path)) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let backend = Backend::start().await;
    let mut exporter = backend.exporter(&dir);
    for id in 1..=5 {
        send(&exporter, id).await;
    }
    exporter.trace(TRACE, 5, 0).await;
    change(&dir);
    for id in 6..=10 {
        send(&exporter, id).await;
    }
    // Without traffic, too.
    change(&dir);
    exporter.line("logtracer-exporter - database file removed or replaced, copied its content to a new file");
    for file in ["outbox.db", "outbox.db-wal", "store.db", "dead-letters.db", "lock", "reserve"] {
        let path = dir.join(file);
        eventually(&format!("{file} after {what}"), async || {
            fs::metadata(&path).ok()?.is_file().then_some(())
        })
        .await;
    }
    wait_until_ready(&exporter).await;
    let (code, error) = run_to_exit(command(&dir));
    assert_eq!(code, Some(1), "{what}");
    assert!(error.contains("is in use by another exporter"), "{what}: {error}");
    exporter.trace(TRACE, 10, 0).await;
    exporter.kill();

    let exporter = backend.exporter(&dir);
    send(&exporter, 11).await;
    exporter.trace(TRACE, 11, 0).await;
    backend.wait_for(1..=11).await;
    assert_eq!(exporter.metric("logtracer_exporter_outbox_batches_dropped_total").await, 0., "{what}");
}

fn remove(dir: &Path, names: &[&str]) {
    for name in names {
        let _ = fs::remove_file(dir.join(name));
    }
}

/// Removes files that the exporter creates meanwhile, too.
fn remove_dir_all(dir: &Path) {
    while let Err(error) = fs::remove_dir_all(dir) {
        assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty, "{error}");
    }
}

#[tokio::test]
async fn a_removed_data_directory_loses_nothing() {
    check_nothing_is_lost("rm -rf", remove_dir_all).await;
}

#[tokio::test]
async fn a_renamed_data_directory_loses_nothing() {
    check_nothing_is_lost("mv", |dir| {
        let names = (0..).map(|n| dir.with_extension(n.to_string()));
        fs::rename(dir, names.into_iter().find(|name| !exists(name)).unwrap()).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_removed_outbox_loses_nothing() {
    for names in [&["outbox.db"][..], &["outbox.db-wal"], &["outbox.db", "outbox.db-wal"]] {
        check_nothing_is_lost(&format!("rm {names:?}"), |dir| remove(dir, names)).await;
    }
}

#[tokio::test]
async fn a_replaced_outbox_loses_nothing_and_the_other_file_is_quarantined() {
    let other = |dir: &Path| dir.with_extension("other");
    check_nothing_is_lost("mv other outbox.db", |dir| {
        fs::write(other(dir), "the file of somebody").unwrap();
        fs::rename(other(dir), dir.join("outbox.db")).unwrap();
    })
    .await;
    check_nothing_is_lost("mkdir outbox.db", |dir| {
        fs::remove_file(dir.join("outbox.db")).unwrap();
        fs::create_dir(dir.join("outbox.db")).unwrap();
    })
    .await;
    check_nothing_is_lost("a restored backup", |dir| {
        // Its WAL is the one of the open file.
        fs::copy(dir.join("outbox.db"), other(dir)).unwrap();
        fs::rename(other(dir), dir.join("outbox.db")).unwrap();
    })
    .await;
}

/// SIGBUS would end the process. A truncated file can lose batches, which are counted.
#[tokio::test]
async fn truncated_files_do_not_end_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start().await;
    let mut exporter = backend.exporter(dir.path());
    for id in 1..=5 {
        send(&exporter, id).await;
    }
    let names =
        || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!names().any(|name| name.ends_with("-shm")), "no file is mapped into memory");
    for name in names() {
        fs::File::options().write(true).open(dir.path().join(name)).unwrap().set_len(0).unwrap();
    }
    // The exporter notices it when it uses the files again.
    send(&exporter, 6).await;
    exporter.line("logtracer-exporter - corrupt database quarantined, started a new one");
    wait_until_ready(&exporter).await;
    for id in 6..=10 {
        send(&exporter, id).await;
    }
    backend.wait_for(6..=10).await;
    let delivered = arrived(&backend.receiver.accepted()).len() as f64;
    let dropped = exporter.metric("logtracer_exporter_outbox_batches_dropped_total").await;
    // A batch that the sink had read before can be delivered as well.
    assert!(delivered + dropped >= 10., "each batch is delivered or counted: {delivered}, {dropped}");
}

#[tokio::test]
async fn removed_dead_letters_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Receiver::start(|_| Answer::new(400, "never")).await;
    let mut with_sink = command(dir.path());
    with_sink.args(["--sink", &format!("otlp={}", backend.url)]);
    let mut exporter = Exporter::spawn(with_sink);
    send(&exporter, 1).await;
    let list = || {
        let mut list = Command::new(env!("CARGO_BIN_EXE_logtracer-exporter"));
        list.arg("--data-dir").arg(dir.path()).args(["dead-letters", "list"]);
        String::from_utf8(list.output().unwrap().stdout).unwrap()
    };
    eventually("a dead letter", async || list().contains("never").then_some(())).await;
    fs::remove_file(dir.path().join("dead-letters.db")).unwrap();
    exporter.line("logtracer-exporter - database file removed or replaced, copied its content to a new file");
    assert!(list().contains("never"), "{}", list());
    send(&exporter, 2).await;
    eventually("another dead letter", async || (list().lines().count() == 2).then_some(())).await;
}

/// The first exporter is stopped, as by a slow disk, while its directory is removed and a second one starts.
#[tokio::test]
async fn an_exporter_whose_directory_another_one_has_taken_exits() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start().await;
    let mut with_sink = command(dir.path());
    with_sink.args(["--sink", &format!("otlp={}", backend.receiver.url), "--grace", "1s"]);
    let mut first = Exporter::spawn(with_sink);
    send(&first, 1).await;
    first.signal("STOP");
    eventually("the stop", async || first.is_stopped().then_some(())).await;
    for file in fs::read_dir(dir.path()).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    let second = Exporter::start(dir.path());
    first.signal("CONT");
    first.line("logtracer-exporter - waiting batches of a removed outbox lost");
    let error = first.line("logtracer-exporter - fatal error");
    assert!(error["error"].as_str().unwrap().contains("is in use by another exporter"), "{error}");
    assert_eq!(first.wait_for_exit().await.code(), Some(1));
    send(&second, 2).await;
    wait_until_ready(&second).await;
}

/// The mark is written after each commit, so a new one is complete.
#[tokio::test]
async fn a_removed_commit_mark_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    send(&exporter, 1).await;
    let path = dir.path().join("outbox.mark");
    let before = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    // Without traffic, too.
    eventually("the mark", async || {
        (fs::read_to_string(&path).ok()?.starts_with(&before[..20])).then_some(())
    })
    .await;
    fs::write(dir.path().join("other"), "something else").unwrap();
    fs::rename(dir.path().join("other"), &path).unwrap();
    send(&exporter, 2).await;
    eventually("the next mark", async || {
        let mark = fs::read_to_string(&path).ok()?;
        mark.starts_with("00000000000000000002 ").then_some(())
    })
    .await;
}

/// A program that truncates a mapped file ends each process that has mapped it.
#[tokio::test]
async fn no_file_of_the_data_directory_is_mapped_into_memory() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    send(&exporter, 1).await;
    exporter.trace(TRACE, 1, 0).await;
    let maps = exporter.memory_maps();
    assert!(maps.contains("logtracer-exporter"), "{maps}");
    assert!(!maps.contains(dir.path().to_str().unwrap()), "{maps}");
}

/// The volume is unmounted under a running exporter. It goes on in the directory below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmounted_volume_loses_nothing() {
    let backend = Backend::start().await;
    let disk = SmallDisk::new("200m");
    let sink = format!("otlp={}", backend.receiver.url);
    let options = ["--sink", &sink, "--sink", "store"];
    let mut exporter = disk.exporter(&options);
    for id in 1..=5 {
        send(&exporter, id).await;
    }
    exporter.trace(TRACE, 5, 0).await;
    disk.unmount();
    exporter.line("logtracer-exporter - lock file was removed or replaced, locked the data directory again");
    for id in 6..=10 {
        send(&exporter, id).await;
    }
    wait_until_ready(&exporter).await;
    exporter.trace(TRACE, 10, 0).await;
    exporter.kill();
    let exporter = disk.exporter(&options);
    exporter.trace(TRACE, 10, 0).await;
    backend.wait_for(1..=10).await;
    assert_eq!(exporter.metric("logtracer_exporter_outbox_batches_dropped_total").await, 0.);
}

/// An older backup is copied into the files of a running exporter. It loses batches, which are counted, and goes on.
#[tokio::test]
async fn a_backup_that_is_copied_over_open_files_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let backup = tempfile::tempdir().unwrap();
    let backend = Backend::start().await;
    let exporter = backend.exporter(dir.path());
    let copy = |from: &Path, to: &Path| {
        for name in ["outbox.db", "outbox.db-wal", "outbox.mark", "store.db", "store.db-wal"] {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    };
    for id in 1..=5 {
        send(&exporter, id).await;
    }
    copy(dir.path(), backup.path());
    for id in 6..=20 {
        send(&exporter, id).await;
    }
    copy(backup.path(), dir.path());
    for id in 21..=25 {
        send(&exporter, id).await;
    }
    wait_until_ready(&exporter).await;
    backend.wait_for(21..=25).await;
    let delivered = arrived(&backend.receiver.accepted()).len() as f64;
    let dropped = exporter.metric("logtracer_exporter_outbox_batches_dropped_total").await;
    assert!(delivered + dropped >= 25., "each batch is delivered or counted: {delivered}, {dropped}");
    // The store takes new spans, too.
    let stored = "logtracer_exporter_spans_delivered_total{sink=\"store\"}";
    eventually("the store", async || (exporter.metric(stored).await + dropped >= 25.).then_some(())).await;
}
