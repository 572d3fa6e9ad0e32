//! A full disk, and files that are not what they were.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::Message;

use crate::harness::{Exporter, command, ends, eventually, request, span};
use crate::receiver::{Answer, Receiver, Request, arrived, otlp, strict_otlp};

/// Ids that do not repeat, and a name that does not get shorter.
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

/// A disk that is this small; nobody else sees it, and it is gone with this.
struct SmallDisk {
    dir: tempfile::TempDir,
    holder: Child,
}

impl SmallDisk {
    fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // As root a mount namespace is enough; others get a user namespace, where they may mount. Who holds it ends when
        // its stdin does.
        let mount = format!(
            "mount -t tmpfs -o size={size} tmpfs '{}' && echo mounted && exec cat",
            dir.path().display()
        );
        let mut holder = Command::new("unshare")
            .args(["--mount", "--map-root-user", "sh", "-c", &mount])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare of util-linux");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(
            line, "mounted\n",
            "a small disk is needed: run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
        );
        Self { dir, holder }
    }

    /// The program with its data on this disk.
    fn exporter(&self, options: &[&str]) -> Exporter {
        let inner = command(self.dir.path());
        let mut command = Command::new("nsenter");
        command.args([
            "--user",
            "--mount",
            "--preserve-credentials",
            "--target",
            &self.holder.id().to_string(),
        ]);
        command.arg(inner.get_program()).args(inner.get_args()).args(options);
        Exporter::spawn({
            command.stdin(Stdio::null()).stdout(Stdio::piped());
            command
        })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Sends until the disk is full; the batches that were acknowledged.
async fn fill(exporter: &Exporter, mut n: u64) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    while refused < 20 {
        n += 1;
        let response = exporter.post("application/x-protobuf", batch(n)).await.unwrap();
        match response.status().as_u16() {
            200 => acknowledged.push(n),
            503 => {
                assert_eq!(response.headers()["retry-after"], "2");
                let text = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
                assert!(text.contains("cannot write the outbox: the disk is full"), "{text}");
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    acknowledged
}

/// Sends until the disk is full and stays so: what is moved from the log into the file can give room once more.
async fn fill_for_good(exporter: &Exporter, from: u64) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    loop {
        acknowledged.extend(fill(exporter, from + acknowledged.len() as u64 * 100).await);
        tokio::time::sleep(Duration::from_secs(3)).await;
        if exporter.get("/readyz").await.status() == 503 {
            return acknowledged;
        }
    }
}

/// Sends until there is room.
async fn send_with_patience(exporter: &Exporter, n: u64) {
    eventually("room", async || {
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

/// A sink that is down while the disk gets full and for some time more; the exporter is killed and started again on the
/// full disk.
async fn a_full_disk_of(size: &str) {
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

    let mut acknowledged = fill_for_good(&exporter, 0).await;
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    assert_eq!(exporter.line("logtracer-exporter - the disk is full")["database"], "outbox");
    for round in 1..=2 {
        let ready = exporter.get("/readyz").await.text().await.unwrap();
        assert!(ready.contains("the disk is full"), "{ready}");
        assert_eq!(exporter.get("/healthz").await.status(), 200, "a restart would not help");
        exporter.kill();
        exporter = disk.exporter(&["--sink", &sink]);
        acknowledged.extend(fill_for_good(&exporter, round * 1_000_000).await);
    }

    // The sink comes back: what waits goes out, and there is room again.
    is_down.store(false, Ordering::SeqCst);
    send_with_patience(&exporter, 9_000_000).await;
    acknowledged.push(9_000_000);
    assert_eq!(exporter.get("/readyz").await.status(), 200);
    let outbox = "logtracer_exporter_outbox_bytes";
    eventually("an empty outbox", async || (exporter.metric(outbox).await == 0.).then_some(())).await;
    assert_arrived(&backend, acknowledged);
    exporter.line("logtracer-exporter - disk has free space again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_24_mib_loses_nothing_that_was_acknowledged() {
    a_full_disk_of("24m").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_40_mib_loses_nothing_that_was_acknowledged() {
    a_full_disk_of("40m").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_64_mib_loses_nothing_that_was_acknowledged() {
    a_full_disk_of("64m").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_140_mib_loses_nothing_that_was_acknowledged() {
    a_full_disk_of("140m").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_the_oldest_traces_of_the_store_make_room() {
    for size in ["24m", "64m"] {
        let disk = SmallDisk::new(size);
        let mut exporter = disk.exporter(&[]);
        // Much more than the disk takes.
        let last = if size == "24m" { 1_200 } else { 3_000 };
        for n in 1..=last {
            send_with_patience(&exporter, n).await;
        }
        let delivered = "logtracer_exporter_spans_delivered_total{sink=\"store\"}";
        exporter.counted(delivered, last as f64 * 20.).await;
        exporter.trace(&trace(last), 20, 0).await;
        let expired = "logtracer_exporter_store_traces_expired_total{reason=\"disk full\"}";
        assert!(exporter.metric(expired).await > 0.);
        let left = exporter.line("logtracer-exporter - traces left the store");
        assert_eq!(left["severity"], "WARNING");
        assert_eq!(left["reason"], "disk full");
        eventually("readiness", async || (exporter.get("/readyz").await.status() == 200).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_dead_letters_make_room_and_hold_up_no_other_sink() {
    let good = Receiver::start(strict_otlp).await;
    let picky = Receiver::start(|_: &Request| Answer::new(400, "never")).await;
    let disk = SmallDisk::new("24m");
    let (good_name, picky_name) = (format!("otlp={}", good.url), format!("otlp={}", picky.url));
    let exporter = disk.exporter(&["--sink", &good_name, "--sink", &picky_name]);
    for n in 1..=1_000 {
        send_with_patience(&exporter, n).await;
    }
    let outbox = "logtracer_exporter_outbox_bytes";
    eventually("an empty outbox", async || (exporter.metric(outbox).await == 0.).then_some(())).await;
    assert_arrived(&good, 1..=1_000);
    let discarded = format!("logtracer_exporter_dead_letters_evicted_total{{sink=\"{picky_name}\"}}");
    assert!(exporter.metric(&discarded).await > 0.);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_set_aside_as_it_is() {
    for (file, name) in [("outbox.db", "outbox"), ("store.db", "store"), ("dead-letters.db", "dead letters")]
    {
        let dir = tempfile::tempdir().unwrap();
        let content = b"this is no database, and somebody may need it".repeat(50);
        std::fs::write(dir.path().join(file), &content).unwrap();
        let mut command = command(dir.path());
        command.stdout(Stdio::piped());
        let exporter = Exporter::spawn(command);
        let aside = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().contains(&format!("{file}.damaged-")));
        assert_eq!(std::fs::read(aside.expect(name)).unwrap(), content);
        exporter.send(&request("shop", vec![span(&trace(1), 1, 0, "GET /", 0, 1)])).await;
        exporter.trace(&trace(1), 1, 0).await;
    }
}

#[test]
fn a_database_of_another_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let made = Command::new("python3")
        .args(["-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE theirs(x)')"])
        .arg(&path)
        .status();
    assert!(made.is_ok_and(|status| status.success()), "python3 is needed, with its module sqlite3");
    let before = std::fs::read(&path).unwrap();
    let expected = format!(
        "cannot open the outbox {}: it is the SQLite database of another program (application id 0x0)",
        path.display()
    );
    assert_eq!(ends(command(dir.path())), (Some(1), expected));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
