//! Log lines from files that grow, together with the spans of their trace.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::{Exporter, START, command, eventually, request, span};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

fn append(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn tailing(data_dir: &Path, files: &[&Path]) -> Command {
    let mut command = command(data_dir);
    for file in files {
        command.arg("--tail").arg(file);
    }
    command
}

fn stackdriver(second: u32, message: &str) -> String {
    format!(
        r#"{{"severity":"WARNING","message":"{message}","time":"2023-11-14T22:13:{second:02}Z","logging.googleapis.com/trace":"projects/p/traces/{TRACE}","logging.googleapis.com/spanId":"0000000000000001","logging.googleapis.com/trace_sampled":true}}"#
    )
}

fn local(second: u32, message: &str) -> String {
    format!(
        r#"{{"severity":"INFO","message":"{message}","time":"2023-11-14T22:13:{second:02}.500Z","trace":"{TRACE}","spanId":"0000000000000002","traceSampled":true}}"#
    )
}

fn messages(trace: &serde_json::Value) -> Vec<&str> {
    trace["logs"].as_array().unwrap().iter().map(|log| log["message"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn lines_of_all_files_are_sorted_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (envoy, shop) = (dir.path().join("envoy.log"), dir.path().join("shop.log"));
    // One file exists when the exporter starts. The other is created later.
    append(
        &envoy,
        &format!("{}\nstarting, not JSON\n{{\"message\":\"of no trace\"}}\n", stackdriver(20, "first")),
    );
    let exporter = Exporter::spawn(tailing(&data, &[&envoy, &shop]));
    exporter.trace(TRACE, 0, 1).await;

    append(&shop, &format!("{}\n{}\n", local(22, "third"), local(21, "second")));
    let trace = exporter.trace(TRACE, 0, 3).await;
    assert_eq!(messages(&trace), ["first", "second", "third"]);
    let log = &trace["logs"][0];
    assert_eq!(log["severity"], "WARNING");
    assert_eq!(log["span_id"], "0000000000000001");
    assert_eq!(log["time_unix_nano"], START.to_string());
    assert_eq!(log["line"]["logging.googleapis.com/trace"], format!("projects/p/traces/{TRACE}"));

    // A trace without spans is listed. Its spans are added later.
    let listed = exporter.json("/api/traces").await;
    assert_eq!(listed["traces"][0]["log_count"], 3);
    assert_eq!(listed["traces"][0]["root_name"], "");
    exporter.send(&request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 5000)])).await;
    exporter.trace(TRACE, 1, 3).await;
    let listed = exporter.json("/api/traces").await;
    assert_eq!(
        (&listed["traces"][0]["root_name"], &listed["traces"][0]["duration_nano"]),
        (&json!("GET /"), &json!("5000000000"))
    );

    let skipped = "logtracer_exporter_log_lines_skipped_total{reason=\"not json\"}";
    assert_eq!(exporter.metric(skipped).await, 1.);
    let lines = exporter.json("/api/logs").await;
    assert_eq!(messages(&lines)[0], "of no trace");
    assert_eq!(lines["logs"].as_array().unwrap().len(), 4);
    assert_eq!(exporter.metric("logtracer_exporter_log_lines_tailed_total").await, 5.);
}

#[tokio::test]
async fn a_line_is_read_when_it_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("shop.log");
    let exporter = Exporter::spawn(tailing(&dir.path().join("data"), &[&log]));
    let line = local(30, "in two parts");
    let (start, end) = line.split_at(40);
    append(&log, &format!("{}\n{start}", local(20, "whole")));
    exporter.trace(TRACE, 0, 1).await;
    append(&log, &format!("{end}\n"));
    assert_eq!(messages(&exporter.trace(TRACE, 0, 2).await), ["whole", "in two parts"]);
}

#[tokio::test]
async fn a_restart_neither_loses_nor_repeats_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let log = dir.path().join("shop.log");
    for round in 0..3u32 {
        let before = round as usize * 20;
        for n in 0..10 {
            append(&log, &format!("{}\n", local(n, &format!("{round}/{n}"))));
        }
        let exporter = Exporter::spawn(tailing(&data, &[&log]));
        exporter.trace(TRACE, 0, before + 10).await;
        for n in 10..20 {
            append(&log, &format!("{}\n", local(n, &format!("{round}/{n}"))));
        }
        exporter.trace(TRACE, 0, before + 20).await;
        exporter.kill();
    }
    // Lines before and after a rotation while the exporter is down.
    append(&log, &format!("{}\n", stackdriver(58, "before the rotation")));
    std::fs::rename(&log, dir.path().join("shop.log.1")).unwrap();
    append(&log, &format!("{}\n", stackdriver(59, "after the rotation")));
    let exporter = Exporter::spawn(tailing(&data, &[&log]));
    let trace = exporter.trace(TRACE, 0, 62).await;
    assert_eq!(messages(&trace)[60..], ["before the rotation", "after the rotation"]);
}

