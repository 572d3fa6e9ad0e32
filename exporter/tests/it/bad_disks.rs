//! A full disk, and files that are not what they were.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prost::Message;

use crate::harness::{Exporter, command, eventually, request, span};
use crate::receiver::{Answer, Receiver, arrived, otlp};

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

/// The program, with a disk of its own that is this small; nobody else sees it, and it is gone with the program.
fn on_a_small_disk(dir: &Path, size: &str, options: &[&str]) -> Command {
    let inner = command(dir);
    let mut line = vec![inner.get_program().to_owned()];
    line.extend(inner.get_args().map(ToOwned::to_owned));
    let mut command = Command::new("unshare");
    // As root a mount namespace is enough; others get a user namespace, where they may mount.
    command.args(["--mount", "--map-root-user", "sh", "-c"]);
    command.arg(format!("mount -t tmpfs -o size={size} tmpfs '{}' && exec \"$@\"", dir.display()));
    command.arg("sh").args(line).args(options);
    let probe = Command::new("unshare")
        .args(["--mount", "--map-root-user", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .status();
    assert!(
        probe.is_ok_and(|status| status.success()),
        "a small disk is needed: run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1), \
         with unshare of util-linux"
    );
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_loses_nothing_that_was_acknowledged() {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    let backend = Receiver::start(move |request| match otlp(request) {
        Ok(_) if !down.load(Ordering::SeqCst) => Answer::ok(),
        Ok(_) => Answer::new(503, "not now"),
        Err(error) => Answer::new(400, error),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("otlp={}", backend.url);
    let exporter = Exporter::spawn(on_a_small_disk(dir.path(), "24m", &["--sink", &sink]));

    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for n in 0.. {
        let response = exporter.post("application/x-protobuf", batch(n)).await.unwrap();
        match response.status().as_u16() {
            200 => acknowledged.push(n),
            503 => {
                assert_eq!(response.headers()["retry-after"], "2");
                let text = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
                assert!(text.contains("cannot write the outbox") && text.contains("full"), "{text}");
                refused += 1;
                if refused > 20 {
                    break;
                }
            }
            other => panic!("{other}"),
        }
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let ready = exporter.get("/readyz").await;
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("the disk is full"));
    assert_eq!(exporter.get("/healthz").await.status(), 200, "a restart would not help");

    // The sink comes back: what waits goes out, and there is room again.
    is_down.store(false, Ordering::SeqCst);
    let last = eventually("room", async || {
        let response = exporter.post("application/x-protobuf", batch(1_000_000)).await.unwrap();
        (response.status() == 200).then_some(1_000_000)
    })
    .await;
    acknowledged.push(last);
    assert_eq!(exporter.get("/readyz").await.status(), 200);
    let outbox = "logtracer_exporter_outbox_bytes";
    eventually("an empty outbox", async || (exporter.metric(outbox).await == 0.).then_some(())).await;
    let arrived = arrived(&backend.accepted());
    for n in acknowledged {
        for id in 1..=20u64 {
            let key = (trace(n), format!("{id:016x}"));
            assert!(arrived.contains_key(&key), "span {id} of batch {n} was acknowledged and is lost");
        }
    }
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
    let output = command(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "logtracer-exporter: cannot open the outbox {}: it is the SQLite database of another program (application id 0x0)\n",
        path.display()
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
