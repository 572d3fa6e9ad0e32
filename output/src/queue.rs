//! [`QueuedWriter`]: a bounded queue, and the thread that writes it.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::WriteError;

/// How often dropped lines are reported under load.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How often a call that waits for space in the queue looks again.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A handle of the queue; the thread ends when the last one is dropped and everything is written.
///
/// A whole line, with its line break, is one write.
#[derive(Clone)]
pub struct QueuedWriter {
    queue: SyncSender<Message>,
    counts: Arc<Counts>,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Counts {
    dropped: AtomicU64,
    /// The length of all waiting lines.
    queued_bytes: AtomicUsize,
}

impl Counts {
    fn drop_lines(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }
}

enum Message {
    Write { bytes: Vec<u8>, to: ResultTo },
    Flush(SyncSender<()>),
}

/// What gets the result of a write.
enum ResultTo {
    /// Nothing: the line counts as dropped if it fails.
    Count,
    /// A caller that waits. The line counts as dropped as well.
    Waiting(SyncSender<io::Result<()>>),
    /// A caller that counts by itself.
    Caller(Completion),
}

type Completion = Box<dyn FnOnce(io::Result<()>) + Send>;

impl QueuedWriter {
    /// Starts the thread that writes, with a queue of at most `max_lines`.
    ///
    /// `write` returns an [`io::Error`] or a [`WriteError`] for a line that is dropped.
    /// `report` renders the line that replaces dropped lines, from their number. It is written when the writer works.
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    pub fn start<E: Into<WriteError>>(
        thread_name: &str,
        max_lines: usize,
        mut write: impl FnMut(&[u8]) -> Result<(), E> + Send + 'static,
        report: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, messages) = sync_channel(max_lines.max(1));
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        thread::Builder::new()
            .name(thread_name.to_owned())
            .spawn(move || run(&messages, &shared, |bytes| write(bytes).map_err(Into::into), report))?;
        Ok(Self { queue, counts, max_bytes: usize::MAX })
    }

    /// Limits the length of all waiting lines together, for [`write`](Self::write) and
    /// [`try_write`](Self::try_write); a line that exceeds it is dropped.
    ///
    /// ```
    /// # let write = |_: &[u8]| std::io::Result::Ok(());
    /// let writer = logtracer_output::QueuedWriter::start("log", 100, write, |_| Vec::new())?.max_bytes(10);
    /// assert!(!writer.try_write(b"a line that is too long\n".to_vec()));
    /// assert_eq!(writer.dropped(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    /// Queues a line; drops and counts it if the queue is full.
    pub fn write(&self, line: Vec<u8>) {
        self.try_write(line);
    }

    /// Queues a line as [`write`](Self::write) does; returns false if it is dropped.
    pub fn try_write(&self, line: Vec<u8>) -> bool {
        let length = line.len();
        let before = self.counts.queued_bytes.fetch_add(length, Ordering::Relaxed);
        let is_queued = before.saturating_add(length) <= self.max_bytes
            && self.queue.try_send(Message::Write { bytes: line, to: ResultTo::Count }).is_ok();
        if !is_queued {
            self.counts.queued_bytes.fetch_sub(length, Ordering::Relaxed);
            self.counts.drop_lines(1);
        }
        is_queued
    }

    /// Queues bytes, and calls `done` with the result of the write.
    ///
    /// If the queue is full, `done` gets [`io::ErrorKind::WouldBlock`] before this returns, and nothing counts as
    /// dropped.
    /// `done` must not panic.
    ///
    /// ```
    /// # let write = |line: &[u8]| std::io::Result::Ok(assert_eq!(line, b"span\n"));
    /// # let writer = logtracer_output::QueuedWriter::start("log", 1, write, |_| Vec::new())?;
    /// let (done, result) = std::sync::mpsc::channel();
    /// writer.write_then(b"span\n".to_vec(), move |result| done.send(result).unwrap_or_default());
    /// assert!(result.recv().unwrap().is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_then(&self, bytes: Vec<u8>, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        let length = bytes.len();
        self.counts.queued_bytes.fetch_add(length, Ordering::Relaxed);
        let message = Message::Write { bytes, to: ResultTo::Caller(Box::new(done)) };
        let (message, error) = match self.queue.try_send(message) {
            Ok(()) => return,
            Err(TrySendError::Full(message)) => {
                (message, io::Error::new(io::ErrorKind::WouldBlock, "writer is blocked: queue is full"))
            }
            Err(TrySendError::Disconnected(message)) => (message, io::ErrorKind::BrokenPipe.into()),
        };
        self.counts.queued_bytes.fetch_sub(length, Ordering::Relaxed);
        if let Message::Write { to: ResultTo::Caller(done), .. } = message {
            done(Err(error));
        }
    }

    /// Queues a line and waits until it and the lines before it are written, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// If the line is not written then, see [`WaitError`].
    pub fn write_and_wait(&self, line: Vec<u8>, timeout: Duration) -> Result<(), WaitError> {
        let deadline = deadline_after(timeout);
        let length = line.len();
        self.counts.queued_bytes.fetch_add(length, Ordering::Relaxed);
        let (done, result) = sync_channel(1);
        if !self.send_before(deadline, Message::Write { bytes: line, to: ResultTo::Waiting(done) }) {
            self.counts.queued_bytes.fetch_sub(length, Ordering::Relaxed);
            self.counts.drop_lines(1);
            return Err(WaitError::QueueFull);
        }
        receive_before(&result, deadline).ok_or(WaitError::TimedOut)?.map_err(WaitError::Write)
    }

    /// Waits until all queued lines are written, at most for `timeout`; returns false if some are not.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.flush_before(deadline_after(timeout))
    }

    /// Returns the number of dropped lines: the queue was full, or the writer failed or panicked.
    ///
    /// What [`write_then`](Self::write_then) reports to its caller does not count, except for a panic.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    fn flush_before(&self, deadline: Option<Instant>) -> bool {
        let (done, written) = sync_channel(1);
        if !self.send_before(deadline, Message::Flush(done)) {
            return false;
        }
        receive_before(&written, deadline).is_some()
    }

    /// Returns false if the queue is still full at the deadline.
    fn send_before(&self, deadline: Option<Instant>, mut message: Message) -> bool {
        while let Err(error) = self.queue.try_send(message) {
            let is_in_time = deadline.is_none_or(|deadline| Instant::now() < deadline);
            match error {
                TrySendError::Full(returned) if is_in_time => message = returned,
                _ => return false,
            }
            thread::sleep(POLL_INTERVAL);
        }
        true
    }
}