#[tokio::test]
async fn the_log_format_of_the_kubelet_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("0.log");
    let exporter = Exporter::spawn(tailing(&dir.path().join("data"), &[&log]));
    let line = local(2, "in parts");
    let (start, end) = line.split_at(40);
    append(&log, &format!("2023-11-14T22:13:01.5Z stdout F {}\n", local(1, "whole")));
    append(
        &log,
        &format!("2023-11-14T22:13:02.5Z stdout P {start}\n2023-11-14T22:13:02.6Z stdout F {end}\n"),
    );
    append(&log, "2023-11-14T22:13:03.5Z stderr F no JSON\n");
    assert_eq!(messages(&exporter.trace(TRACE, 0, 2).await), ["whole", "in parts"]);
    let skipped = "logtracer_exporter_log_lines_skipped_total{reason=\"not json\"}";
    eventually("the skipped line", async || (exporter.metric(skipped).await == 1.).then_some(())).await;
}

#[tokio::test]
async fn lines_written_to_the_rotated_file_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("shop.log");
    let exporter = Exporter::spawn(tailing(&dir.path().join("data"), &[&log]));
    append(&log, &format!("{}\n", local(1, "before")));
    exporter.trace(TRACE, 0, 1).await;
    // A rotation by logrotate with `create`. The program writes to the old file for another second.
    std::fs::rename(&log, dir.path().join("shop.log.1")).unwrap();
    append(&log, "");
    for second in 2..=4 {
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        append(&dir.path().join("shop.log.1"), &format!("{}\n", local(second, "old file")));
    }
    append(&log, &format!("{}\n", local(5, "after")));
    let trace = exporter.trace(TRACE, 0, 5).await;
    assert_eq!(messages(&trace), ["before", "old file", "old file", "old file", "after"]);
}

