//! Lines on a stdout that is slow, full, closed or non-blocking. Each test runs itself again with such a stdout.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use logtracer_sdk::{Format, Logging, LoggingHandle, Project};
use rustix::fs::{OFlags, fcntl_setfl};
use serde_json::Value;

const LONG: Duration = Duration::from_secs(60);

/// The number of lines that fill a pipe several times. Each is longer than what a pipe takes whole or not at all.
const MANY: u32 = 300;

// === the service ===

/// The variable that makes a test the service.
const IS_SERVICE: &str = "LOGTRACER_TEST_SERVICE";

/// Runs `serve` in the process with the special stdout, and ends it. Does nothing in the test itself.
fn service(logging: impl FnOnce(Logging) -> Logging, serve: impl FnOnce(&LoggingHandle)) {
    if std::env::var_os(IS_SERVICE).is_none() {
        return;
    }
    let options = Logging::new(Project::none(), "shop").format(Format::Local).ignore_environment();
    let handle = logging(options).install().unwrap();
    serve(&handle);
    wait();
    // The harness would write to stdout.
    std::process::exit(0);
}

fn set_nonblocking() {
    fcntl_setfl(io::stdout(), OFlags::NONBLOCK).unwrap();
}

fn log_many() {
    log_each(|| {});
}

/// Logs as [`log_many`] does, and does something after each line.
fn log_each(mut after: impl FnMut()) {
    let padding = "x".repeat(6000);
    for step in 0..MANY {
        tracing::info!(step, padding, "line");
        after();
    }
}

/// Sends a message to the test.
fn report(message: impl std::fmt::Display) {
    let _ = io::stderr().write_all(format!("# {message}\n").as_bytes());
}

/// Waits for the test.
fn wait() {
    let _ = io::stdin().lock().read_line(&mut String::new());
}

// === the test ===

/// The running service.
struct Service {
    child: Child,
    stdin: ChildStdin,
    stderr: Receiver<String>,
}

impl Service {
    fn start(test: &str, stdout: Stdio) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=2"])
            .env(IS_SERVICE, "1")
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, stderr) = channel();
        let reader = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            reader.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line)));
        });
        Self { stdin: child.stdin.take().unwrap(), stderr, child }
    }

    /// Lets the service go on.
    fn go_on(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }

    /// Returns the next message of the service, and the lines on stderr before it.
    #[track_caller]
    fn message(&self) -> (String, Vec<String>) {
        let mut before = vec![];
        loop {
            let line = self.stderr.recv_timeout(LONG).unwrap_or_else(|error| panic!("{error}: {before:?}"));
            match line.strip_prefix("# ") {
                Some(message) => return (message.to_owned(), before),
                None => before.push(line),
            }
        }
    }

    #[track_caller]
    fn number(&self) -> (u64, Vec<String>) {
        let (message, before) = self.message();
        (message.parse().unwrap_or_else(|_| panic!("{message}")), before)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end in pieces of this size, and returns the log lines. Each is a whole JSON object.
fn read_lines(mut pipe: impl Read, piece: usize) -> Vec<Value> {
    let (mut text, mut buffer) = (vec![], vec![0; piece]);
    loop {
        match pipe.read(&mut buffer).unwrap() {
            0 => break,
            length => text.extend_from_slice(&buffer[..length]),
        }
    }
    lines_of(&String::from_utf8(text).unwrap())
}

fn lines_of(text: &str) -> Vec<Value> {
    // The harness writes before the service starts.
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("running "));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// Returns the steps of lines, which are in order, and the number of lost lines in WARNING lines.
#[track_caller]
fn steps_of(lines: &[Value]) -> (BTreeSet<u64>, u64) {
    let steps: Vec<_> = lines.iter().filter_map(|line| line["step"].as_u64()).collect();
    assert!(steps.is_sorted(), "{steps:?}");
    let reported = lines.iter().filter_map(|line| {
        assert_eq!(line.get("step").is_none(), line["severity"] == "WARNING", "{line}");
        let message = line["message"].as_str()?.strip_prefix("shop - dropped ")?;
        message.strip_suffix(" log lines")?.parse::<u64>().ok()
    });
    (steps.into_iter().collect(), reported.sum())
}

/// Asserts that a line on stderr reports the first dropped line, and why. Further lines report the others, at a flush.
#[track_caller]
fn check_stderr(lines: &[String], cause: &str, dropped: u64) {
    let messages = lines.iter().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["severity"], "WARNING");
        line["message"].as_str().unwrap().strip_prefix("shop - dropped ").unwrap().to_owned()
    });
    let messages: Vec<String> = messages.collect();
    assert!(messages[0].starts_with("1 log lines: ") && messages[0].contains(cause), "{messages:?}");
    let numbers = messages.iter().map(|message| message.split(' ').next().unwrap().parse::<u64>().unwrap());
    assert_eq!(numbers.sum::<u64>(), dropped, "{messages:?}");
}

