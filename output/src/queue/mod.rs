//! [`QueuedWriter`]: a bounded queue, and the thread that writes it.

mod wait_error;
mod writing;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::WriteError;
pub use wait_error::WaitError;

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
    /// True after a failure, until a line is written. Drops are not reported meanwhile.
    has_failed: AtomicBool,
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
        thread::Builder::new().name(thread_name.to_owned()).spawn(move || {
            writing::run(&messages, &shared, |bytes| write(bytes).map_err(Into::into), report);
        })?;
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

    /// Counts lines that the writer accepted and dropped later, and reports them as soon as it writes one again.
    ///
    /// ```
    /// # let write = |_: &[u8]| std::io::Result::Ok(());
    /// let writer = logtracer_output::QueuedWriter::start("log", 10, write, |_| Vec::new())?;
    /// writer.add_dropped(2);
    /// assert_eq!(writer.dropped(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn add_dropped(&self, lines: u64) {
        if lines > 0 {
            self.counts.has_failed.store(true, Ordering::Relaxed);
            self.counts.drop_lines(lines);
        }
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

/// `None` if the timeout exceeds the range of the clock.
fn deadline_after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