#[tokio::test]
async fn what_programs_write_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("shop.log");
    let with = |members: &str| format!(r#"{{"trace":"{TRACE}",{members}}}"#);
    let half = with(r#""message":"cut \ud83d","\udc00":["\ud83d x"],"time":"2023-11-14T22:13:20Z""#);
    let time = with(r#""message":"b","time":"bad","timestamp":"2023-11-14T22:13:21Z""#);
    let spaces = with(r#""message":"c  d","time":"2023-11-14T22:13:22Z""#);
    let (start, end) = spaces.split_at(spaces.find("  d").unwrap() + 1);
    let prefix = "2023-11-14T22:13:23Z stdout";
    let parts = format!("{prefix} P {start}\n{prefix} F {end}\n");
    let latin1 = with(r#""message":"caf"#);
    let lines: [&[u8]; 9] = [
        b"\xef\xbb\xbf",
        half.as_bytes(),
        b"\r\n",
        time.as_bytes(),
        b"\n",
        parts.as_bytes(),
        b"\0\0\0",
        latin1.trim_end_matches('}').as_bytes(),
        b"\xe9\"}\n",
    ];
    std::fs::write(&log, lines.concat()).unwrap();
    let exporter = Exporter::spawn(tailing(&dir.path().join("data"), &[&log]));
    let trace = exporter.trace(TRACE, 0, 4).await;
    assert_eq!(messages(&trace), ["cut \u{fffd}", "b", "c  d", "caf\u{fffd}"]);
    assert_eq!(trace["logs"][0]["line"]["\u{fffd}"], json!(["\u{fffd} x"]));
    assert_eq!(trace["logs"][1]["time_unix_nano"], (START + 1_000_000_000).to_string());
}

#[tokio::test]
async fn a_file_behind_a_symbolic_link_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir_all(dir.path().join("pods/web")).unwrap();
    let (pod, link) = (dir.path().join("pods/web/0.log"), dir.path().join("web.log"));
    std::os::unix::fs::symlink("pods/web/0.log", &link).unwrap();
    append(&pod, &format!("{}\n", local(1, "one")));
    let exporter = Exporter::spawn(tailing(&data, &[&link]));
    exporter.trace(TRACE, 0, 1).await;
    exporter.kill();
    append(&pod, &format!("{}\n", local(2, "two")));
    std::fs::rename(&pod, dir.path().join("pods/web/0.log.20261126-031500")).unwrap();
    append(&pod, &format!("{}\n", local(3, "three")));
    let exporter = Exporter::spawn(tailing(&data, &[&link]));
    assert_eq!(messages(&exporter.trace(TRACE, 0, 3).await), ["one", "two", "three"]);
}

/// The file grows, and is rotated and truncated, while the exporter is killed again and again.
#[tokio::test]
async fn a_kill_at_any_moment_neither_loses_nor_repeats_a_line() {
    const LINES: usize = 3000;
    let dir = tempfile::tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("shop.log"));
    let rotated = |n: usize| dir.path().join(format!("shop.log.{n}"));
    append(&log, &format!("{}\n", local(0, "first")));
    let exporter = Exporter::spawn(tailing(&data, &[&log]));
    exporter.trace(TRACE, 0, 1).await;
    exporter.kill();
    let writer = {
        let (log, rotated) = (log.clone(), [1, 2, 3, 4, 5, 6].map(rotated));
        std::thread::spawn(move || {
            for n in 0..LINES {
                append(&log, &format!("{}\n", local(1, &n.to_string())));
                std::thread::sleep(std::time::Duration::from_millis(1));
                if n % 600 == 599 {
                    for (older, newer) in rotated.iter().zip(&rotated[1..]).rev() {
                        let _ = std::fs::rename(older, newer);
                    }
                    if n % 1200 == 599 {
                        std::fs::rename(&log, &rotated[0]).unwrap();
                    } else {
                        std::fs::copy(&log, &rotated[0]).unwrap();
                        OpenOptions::new().write(true).truncate(true).open(&log).unwrap();
                    }
                }
            }
        })
    };
    let mut kills = 0;
    while !writer.is_finished() {
        let exporter = Exporter::spawn(tailing(&data, &[&log]));
        tokio::time::sleep(std::time::Duration::from_millis(30 + 37 * (kills % 7))).await;
        exporter.kill();
        kills += 1;
    }
    writer.join().unwrap();
    let exporter = Exporter::spawn(tailing(&data, &[&log]));
    let count = async || exporter.json("/api/traces").await["traces"][0]["log_count"].as_u64().unwrap();
    eventually("all lines", async || (count().await > LINES as u64).then_some(())).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(count().await, 1 + LINES as u64, "after {kills} kills");
    exporter.kill();
    let file = rusqlite::Connection::open(data.join("store.db")).unwrap();
    let different = "SELECT count(DISTINCT message) FROM line";
    let different: i64 = file.query_row(different, [], |row| row.get(0)).unwrap();
    assert_eq!(different, 1 + LINES as i64);
}

#[tokio::test]
async fn two_writers_of_old_files_do_not_repeat_lines() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("shop.log");
    let (old, older) = (dir.path().join("shop.log.1"), dir.path().join("shop.log.2"));
    append(&log, &format!("{}\n", local(1, "0")));
    let exporter = Exporter::spawn(tailing(&dir.path().join("data"), &[&log]));
    exporter.trace(TRACE, 0, 1).await;
    std::fs::rename(&log, &older).unwrap();
    append(&log, &format!("{}\n", local(1, "1")));
    exporter.trace(TRACE, 0, 2).await;
    std::fs::rename(&log, &old).unwrap();
    append(&log, &format!("{}\n", local(1, "2")));
    for n in 0..100 {
        for file in [&old, &older] {
            append(file, &format!("{}\n", local(2, &n.to_string())));
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    exporter.trace(TRACE, 0, 203).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    exporter.trace(TRACE, 0, 203).await;
}

#[tokio::test]
async fn stdin_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input");
    append(&input, &format!("{}\nnoise\n{}", stackdriver(1, "one"), local(2, "without a line break")));
    let mut command = tailing(&dir.path().join("data"), &[Path::new("-")]);
    command.stdin(Stdio::from(std::fs::File::open(&input).unwrap()));
    let exporter = Exporter::spawn(command);
    assert_eq!(messages(&exporter.trace(TRACE, 0, 2).await), ["one", "without a line break"]);
    let skipped = "logtracer_exporter_log_lines_skipped_total{reason=\"not json\"}";
    eventually("the skipped line", async || (exporter.metric(skipped).await == 1.).then_some(())).await;
}

#[tokio::test]
async fn many_lines_of_stdin_are_stored_together() {
    const LINES: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input");
    let text: String = (0..LINES).map(|n| local(n as u32 % 60, &n.to_string()) + "\n").collect();
    append(&input, &text);
    let mut command = tailing(&dir.path().join("data"), &[Path::new("-")]);
    command.stdin(Stdio::from(std::fs::File::open(&input).unwrap()));
    let exporter = Exporter::spawn(command);
    let begin = std::time::Instant::now();
    eventually("all lines", async || {
        let list = exporter.json("/api/traces").await;
        (list["traces"][0]["log_count"] == LINES).then_some(())
    })
    .await;
    assert!(begin.elapsed().as_secs() < 15, "one commit for each line takes longer: {:?}", begin.elapsed());
}
