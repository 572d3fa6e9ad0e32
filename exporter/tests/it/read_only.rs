//! A container whose file system is read-only, except the data directory: SQLite has no place for temporary files.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::{Exporter, command, eventually, request, span};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

/// Mounts the whole file system read-only below `$1`, and an empty one at `$2`, and runs the other arguments in it.
const SCRIPT: &str = r#"
set -eu
root=$1 data=$2; shift 2
mount --make-rprivate /
mount --rbind / "$root"
mount -o remount,bind,ro "$root"
for dir in /tmp /var/tmp /usr/tmp; do
    if [ -w "$root$dir" ]; then
        mount --bind "$root$dir" "$root$dir"
        mount -o remount,bind,ro "$root$dir"
    fi
done
mount -t tmpfs tmpfs "$root$data"
# Those that SQLite tries, and the current directory.
for dir in /var/tmp /usr/tmp /tmp /; do
    if touch "$root$dir/logtracer-test" 2>/dev/null; then echo "$dir is not read-only" >&2; exit 1; fi
done
unset SQLITE_TMPDIR TMPDIR
cd /
exec chroot "$root" "$@"
"#;

/// Starts the exporter with its data in this directory, as the only one that can be written.
fn start(root: &Path, data: &Path, options: &[&str]) -> Exporter {
    let inner = command(data);
    // In a user namespace, an unprivileged user may mount.
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", SCRIPT, "sh"]).arg(root).arg(data);
    command.arg(inner.get_program()).args(inner.get_args()).args(options);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Exporter::spawn(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_and_lines_are_stored_and_searched_without_a_temporary_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (root, data) = (dir.path().join("root"), dir.path().join("data"));
    [&root, &data].into_iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
    let log = dir.path().join("log");
    let mut file = std::fs::File::create(&log).unwrap();
    let exporter = start(&root, &data, &["--tail", log.to_str().unwrap()]);
    // More than SQLite keeps in its caches.
    let (traces, spans) = (2_000_u64, 10_u64);
    let trace = |n: u64| format!("{:032x}", u128::from(n) + (7 << 64));
    for chunk in (1..=traces).collect::<Vec<_>>().chunks(200) {
        let of = |n: &u64| {
            let name = format!("GET /{n}/{}", "x".repeat(500));
            (1..=spans).map(|id| span(&trace(*n), *n * 100 + id, 0, &name, id, 1)).collect::<Vec<_>>()
        };
        exporter.send(&request("shop", chunk.iter().flat_map(of).collect())).await;
        for n in chunk {
            writeln!(
                file,
                "{}",
                json!({ "message": format!("shop - line {n}"), "trace": trace(*n), "severity": "ERROR" })
            )
            .unwrap();
        }
    }
    let records: Vec<_> = (1..=1_000)
        .map(|n| json!({ "traceId": trace(n), "body": { "stringValue": format!("record {n}") }, "timeUnixNano": "1700000000000000000" }))
        .collect();
    let body = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": records }] }] });
    let post = reqwest::Client::new().post(format!("{}/v1/logs", exporter.http));
    let response =
        post.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    // A trace of many spans, which a page arranges.
    for from in (0..20_000).step_by(4_000) {
        let spans = (from..from + 4_000).map(|id| span(TRACE, id + 1, 1, "work", 20_000 - id, 5));
        exporter.send(&request("shop", spans.collect())).await;
    }
    exporter.trace(&trace(traces), spans as usize, 1).await;
    exporter.trace(&trace(1_000), spans as usize, 2).await;
    let delivered = "logtracer_exporter_spans_delivered_total{sink=\"store\"}";
    exporter.wait_for_metric(delivered, (traces * spans + 20_000) as f64).await;

    for (path, expected) in [
        ("/api/traces?q=line+1999".to_owned(), trace(1_999)),
        ("/api/traces?sort=longest".to_owned(), TRACE.to_owned()),
        ("/api/traces?min_duration=1ms&sort=oldest".to_owned(), trace(1)),
        (format!("/api/logs?q=record+1000&trace={}", trace(1_000)), "record 1000".to_owned()),
        ("/api/logs?severity=ERROR".to_owned(), "shop - line 2000".to_owned()),
        ("/api/services".to_owned(), "shop".to_owned()),
        // A search of a page can end before it has found something.
        ("/?q=line+1999".to_owned(), "</html>".to_owned()),
        ("/logs?q=line+1999".to_owned(), "</html>".to_owned()),
        ("/services".to_owned(), "shop".to_owned()),
        (format!("/trace/{TRACE}?find=work"), "work".to_owned()),
        (format!("/api/traces/{TRACE}?format=otlp"), "0000000000004e20".to_owned()),
    ] {
        let mut cursor = String::new();
        eventually(&path, async || {
            let response = exporter.get(&format!("{path}{cursor}")).await;
            let status = response.status();
            let text = response.text().await.unwrap();
            assert_eq!(status, 200, "{path}: {text}");
            // The next page goes on where the time of the search was over.
            let next = serde_json::from_str::<serde_json::Value>(&text).ok();
            let next = next.and_then(|json| Some(json["next_cursor"].as_str()?.to_owned()));
            cursor = next.map_or_else(String::new, |next| format!("&cursor={next}"));
            text.contains(&expected).then_some(())
        })
        .await;
    }
    exporter.kill();
}
