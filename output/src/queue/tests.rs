use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::writing::{REPORT_INTERVAL, run};
use super::{Counts, Message, QueuedWriter, ResultTo, WaitError};

const LONG: Duration = Duration::from_secs(10);

/// Lines that a writer wrote.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<String>>>);

impl Written {
    fn push(&self, line: &[u8]) {
        self.0.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Starts a writer that panics on the line `wrong`.
    fn start(&self, max_lines: usize) -> QueuedWriter {
        let written = self.clone();
        let write = move |line: &[u8]| {
            assert!(line != b"wrong", "on purpose");
            written.push(line);
            io::Result::Ok(())
        };
        QueuedWriter::start("test", max_lines, write, report).unwrap()
    }
}

fn report(dropped: u64) -> Vec<u8> {
    format!("dropped {dropped}").into_bytes()
}

#[track_caller]
fn check_reports(lines: &[String], expected: u64, start: Instant) {
    let reports: Vec<u64> =
        lines.iter().filter_map(|line| line.strip_prefix("dropped ")?.parse().ok()).collect();
    assert_eq!(reports.iter().sum::<u64>(), expected, "{lines:?}");
    // One at the beginning, one at the end, and one per second in between.
    assert!(reports.len() as u64 <= 2 + start.elapsed().as_secs(), "{lines:?}");
}

/// Waits for a slow writer, and for the lines before.
#[test]
fn write_and_wait_returns_after_the_write() {
    let written = Written::default();
    let sink = written.clone();
    let slow = move |line: &[u8]| {
        thread::sleep(Duration::from_millis(20));
        sink.push(line);
        io::Result::Ok(())
    };
    let writer = QueuedWriter::start("test", 1, slow, report).unwrap();
    writer.write(b"first".to_vec());
    assert!(writer.write_and_wait(b"second".to_vec(), LONG).is_ok());
    assert_eq!(written.lines(), ["first", "second"]);
    assert_eq!(writer.dropped(), 0);
}

#[test]
fn a_blocked_writer_blocks_no_caller() {
    let (holds_line, held) = sync_channel(9);
    let (release, released) = sync_channel::<()>(0);
    let blocked = move |_: &[u8]| {
        let _ = holds_line.send(());
        // Until the test ends.
        let _ = released.recv();
        io::Result::Ok(())
    };
    let writer = QueuedWriter::start("test", 1, blocked, report).unwrap();
    writer.write(b"line".to_vec());
    held.recv_timeout(LONG).unwrap();
    let start = Instant::now();
    let errors = [(); 3].map(|()| {
        writer.write_and_wait(b"line".to_vec(), Duration::from_millis(20)).unwrap_err().to_string()
    });
    assert_eq!(errors, ["the line still waits", "the queue is full", "the queue is full"]);
    assert!(!writer.flush(Duration::from_millis(20)));
    let (done, result) = sync_channel(1);
    writer.write_then(b"line".to_vec(), move |result| done.send(result).unwrap());
    assert_eq!(result.recv_timeout(LONG).unwrap().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert!(start.elapsed() < Duration::from_secs(60));
    // The writer holds one line, and another fills the queue.
    assert_eq!(writer.dropped(), 2);
    drop(release);
}

/// Under load there are few reports; together they count every dropped line.
#[test]
fn drops_are_reported_rarely_and_completely() {
    let written = Written::default();
    let writer = written.start(100);
    let start = Instant::now();
    (0..50).for_each(|_| writer.write(b"wrong".to_vec()));
    assert!(writer.flush(LONG));
    check_reports(&written.lines(), 50, start);
}

/// Each line that is written drops one more, and the queue ends with them.
#[test]
fn drops_are_reported_before_the_thread_ends() {
    let (queue, messages) = sync_channel(50);
    (0..50).for_each(|_| {
        queue.send(Message::Write { bytes: b"line".to_vec(), to: ResultTo::Count }).unwrap();
    });
    drop(queue);
    let (written, counts, start) = (Written::default(), Counts::default(), Instant::now());
    let write = |line: &[u8]| {
        if line == b"line" {
            counts.drop_lines(1);
        }
        written.push(line);
        Ok(())
    };
    run(&messages, &counts, write, report);
    check_reports(&written.lines(), 50, start);
}

/// It drops the line on which it panics, and no other.
#[test]
fn a_writer_that_panics_on_the_report_is_not_called_again() {
    let calls = Arc::new(AtomicU64::new(0));
    let counter = calls.clone();
    let write = move |_: &[u8]| {
        counter.fetch_add(1, Ordering::Relaxed);
        if true {
            panic!("on purpose");
        }
        io::Result::Ok(())
    };
    let writer = QueuedWriter::start("test", 10, write, report).unwrap();
    writer.write(b"line".to_vec());
    assert!(writer.flush(LONG));
    // Longer than the interval of the reports.
    thread::sleep(REPORT_INTERVAL * 5 / 2);
    assert_eq!((writer.dropped(), calls.load(Ordering::Relaxed)), (1, 2), "the line and its report");
}

#[test]
fn a_writer_that_panics() {
    let written = Written::default();
    let writer = written.start(10);
    for line in ["one", "wrong", "two"] {
        writer.write(line.into());
    }
    let (done, result) = sync_channel(1);
    writer.write_then(b"wrong".to_vec(), move |result| done.send(result).unwrap());
    assert!(result.recv_timeout(LONG).unwrap().is_err());
    assert!(writer.flush(LONG));
    assert_eq!(written.lines(), ["one", "dropped 1", "two", "dropped 1"]);
}

/// A line that the writer refuses is counted, and reported when it accepts one again.
#[test]
fn failures_are_counted_and_reported_afterwards() {
    let written = Written::default();
    let sink = written.clone();
    let is_broken = Arc::new(AtomicBool::new(true));
    let breaks = Arc::clone(&is_broken);
    let write = move |line: &[u8]| {
        if breaks.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        sink.push(line);
        Ok(())
    };
    let writer = QueuedWriter::start("test", 10, write, report).unwrap();
    (0..2).for_each(|_| assert!(writer.try_write(b"dropped".to_vec())));
    let error = writer.write_and_wait(b"dropped".to_vec(), LONG).unwrap_err();
    assert!(matches!(error, WaitError::Write(_)), "{error}");
    assert_eq!(writer.dropped(), 3);
    assert!(writer.flush(LONG));
    assert_eq!((writer.dropped(), written.lines().len()), (3, 0));
    is_broken.store(false, Ordering::Relaxed);
    writer.write(b"one".to_vec());
    assert!(writer.flush(LONG));
    assert_eq!(written.lines(), ["one", "dropped 3"]);
}

/// The bytes of a line that is written are free again.
#[test]
fn the_length_of_waiting_lines_is_bounded() {
    let (entered, has_entered) = sync_channel(9);
    let (release, released) = sync_channel::<()>(9);
    let write = move |_: &[u8]| {
        let _ = entered.send(());
        let _ = released.recv();
        io::Result::Ok(())
    };
    let writer = QueuedWriter::start("test", 100, write, report).unwrap().max_bytes(10);
    assert!(writer.try_write(b"12345678".to_vec()));
    has_entered.recv_timeout(LONG).unwrap();
    assert!(!writer.try_write(b"123".to_vec()));
    assert!(writer.try_write(b"12".to_vec()));
    (0..3).for_each(|_| release.send(()).unwrap());
    assert!(writer.flush(LONG));
    assert!(writer.try_write(b"1234567890".to_vec()));
    assert_eq!(writer.dropped(), 1);
    drop(release);
}

/// They are reported only when a line is written: until then, the report would be dropped as well.
#[test]
fn lines_that_the_caller_drops_are_reported_with_the_next() {
    let written = Written::default();
    let writer = written.start(10);
    writer.add_dropped(2);
    assert!(writer.flush(LONG));
    assert!(written.lines().is_empty());
    writer.write(b"one".to_vec());
    assert!(writer.flush(LONG));
    assert_eq!((written.lines(), writer.dropped()), (vec!["one".into(), "dropped 2".into()], 2));
}
