//! What many log files, and hostile ones, take of memory and of the processor.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Exporter, command, eventually};

/// What the reader of log files may take, whatever the files contain.
const MAX_MIB: u64 = 64;

fn tailing(data_dir: &Path, files: &[PathBuf]) -> Exporter {
    let mut command = command(data_dir);
    for file in files {
        command.arg("--tail").arg(file);
    }
    Exporter::spawn(command)
}

/// Returns links to this file, which are as many logs.
fn links(dir: &Path, file: &Path, count: usize) -> Vec<PathBuf> {
    let extension = file.extension().unwrap().to_str().unwrap();
    let links: Vec<PathBuf> = (0..count).map(|n| dir.join(format!("{n}.{extension}"))).collect();
    links.iter().for_each(|link| fs::hard_link(file, link).unwrap());
    links
}

#[tokio::test]
async fn files_of_any_content_take_little_memory_and_no_thread_each() {
    const BYTES: usize = 6 << 20;
    const EMPTY_LINES: usize = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let baseline = Exporter::start(&dir.path().join("baseline"));
    let (memory, threads) = (baseline.status("VmHWM:") / 1024, baseline.status("Threads:"));
    drop(baseline);

    let trace = "463ac35c9f6413ad48485a3953bb6124";
    let part = format!("2026-11-22T23:00:00Z stdout P {}\n", "x".repeat(16 << 10));
    // As deep and as wide as JSON in a line of 1 MiB can be.
    let nested = format!("{{\"a\":[{}1],\"trace\":\"{trace}\"}}\n", "[0],".repeat(250_000));
    let members =
        format!("{{\"trace\":\"{trace}\",\"timestamp\":{{{}\"\":0}}}}\n", "\"\":0,".repeat(200_000));
    let small = format!("{{\"trace\":\"{trace}\"}}\n");
    let mut files = Vec::new();
    for (name, text, count) in [
        ("parts", part.repeat(BYTES / part.len()), 40),
        ("long", "x".repeat(BYTES), 40),
        ("short", "\n".repeat(EMPTY_LINES), 2),
        ("zeros", "\0".repeat(BYTES), 10),
        ("nested", nested.repeat(3), 3),
        ("members", members.repeat(3), 3),
        ("small", small.repeat(20_000), 5),
    ] {
        let file = dir.path().join(format!("file.{name}"));
        fs::write(&file, text).unwrap();
        files.extend(links(dir.path(), &file, count));
    }
    let exporter = tailing(&dir.path().join("data"), &files);
    let (lines, stored) = (40 + 40 + 2 * EMPTY_LINES + 9 + 9 + 100_000, 9. + 9. + 100_000.);
    let tailed = "logtracer_exporter_log_lines_tailed_total";
    eventually("all lines", async || (exporter.metric(tailed).await == lines as f64).then_some(())).await;
    let list = exporter.json("/api/traces").await;
    assert_eq!(list["traces"][0]["log_count"].as_f64(), Some(stored));
    let (now, threads_now) = (exporter.status("VmHWM:") / 1024, exporter.status("Threads:"));
    println!(
        "{} files: {memory} MiB before, {now} MiB at most, {threads} and {threads_now} threads",
        files.len()
    );
    assert!(now < memory + MAX_MIB, "{memory} MiB before, {now} MiB at most");
    assert!(threads_now < threads + 8, "{threads} before, {threads_now} threads");
}

#[tokio::test]
async fn files_that_do_not_grow_take_almost_no_processor_time() {
    for count in [3_000, 10_000] {
        let dir = tempfile::tempdir().unwrap();
        let baseline = Exporter::start(&dir.path().join("baseline"));
        let memory = baseline.status("VmHWM:") / 1024;
        drop(baseline);
        let files: Vec<PathBuf> = (0..count).map(|n| dir.path().join(format!("{n}.log"))).collect();
        files.iter().for_each(|file| fs::write(file, "no JSON\n").unwrap());
        let exporter = tailing(&dir.path().join("data"), &files);
        let tailed = "logtracer_exporter_log_lines_tailed_total";
        eventually("all lines", async || (exporter.metric(tailed).await == f64::from(count)).then_some(()))
            .await;
        // Until the longest interval is reached.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = exporter.cpu_ticks();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (ticks, now) = (exporter.cpu_ticks() - before, exporter.status("VmHWM:") / 1024);
        println!("{count} files: {ticks} ticks in 3 s, {memory} MiB before, {now} MiB at most");
        // A tick is 10 ms, so this is 5 per cent of a processor.
        assert!(ticks <= 15, "{count} files: {ticks} ticks");
        assert!(now < memory + MAX_MIB, "{count} files: {memory} MiB before, {now} MiB at most");
    }
}
