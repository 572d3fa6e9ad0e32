//! Tests of the reader with files that grow.

mod forwarded;
mod replaced;
mod rotated;

use std::fs::{self, OpenOptions, remove_file, rename};
use std::io::Write;

use super::*;
use crate::metrics::ReasonLabel;
use crate::storage::DiskReserve;

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

/// A folder of logs, and a store for their lines.
struct Logs {
    dir: tempfile::TempDir,
    store: Store,
    metrics: Arc<Metrics>,
    forward: Option<Forward>,
    /// The messages of the lines that were checked.
    checked: Vec<String>,
}

impl Logs {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let store = Store::open(
            &crate::storage::DataDir::unlocked(dir.path()),
            DiskReserve::small(dir.path()),
            metrics.clone(),
        )
        .unwrap();
        fs::create_dir(dir.path().join("logs")).unwrap();
        Self { dir, store, metrics, forward: None, checked: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("logs").join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        rename(self.path(from), self.path(to)).unwrap();
    }

    /// Does what logrotate does with `copytruncate`.
    fn copy_and_truncate(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
        OpenOptions::new().write(true).truncate(true).open(self.path(from)).unwrap();
    }

    /// A reader that starts at the committed positions.
    fn reader(&self, names: &[&str]) -> Reader {
        let paths: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        Reader::open(&paths, Duration::ZERO, self.tail()).unwrap()
    }

    fn tail(&self) -> Tail {
        Tail { store: self.store.clone(), metrics: self.metrics.clone(), forward: self.forward.clone() }
    }

    /// Reads until nothing more is found, and checks the messages of the lines that are new, in any order.
    #[track_caller]
    fn check(&mut self, reader: &mut Reader, expected: &[&str]) {
        for _ in 0..6 {
            reader.read(|_| true).unwrap();
        }
        let trace = self.store.trace(TRACE.parse().unwrap()).unwrap();
        let lines = trace.map_or(Vec::new(), |trace| trace.lines);
        let all: Vec<String> = lines.into_iter().map(|line| line.message).collect();
        let mut new = all.clone();
        for message in std::mem::replace(&mut self.checked, all) {
            new.remove(new.iter().position(|other| *other == message).expect("it stays in the store"));
        }
        new.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(new, expected);
    }

    fn gaps(&self, reason: &'static str) -> u64 {
        self.metrics.log_file_gaps.get_or_create(&ReasonLabel { reason }).get()
    }

    fn skipped(&self, reason: &'static str) -> u64 {
        self.metrics.log_lines_skipped.get_or_create(&ReasonLabel { reason }).get()
    }

    #[track_caller]
    fn check_gaps(&self, expected: &[(&str, u64)]) {
        let count = |reason| (reason, self.gaps(reason));
        let all = ["truncated", "deleted", "compressed"].map(count);
        let got: Vec<_> = all.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(got, expected);
    }
}

/// A line with a time of its own.
fn line(message: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TIME: AtomicU64 = AtomicU64::new(1);
    let time = TIME.fetch_add(1, Ordering::Relaxed);
    format!("{{\"timestampSeconds\":{time},\"trace\":\"{TRACE}\",\"message\":\"{message}\"}}\n")
}

#[test]
fn a_file_appears_and_grows() {
    let mut logs = Logs::new();
    let mut reader = logs.reader(&["log"]);
    logs.check(&mut reader, &[]);
    let (two, four) = (line("two"), line("four"));
    logs.append("log", &(line("one") + &two[..9]));
    logs.check(&mut reader, &["one"]);
    logs.check(&mut reader, &[]);
    logs.append("log", &(two[9..].replace('\n', "\r\n") + "\n" + &line("three") + &four[..60]));
    logs.check(&mut reader, &["two", "three"]);
    logs.append("log", &four[60..]);
    logs.check(&mut reader, &["four"]);
    assert_eq!((logs.metrics.log_lines_tailed.get(), logs.skipped("empty")), (5, 1));
}

