//! Tests of files that are truncated, rewritten, deleted, or no files.

use std::fs::{self, OpenOptions, remove_file, write};
use std::os::unix::fs::{FileExt, symlink};

use super::*;

/// Each case writes over a file that was read, while the reader runs or not.
#[test]
fn a_file_that_is_rewritten_is_read_from_its_beginning() {
    let banner = format!("{{\"message\":\"{}\"}}\n", "banner ".repeat(80));
    for is_running in [true, false] {
        for (before, after) in [
            // Shorter, of the same length, longer, and longer with the same beginning.
            (["one", "two"].as_slice(), ["a"].as_slice()),
            (&["one"], &["two"]),
            (&["one"], &["a longer line", "b"]),
            (&["banner", "one", "two"], &["banner", "a", "b", "c", "d"]),
        ] {
            let mut logs = Logs::new();
            let text = |messages: &[&str]| -> String {
                messages.iter().map(|m| if *m == "banner" { banner.clone() } else { line(m) }).collect()
            };
            let stored =
                |messages: &'static [&'static str]| messages.iter().copied().filter(|m| *m != "banner");
            write(logs.path("log"), text(before)).unwrap();
            let mut reader = logs.reader(&["log"]);
            logs.check(&mut reader, &stored(before).collect::<Vec<_>>());
            write(logs.path("log"), text(after)).unwrap();
            if !is_running {
                reader = logs.reader(&["log"]);
            }
            logs.check(&mut reader, &stored(after).collect::<Vec<_>>());
            logs.check_gaps(&[("truncated", 1)]);
        }
    }
}

#[test]
fn a_file_that_is_copied_and_truncated_is_read_to_its_end() {
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
        logs.append("log", &(line("two") + &line("three")));
        logs.copy_and_truncate("log", "log.1");
        restart(&logs, &mut reader);
        logs.check(&mut reader, &["two", "three"]);
        logs.append("log", &line("four"));
        logs.check(&mut reader, &["four"]);

        // Twice between two reads.
        logs.append("log", &line("five"));
        logs.rename("log.1", "log.2");
        logs.copy_and_truncate("log", "log.1");
        logs.append("log", &line("six"));
        logs.rename("log.2", "log.3");
        logs.rename("log.1", "log.2");
        logs.copy_and_truncate("log", "log.1");
        logs.append("log", &line("seven"));
        restart(&logs, &mut reader);
        logs.check(&mut reader, &["five", "six", "seven"]);

        // The copy has nothing that was not read.
        fs::copy(logs.path("log"), logs.path("log-20261129")).unwrap();
        logs.append("log", &line("eight"));
        logs.check(&mut reader, &["eight"]);
        write(logs.path("log"), line("nine")).unwrap();
        restart(&logs, &mut reader);
        logs.check(&mut reader, &["nine"]);
        logs.check_gaps(&[]);
    }
}

#[test]
fn zeros_at_the_beginning_are_skipped() {
    let mut logs = Logs::new();
    logs.append("log", &line("one"));
    let mut reader = logs.reader(&["log"]);
    logs.check(&mut reader, &["one"]);
    // The program does not append, so its next write leaves a hole of 3 GiB.
    logs.copy_and_truncate("log", "log.1");
    let file = OpenOptions::new().write(true).open(logs.path("log")).unwrap();
    file.write_all_at(line("two").as_bytes(), 3 << 30).unwrap();
    logs.check(&mut reader, &["two"]);
    logs.append("log", &line("three"));
    let mut reader = logs.reader(&["log"]);
    logs.check(&mut reader, &["three"]);
    assert_eq!(logs.metrics.log_lines_tailed.get(), 3);
    logs.check_gaps(&[]);
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    let mut logs = Logs::new();
    logs.append("log", &line("one"));
    let mut reader = logs.reader(&["log"]);
    logs.check(&mut reader, &["one"]);
    logs.append("log", &(line("two") + line("three").trim_end()));
    remove_file(logs.path("log")).unwrap();
    logs.check(&mut reader, &["two", "three"]);
    logs.append("log", &line("four"));
    logs.check(&mut reader, &["four"]);
    logs.check_gaps(&[]);

    // While the exporter is down, nobody can read the rest.
    for (name, reason) in [("gone", "deleted"), ("log.1.gz", "compressed")] {
        logs.append("log", &line("lost"));
        logs.rename("log", name);
        let _ = remove_file(logs.path("gone"));
        logs.append("log", &line("five"));
        let mut reader = logs.reader(&["log"]);
        logs.check(&mut reader, &["five"]);
        assert_eq!(logs.gaps(reason), 1, "{reason}");
    }
}

#[test]
fn what_is_no_file_does_not_stop_the_others() {
    let mut logs = Logs::new();
    fs::create_dir(logs.path("folder")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, logs.path("fifo"), 0o600.into()).unwrap();
    symlink("loop", logs.path("loop")).unwrap();
    logs.append("file", &line("one"));
    let names = ["folder", "fifo", "loop", "file/below", "nowhere/log", "file"];
    let mut reader = logs.reader(&names);
    logs.check(&mut reader, &["one"]);
    // They can become files, and a file something else.
    fs::remove_dir(logs.path("folder")).unwrap();
    remove_file(logs.path("fifo")).unwrap();
    logs.append("folder", &line("two"));
    logs.append("fifo", &line("three"));
    logs.rename("file", "file.1");
    rustix::fs::mkfifoat(rustix::fs::CWD, logs.path("file"), 0o600.into()).unwrap();
    logs.check(&mut reader, &["two", "three"]);
    remove_file(logs.path("file")).unwrap();
    logs.append("file.1", &line("four"));
    logs.append("file", &line("five"));
    logs.check(&mut reader, &["four", "five"]);
}
