//! Tests of the follower with files that grow and are rotated, and of stdin.

use std::fs::{OpenOptions, remove_file, rename, write};
use std::io::Write;
use std::path::Path;

use super::follow::NewLines;
use super::*;

fn resume(path: &Path, position: Option<(u64, Vec<u8>)>) -> Follower {
    Follower::resume(path.to_owned(), position, Duration::ZERO)
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn text(line: RawLine) -> String {
    match line {
        RawLine::Bytes(line) => String::from_utf8(line).unwrap().trim_end().to_owned(),
        RawLine::TooLong => "TOO LONG".to_owned(),
    }
}

/// Reads until there is nothing more to read at once.
#[track_caller]
fn check(follower: &mut Follower, expected: &[&str]) {
    let mut lines = Vec::new();
    loop {
        let new = follower.read().unwrap();
        lines.extend(new.lines.into_iter().map(text));
        if !new.has_more {
            break;
        }
    }
    assert_eq!(lines, expected);
}

/// Reads ten times, which follows several rotations.
#[track_caller]
fn check_all(follower: &mut Follower, expected: &[&str]) {
    let lines: Vec<String> = (0..10).flat_map(|_| follower.read().unwrap().lines).map(text).collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_file_grows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut follower = resume(&path, None);
    check(&mut follower, &[]);
    append(&path, b"one\ntw");
    check(&mut follower, &["one"]);
    check(&mut follower, &[]);
    append(&path, b"o\r\n\nthree");
    check(&mut follower, &["two", ""]);
    append(&path, b"\n");
    check(&mut follower, &["three"]);
}

#[test]
fn a_restart_resumes_at_the_read_position() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    append(&path, b"one\ntwo\nthr");
    let mut follower = resume(&path, None);
    check(&mut follower, &["one", "two"]);
    let position = Some((follower.offset(), follower.head().to_vec()));
    append(&path, b"ee\n");
    check(&mut resume(&path, position.clone()), &["three"]);

    // A different file with the same name, longer than the old one.
    write(&path, b"a\nb\nc\nd\ne\nf\ng\nh\ni\n").unwrap();
    check(&mut resume(&path, position), &["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
}

#[test]
fn a_truncated_file_is_read_from_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    append(&path, b"one\ntwo\n");
    let mut follower = resume(&path, None);
    check(&mut follower, &["one", "two"]);
    write(&path, b"a\n").unwrap();
    check(&mut follower, &["a"]);
    write(&path, b"x, now longer than before\n").unwrap();
    check(&mut follower, &["x, now longer than before"]);
}

#[test]
fn a_rotated_file_is_read_to_its_end_before_the_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    append(&path, b"one\n");
    let mut follower = resume(&path, None);
    check(&mut follower, &["one"]);
    let rotated = dir.path().join("log.1");
    rename(&path, &rotated).unwrap();
    append(&rotated, b"two\n");
    check(&mut follower, &["two"]);
    append(&rotated, b"three\n");
    append(&path, b"four\n");
    check(&mut follower, &["three"]);
    check(&mut follower, &["four"]);

    remove_file(&path).unwrap();
    check(&mut follower, &[]);
    append(&path, b"five\n");
    check(&mut follower, &["five"]);
}

#[test]
fn the_incomplete_last_line_of_a_rotated_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (path, rotated) = (dir.path().join("0.log"), dir.path().join("0.log.20261126-031500"));
    for (rest, line) in [
        ("the end is miss", "the end is miss"),
        ("2026-11-26T03:15:00Z stdout P a part\n", "2026-11-26T03:15:00Z stdout F a part"),
    ] {
        write(&path, rest).unwrap();
        let mut follower = resume(&path, None);
        check(&mut follower, &[]);
        rename(&path, &rotated).unwrap();
        write(&path, "one\n").unwrap();
        let NewLines { lines, has_advanced, has_more } = follower.read().unwrap();
        assert_eq!((lines, has_advanced, has_more), (vec![RawLine::Bytes(line.into())], true, true));
        // The position is the end of the old file, so a restart continues with the new file.
        let mut restarted = resume(&path, Some((follower.offset(), follower.head().to_vec())));
        for follower in [&mut follower, &mut restarted] {
            check(follower, &["one"]);
        }
    }
}

#[test]
fn a_rotated_file_is_followed_until_it_stops_growing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
    append(&path, b"one\n");
    let wait = Duration::from_millis(300);
    let mut follower = Follower::resume(path.clone(), None, wait);
    check(&mut follower, &["one"]);
    rename(&path, &rotated).unwrap();
    append(&path, b"four\n");
    for line in ["two", "three"] {
        // The program has not reopened its log yet.
        check(&mut follower, &[]);
        std::thread::sleep(wait / 3);
        append(&rotated, format!("{line}\n").as_bytes());
        check(&mut follower, &[line]);
    }
    std::thread::sleep(wait);
    check(&mut follower, &["four"]);
}