#[test]
fn a_restart_resumes_at_the_read_positions() {
    let mut logs = Logs::new();
    let three = line("three");
    logs.append("log", &(line("one") + &line("two") + &three[..50]));
    let mut reader = logs.reader(&["log"]);
    logs.check(&mut reader, &["one", "two"]);
    logs.append("log", &three[50..]);
    let mut reader = logs.reader(&["log"]);
    logs.check(&mut reader, &["three"]);

    // A different file with the same name, and mostly the same inode, longer than the old one.
    remove_file(logs.path("log")).unwrap();
    logs.append("log", &(0..20).map(|n| line(&n.to_string())).collect::<String>());
    let mut reader = logs.reader(&["log"]);
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    logs.check(&mut reader, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn the_parts_of_a_line_are_read_when_the_line_is_complete() {
    let mut logs = Logs::new();
    let prefixed = |kind: &str, text: &str| format!("2026-11-22T23:00:00Z {kind} {text}\n");
    let two = line("two  words");
    let (start, end) = two.trim_end().split_at(two.find(" words").unwrap());
    logs.append("log", &(prefixed("stdout F", line("one").trim_end()) + &prefixed("stdout P", start)));
    let mut reader = logs.reader(&["log"]);
    logs.check(&mut reader, &["one"]);
    // A restart reads the parts of an incomplete line again.
    let mut reader = logs.reader(&["log"]);
    logs.append("log", &prefixed("stdout F", end));
    logs.check(&mut reader, &["two  words"]);

    // A line whose parts are longer than 1 MiB, and another stream between them.
    let part = prefixed("stdout P", &"x".repeat(16 << 10));
    let other = prefixed("stderr F", "no JSON");
    logs.append("log", &format!("{part}{other}").repeat(400));
    for _ in 0..20 {
        logs.check(&mut reader, &[]);
    }
    logs.append(
        "log",
        &(part + &prefixed("stdout F", "end") + &prefixed("stdout F", line("three").trim_end())),
    );
    logs.check(&mut reader, &["three"]);
    assert_eq!((logs.skipped("too long"), logs.skipped("not json")), (1, 400));
}

#[test]
fn a_line_that_is_too_long_is_skipped() {
    let mut logs = Logs::new();
    let long = "x".repeat(11 << 20);
    let largest = line("-").replace('-', &"y".repeat((1 << 20) - line("").len()));
    assert_eq!(largest.len(), 1 << 20);
    logs.append("log", &format!("{}{long}\n{}x{largest}{largest}{long}", line("one"), line("two")));
    let mut reader = logs.reader(&["log"]);
    let message = "y".repeat((1 << 20) - line("").len());
    for _ in 0..3 {
        for _ in 0..6 {
            reader.read(|_| true).unwrap();
        }
    }
    logs.check(&mut reader, &["one", "two", &message]);
    // The rest of the last line follows after a restart.
    logs.append("log", &format!("{long}\n{}", line("three")));
    let mut reader = logs.reader(&["log"]);
    for _ in 0..50 {
        reader.read(|_| true).unwrap();
    }
    logs.check(&mut reader, &["three"]);
    assert_eq!((logs.skipped("too long"), logs.skipped("not json")), (3, 0));
}

#[test]
fn a_file_with_much_to_read_does_not_hold_up_the_others() {
    let mut logs = Logs::new();
    logs.append("hot", &"no JSON\n".repeat(4 << 20));
    let names: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for name in &names {
        logs.append(name, &line(name));
    }
    let all: Vec<&str> = ["hot"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let mut reader = logs.reader(&all);
    logs.check(&mut reader, &all[1..]);
    assert!(logs.skipped("not json") < 4 << 20);
}

#[test]
fn more_files_than_can_be_kept_open_are_read() {
    let mut logs = Logs::new();
    let names: Vec<String> = (0..400).map(|n| format!("{n}.log")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut reader = logs.reader(&all);
    for round in 0..3 {
        for name in &all {
            logs.append(name, &line(name));
            if round == 1 {
                logs.rename(name, &format!("{name}.1"));
                logs.append(name, "\n");
            }
        }
        logs.check(&mut reader, &all);
        let open = fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(open < 400, "{open}");
    }
    logs.check_gaps(&[]);
}

#[test]
fn a_line_is_counted_when_it_is_stored() {
    let mut logs = Logs::new();
    let mut reader = logs.reader(&["log"]);
    let other = rusqlite::Connection::open(logs.dir.path().join("store.db")).unwrap();
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON line BEGIN SELECT RAISE(ABORT, 'disk on fire'); END";
    other.execute_batch(trigger).unwrap();
    logs.append("log", &(line("one") + "noise\n"));
    for _ in 0..3 {
        reader.read(|_| true).unwrap_err();
    }
    assert_eq!((logs.metrics.log_lines_tailed.get(), logs.skipped("not json")), (0, 0));
    other.execute_batch("DROP TRIGGER no").unwrap();
    logs.check(&mut reader, &["one"]);
    assert_eq!((logs.metrics.log_lines_tailed.get(), logs.skipped("not json")), (2, 1));
}
