//! Tests of rotated files.

use std::fs::{self, remove_file};
use std::os::unix::fs::symlink;

use super::*;

#[test]
fn a_rotated_file_is_read_to_its_end() {
    for is_running in [true, false] {
        let mut logs = Logs::new();
        logs.append("log", &line("one"));
        let mut reader = logs.reader(&["log"]);
        logs.check(&mut reader, &["one"]);
        let restart = |logs: &Logs, reader: &mut Reader| {
            if !is_running {
                *reader = logs.reader(&["log"]);
            }
        };
        logs.rename("log", "log.1");
        logs.append("log.1", &line("two"));
        restart(&logs, &mut reader);
        logs.check(&mut reader, &["two"]);
        logs.append("log.1", &line("three"));
        logs.append("log", &line("four"));
        restart(&logs, &mut reader);
        logs.check(&mut reader, &["three", "four"]);

        // Twice between two reads.
        logs.append("log", &line("five"));
        logs.rename("log.1", "log.2");
        logs.rename("log", "log.1");
        logs.append("log", &line("six"));
        logs.rename("log.2", "log.3");
        logs.rename("log.1", "log.2");
        logs.rename("log", "log.1");
        logs.append("log", &line("seven"));
        restart(&logs, &mut reader);
        logs.check(&mut reader, &["five", "six", "seven"]);
        // An old program still writes.
        logs.append("log.3", &line("eight"));
        restart(&logs, &mut reader);
        logs.check(&mut reader, &["eight"]);
        logs.check_gaps(&[]);
    }
}

#[test]
fn programs_can_write_to_several_old_files() {
    let mut logs = Logs::new();
    // They are older than the first start, so their lines are not read.
    logs.append("log.1", &line("old"));
    logs.append("log-20261128", &line("older"));
    logs.append("log", &line("0"));
    let mut reader = logs.reader(&["log"]);
    logs.check(&mut reader, &["0"]);
    logs.rename("log.1", "log.2");
    logs.rename("log", "log.1");
    logs.append("log", &line("1"));
    logs.check(&mut reader, &["1"]);
    for round in 0..10 {
        for name in ["log.2", "log", "log.1", "log-20261128"] {
            logs.append(name, &line(name));
            if round % 3 == 2 {
                reader = logs.reader(&["log"]);
            }
            logs.check(&mut reader, &[name]);
        }
    }
    assert_eq!(logs.metrics.log_lines_tailed.get(), 42);
}

#[test]
fn the_incomplete_last_line_of_a_rotated_file_is_read() {
    let line = line("the end");
    let cases = [line.trim_end().to_owned(), format!("2026-11-26T03:15:00Z stdout P {line}")];
    for rest in cases {
        let mut logs = Logs::new();
        logs.append("log", &rest);
        let mut reader = logs.reader(&["log"]);
        logs.check(&mut reader, &[]);
        logs.rename("log", "log.20261126-031500");
        logs.append("log", &super::line("next"));
        logs.check(&mut reader, &["the end", "next"]);
        let mut reader = logs.reader(&["log"]);
        logs.check(&mut reader, &[]);
        assert_eq!(logs.metrics.log_lines_tailed.get(), 2);
    }
}

#[test]
fn the_last_line_of_a_rotated_file_can_be_completed() {
    let mut logs = Logs::new();
    let two = line("two");
    logs.append("log", &two[..50]);
    let paths = [logs.path("log")];
    let wait = Duration::from_secs(3600);
    let mut reader = Reader::open(&paths, wait, logs.tail()).unwrap();
    logs.check(&mut reader, &[]);
    logs.rename("log", "log.1");
    logs.append("log", &line("one"));
    logs.check(&mut reader, &["one"]);
    logs.append("log.1", &two[50..]);
    logs.check(&mut reader, &["two"]);
}

#[test]
fn the_files_behind_a_symbolic_link_are_read() {
    for is_running in [true, false] {
        let mut logs = Logs::new();
        fs::create_dir(logs.path("pod")).unwrap();
        symlink("pod/0.log", logs.path("second")).unwrap();
        symlink("second", logs.path("log")).unwrap();
        logs.append("pod/0.log", &line("one"));
        let mut reader = logs.reader(&["log"]);
        logs.check(&mut reader, &["one"]);
        let restart = |logs: &Logs, reader: &mut Reader| {
            if !is_running {
                *reader = logs.reader(&["log"]);
            }
        };
        logs.append("pod/0.log", &line("two"));
        logs.rename("pod/0.log", "pod/0.log.20261126-031500");
        restart(&logs, &mut reader);
        // The link leads nowhere until the program opens its new log.
        logs.check(&mut reader, &["two"]);
        logs.append("pod/0.log", &line("three"));
        logs.append("pod/0.log.20261126-031500", &line("four"));
        restart(&logs, &mut reader);
        logs.check(&mut reader, &["three", "four"]);

        // The link points to another file.
        logs.append("pod/0.log", &line("five"));
        logs.append("pod/1.log", &line("six"));
        remove_file(logs.path("second")).unwrap();
        symlink("pod/1.log", logs.path("second")).unwrap();
        restart(&logs, &mut reader);
        logs.check(&mut reader, &["five", "six"]);
        logs.check_gaps(&[]);
    }
}

/// A program can end in the middle of a line. What its other stream has printed does not wait for ever.
#[test]
fn the_rest_of_a_split_line_is_awaited_for_a_limited_time() {
    let mut logs = Logs::new();
    let mut reader = logs.reader(&["0.log"]);
    logs.check(&mut reader, &[]);
    logs.append("0.log", "2026-01-01T00:00:00Z stdout P half\n");
    logs.append("0.log", &format!("2026-01-01T00:00:00Z stderr F {}", line("whole")));
    logs.check(&mut reader, &[]);
    std::thread::sleep(Duration::from_millis(5200));
    logs.check(&mut reader, &["whole"]);
    assert_eq!(logs.skipped("not json"), 1);
}