/// A reader that takes a few bytes at a time gets every line, whole.
#[test]
fn a_slow_reader() {
    service(|logging| logging, serve_many);
    check_slow("a_slow_reader");
}

#[test]
fn a_slow_reader_of_a_pipe_that_does_not_block() {
    service(
        |logging| logging,
        |handle| {
            set_nonblocking();
            serve_many(handle);
        },
    );
    check_slow("a_slow_reader_of_a_pipe_that_does_not_block");
}

fn serve_many(handle: &LoggingHandle) {
    log_many();
    assert!(handle.flush(LONG));
    report(handle.dropped_lines());
}

#[track_caller]
fn check_slow(test: &str) {
    let mut service = Service::start(test, Stdio::piped());
    let stdout = service.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || read_lines(stdout, 97));
    assert_eq!(service.number(), (0, vec![]));
    service.go_on();
    assert_eq!(steps_of(&reader.join().unwrap()), ((0..MANY.into()).collect(), 0));
}

/// A full pipe with `O_NONBLOCK` loses whole lines, after a bounded time. They are reported when it works again.
#[test]
fn a_full_pipe_that_does_not_block() {
    service(
        |logging| logging,
        |handle| {
            set_nonblocking();
            let start = Instant::now();
            log_many();
            assert!(start.elapsed() < Duration::from_secs(30));
            report(handle.dropped_lines());
            wait();
            tracing::info!(step = MANY, "after");
            assert!(handle.flush(LONG));
            report(handle.dropped_lines());
        },
    );
    let mut service = Service::start("a_full_pipe_that_does_not_block", Stdio::piped());
    let (dropped, mut stderr) = service.number();
    assert!(dropped > 0);
    check_stderr(&stderr, "temporarily unavailable", 1);
    let stdout = service.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || read_lines(stdout, 4096));
    service.go_on();
    let (total, later) = service.number();
    assert_eq!(total, dropped);
    stderr.extend(later);
    check_stderr(&stderr, "temporarily unavailable", dropped);
    service.go_on();
    let (steps, reported) = steps_of(&reader.join().unwrap());
    assert_eq!((steps.len() as u64 + dropped, reported), (u64::from(MANY) + 1, dropped));
    assert!(steps.contains(&MANY.into()));
}

/// Without a reader, all lines are lost and counted, by both writers.
#[test]
fn a_closed_pipe() {
    service(|logging| logging, serve_closed);
    check_closed("a_closed_pipe");
}

#[test]
fn a_closed_pipe_behind_a_queue() {
    service(Logging::non_blocking, serve_closed);
    check_closed("a_closed_pipe_behind_a_queue");
}

fn serve_closed(handle: &LoggingHandle) {
    // The harness has written to stdout.
    report("ready");
    wait();
    (0..5).for_each(|step| tracing::info!(step, "lost"));
    assert!(handle.flush(LONG));
    report(handle.dropped_lines());
}

#[track_caller]
fn check_closed(test: &str) {
    let mut service = Service::start(test, Stdio::piped());
    assert_eq!(service.message(), ("ready".into(), vec![]));
    drop(service.child.stdout.take());
    service.go_on();
    let (dropped, stderr) = service.number();
    assert_eq!(dropped, 5);
    check_stderr(&stderr, "Broken pipe", 5);
}

/// The service opens the full disk itself, because the harness writes to stdout before.
#[test]
fn a_full_disk() {
    service(
        |logging| logging,
        |handle| {
            let full = File::options().write(true).open("/dev/full").unwrap();
            rustix::stdio::dup2_stdout(full).unwrap();
            serve_closed(handle);
        },
    );
    let mut service = Service::start("a_full_disk", Stdio::piped());
    assert_eq!(service.message(), ("ready".into(), vec![]));
    service.go_on();
    let (dropped, stderr) = service.number();
    assert_eq!(dropped, 5);
    check_stderr(&stderr, "No space left", 5);
}