impl fmt::Debug for QueuedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedWriter").field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// Returns `None` at the deadline, or if the other end is gone.
fn receive_before<T>(results: &Receiver<T>, deadline: Option<Instant>) -> Option<T> {
    match deadline {
        Some(deadline) => results.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok(),
        None => results.recv().ok(),
    }
}

/// Why [`QueuedWriter::write_and_wait`] has not written a line.
///
/// ```
/// use std::time::Duration;
/// use logtracer_output::{QueuedWriter, WaitError};
///
/// let closed = |_: &[u8]| Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
/// let writer = QueuedWriter::start("log", 10, closed, |_| Vec::new())?;
/// let error = writer.write_and_wait(b"line\n".to_vec(), Duration::from_secs(10)).unwrap_err();
/// assert!(matches!(error, WaitError::Write(_)));
/// assert_eq!((error.to_string(), writer.dropped()), ("broken pipe".into(), 1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum WaitError {
    /// The queue stays full: the line is dropped.
    QueueFull,
    /// The line still waits, and may be written later.
    TimedOut,
    /// The writer fails: the line is dropped.
    Write(io::Error),
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull => f.write_str("the queue is full"),
            Self::TimedOut => f.write_str("the line still waits"),
            Self::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WaitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Write(error) => error.source(),
            _ => None,
        }
    }
}

/// `None` if the timeout exceeds the range of the clock.
fn deadline_after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

fn run(
    messages: &Receiver<Message>,
    counts: &Counts,
    mut write: impl FnMut(&[u8]) -> Result<(), WriteError>,
    report: impl Fn(u64) -> Vec<u8>,
) {
    let mut reports = Reports { reported: 0, at: None, is_working: true };
    // A writer that panics on one line may accept the next.
    let mut write = |bytes: &[u8]| catch_unwind(AssertUnwindSafe(|| write(bytes)));
    loop {
        let (mut is_busy, mut is_last, mut flushed) = (false, false, None);
        match messages.recv_timeout(REPORT_INTERVAL) {
            Ok(Message::Write { bytes, to }) => {
                let result = write(&bytes);
                counts.queued_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
                match &result {
                    // A writer that panics on a line can still write the next one.
                    Err(_) => counts.drop_lines(1),
                    Ok(Err(error)) if !matches!(to, ResultTo::Caller(_)) => {
                        counts.drop_lines(error.dropped_lines);
                    }
                    _ => {}
                }
                if let Ok(result) = &result {
                    reports.is_working = result.is_ok();
                }
                let result = result.unwrap_or_else(|_| Err(io::Error::other("writer panicked").into()));
                let result = result.map_err(io::Error::from);
                match to {
                    ResultTo::Count => {}
                    ResultTo::Waiting(waiting) => drop(waiting.try_send(result)),
                    ResultTo::Caller(done) => done(result),
                }
                is_busy = true;
            }
            Ok(Message::Flush(done)) => flushed = Some(done),
            Err(error) => is_last = error == RecvTimeoutError::Disconnected,
        }
        let total = counts.dropped.load(Ordering::Relaxed);
        if reports.is_due(total, is_busy) {
            if matches!(write(&report(total - reports.reported)), Ok(Ok(()))) {
                reports.reported = total;
                reports.at = Some(Instant::now());
            } else {
                reports.is_working = false;
            }
        }
        if let Some(done) = flushed {
            let _ = done.try_send(());
        }
        if is_last {
            return;
        }
    }
}

/// What was reported of the dropped lines.
struct Reports {
    reported: u64,
    at: Option<Instant>,
    /// False after a failure, until a line is written.
    is_working: bool,
}

impl Reports {
    /// A report takes time, and under load more lines are dropped meanwhile.
    fn is_due(&self, total: u64, is_busy: bool) -> bool {
        total > self.reported
            && self.is_working
            && (!is_busy || self.at.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    use super::*;

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
}