#[test]
fn two_rotations_between_two_reads_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let at = |name: &str| dir.path().join(name);
    append(&path, b"one\n");
    let mut follower = resume(&path, None);
    check(&mut follower, &["one"]);
    append(&path, b"two\n");
    rename(&path, at("log.1")).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    append(&path, b"three\n");
    rename(at("log.1"), at("log.2")).unwrap();
    rename(&path, at("log.1")).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    append(&path, b"four\n");
    let mut restarted = resume(&path, Some((follower.offset(), follower.head().to_vec())));
    check_all(&mut follower, &["two", "three", "four"]);
    check_all(&mut restarted, &["two", "three", "four"]);
}

#[test]
fn the_parts_of_a_line_are_read_when_the_line_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    append(&path, b"2026-11-22T23:00:00Z stdout F one\n2026-11-22T23:00:01Z stdout P tw\n");
    let mut follower = resume(&path, None);
    check(&mut follower, &["2026-11-22T23:00:00Z stdout F one"]);
    // A restart reads the parts of an incomplete line again.
    let mut restarted = resume(&path, Some((follower.offset(), follower.head().to_vec())));
    append(&path, b"2026-11-22T23:00:02Z stdout F o\n");
    for follower in [&mut follower, &mut restarted] {
        check(follower, &["2026-11-22T23:00:01Z stdout F two"]);
    }
    let part = [b"2026-11-22T23:00:03Z stdout P ".to_vec(), vec![b'x'; 16 << 10], b"\n".to_vec()].concat();
    for _ in 0..200 {
        append(&path, &part);
    }
    append(&path, b"2026-11-22T23:00:04Z stdout F end\n2026-11-22T23:00:05Z stdout F next\n");
    let lines: Vec<RawLine> = (0..10).flat_map(|_| follower.read().unwrap().lines).collect();
    assert!(lines.contains(&RawLine::TooLong));
    assert_eq!(lines.last(), Some(&RawLine::Bytes(b"2026-11-22T23:00:05Z stdout F next\n".to_vec())));
}

#[test]
fn a_line_that_is_too_long_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    append(&path, b"one\n");
    append(&path, &vec![b'x'; 5 * MAX_LINE_BYTES]);
    append(&path, b"\ntwo\n");
    let mut follower = resume(&path, None);
    check(&mut follower, &["one", "TOO LONG", "two"]);
}

#[test]
fn a_directory_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(resume(dir.path(), None).read().is_err());
}

#[test]
fn stdin_is_split_into_lines_whatever_the_sizes_of_its_reads() {
    let long = "x".repeat(MAX_LINE_BYTES);
    let text = format!("one\n\n{long}\ntwo\n{long}{long}{long}\nlast");
    for step in [1000, 4096, MAX_LINE_BYTES, text.len()] {
        let mut splitter = LineSplitter::default();
        text.as_bytes().chunks(step).for_each(|bytes| splitter.push(bytes));
        splitter.finish();
        let line = |text: &str| RawLine::Bytes(text.as_bytes().to_vec());
        let expected =
            [line("one\n"), line("\n"), RawLine::TooLong, line("two\n"), RawLine::TooLong, line("last")];
        assert!(splitter.lines == expected, "in steps of {step}");
    }
}

#[tokio::test]
async fn a_line_of_stdin_is_retried_until_it_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::new());
    let store = Store::open(
        &crate::storage::DataDir::unlocked(dir.path()),
        crate::storage::DiskReserve::small(dir.path()),
        metrics.clone(),
    )
    .unwrap();
    let other = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON line BEGIN SELECT RAISE(ABORT, 'disk on fire'); END";
    other.execute_batch(trigger).unwrap();
    let tail = Tail { path: "-".into(), store: store.clone(), metrics };
    let line = br#"{"trace":"463ac35c9f6413ad48485a3953bb6124","message":"kept"}"#;
    let storing =
        tokio::spawn(async move { tail.store_with_retries(vec![RawLine::Bytes(line.to_vec())]).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!storing.is_finished());
    other.execute_batch("DROP TRIGGER no").unwrap();
    storing.await.unwrap();
    let trace = store.trace("463ac35c9f6413ad48485a3953bb6124".parse().unwrap()).unwrap().unwrap();
    assert_eq!(trace.lines.len(), 1);
}