/// A line that the queue has handed over, and that is dropped by a flush, is in a WARNING line of the next stdout.
#[test]
fn a_flush_of_a_closed_pipe_behind_a_queue() {
    service(Logging::non_blocking, |handle| {
        set_nonblocking();
        // Three pages of the pipe each, so that the pipe takes a part of one.
        let padding = "x".repeat(11_000);
        (0..MANY).for_each(|step| tracing::info!(step, padding, "line"));
        // Until the thread has taken nearly all lines. The pipe has some, and a part of one.
        while handle.dropped_lines() + 30 < u64::from(MANY) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!handle.flush(Duration::from_secs(1)));
        let before = handle.dropped_lines();
        report(before);
        wait();
        assert!(handle.flush(LONG));
        let dropped = handle.dropped_lines();
        assert_eq!(dropped, before + 1, "the flush drops the rest of a line");
        let (mut reader, writer) = UnixStream::pair().unwrap();
        rustix::stdio::dup2_stdout(writer).unwrap();
        tracing::info!(step = MANY, "after");
        assert!(handle.flush(LONG));
        rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null").unwrap()).unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(handle.dropped_lines(), dropped);
        report(dropped);
        text.lines().for_each(report);
    });
    let mut service = Service::start("a_flush_of_a_closed_pipe_behind_a_queue", Stdio::piped());
    let (_, _) = service.number();
    drop(service.child.stdout.take());
    service.go_on();
    let (dropped, _) = service.number();
    let lines = [service.message().0, service.message().0].join("\n");
    assert_eq!(steps_of(&lines_of(&lines)), (BTreeSet::from([MANY.into()]), dropped));
}

/// A blocked stdout blocks no caller. Lines that the queue cannot hold are counted, and reported on stderr.
#[test]
fn a_full_pipe_behind_a_queue() {
    service(
        |logging| logging.non_blocking_lines(4),
        |handle| {
            // Until the pipe is full, the queue is not.
            let mut is_blocked = false;
            log_each(|| is_blocked = is_blocked || !handle.flush(Duration::from_millis(200)));
            assert!(is_blocked);
            report(handle.dropped_lines());
            wait();
            assert!(handle.flush(LONG));
            report(handle.dropped_lines());
        },
    );
    let mut service = Service::start("a_full_pipe_behind_a_queue", Stdio::piped());
    let (dropped, mut stderr) = service.number();
    assert!(dropped > 0);
    let stdout = service.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || read_lines(stdout, 4096));
    service.go_on();
    let (total, later) = service.number();
    assert_eq!(total, dropped);
    stderr.extend(later);
    check_stderr(&stderr, "the queue is full", dropped);
    service.go_on();
    let (steps, reported) = steps_of(&reader.join().unwrap());
    assert_eq!((steps.len() as u64 + dropped, reported), (u64::from(MANY), dropped));
}

/// Another thread is blocked in a write: a flush returns after its timeout.
#[test]
fn a_flush_beside_a_blocked_write() {
    service(
        |logging| logging,
        |handle| {
            let writer = std::thread::spawn(log_many);
            // Until the other thread is blocked.
            while handle.flush(Duration::from_millis(200)) {}
            report("returned");
            wait();
            writer.join().unwrap();
            assert!(handle.flush(LONG));
        },
    );
    let mut service = Service::start("a_flush_beside_a_blocked_write", Stdio::piped());
    assert_eq!(service.message(), ("returned".into(), vec![]));
    let stdout = service.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || read_lines(stdout, 4096));
    service.go_on();
    service.go_on();
    assert_eq!(steps_of(&reader.join().unwrap()).0.len() as u64, u64::from(MANY));
}

/// If stdout does not take the line of a panic, stderr has its text.
#[test]
fn a_panic_with_a_closed_pipe() {
    service(|logging| logging.log_panics(true), serve_panic);
    check_panic("a_panic_with_a_closed_pipe");
}

#[test]
fn a_panic_with_a_closed_pipe_behind_a_queue() {
    service(|logging| logging.log_panics(true).non_blocking(), serve_panic);
    check_panic("a_panic_with_a_closed_pipe_behind_a_queue");
}

fn serve_panic(_: &LoggingHandle) {
    report("ready");
    wait();
    assert!(std::panic::catch_unwind(|| panic!("out of eggs")).is_err());
    report("after");
}

#[track_caller]
fn check_panic(test: &str) {
    let mut service = Service::start(test, Stdio::piped());
    assert_eq!(service.message(), ("ready".into(), vec![]));
    drop(service.child.stdout.take());
    service.go_on();
    let (_, stderr) = service.message();
    assert!(stderr.iter().any(|line| line == "out of eggs"), "{stderr:?}");
}

/// Lines go to the stdout of the moment, and the one before is closed.
#[test]
fn another_stdout() {
    service(
        |logging| logging,
        |_| {
            tracing::info!(step = 1, "to the pipe");
            rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null").unwrap()).unwrap();
            tracing::info!(step = 2, "elsewhere");
            report("replaced");
            wait();
        },
    );
    let mut service = Service::start("another_stdout", Stdio::piped());
    let stdout = service.child.stdout.take().unwrap();
    // The reader ends although the service runs.
    let lines = read_lines(stdout, 4096);
    assert_eq!(steps_of(&lines).0, BTreeSet::from([1]));
    assert_eq!(service.message(), ("replaced".into(), vec![]));
    service.go_on();
}
