//! [`Output`]: where lines go, written now or by a thread, and what becomes of lines that are dropped.
//!
//! ```text
//!            ┌─ now ────────────────► Sink ──► stdout: whole lines, or none
//!  a line ───┤                         ▲  └──► the caller's function
//!            └─ QueuedWriter ─ thread ─┘
//!                 │ full                │ failed
//!                 └──► Losses ◄─────────┘──► stderr, and a WARNING line when the sink works again
//! ```

use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use logtracer_output::{QueuedWriter, WaitError, WriteError, stdout};

use super::losses::Losses;
use super::service::Service;

/// The size of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueLimits {
    pub(super) max_lines: usize,
    pub(super) max_bytes: usize,
}

impl QueueLimits {
    pub(super) const fn of_lines(max_lines: usize) -> Self {
        Self { max_lines, max_bytes: 16 * 1024 * 1024 }
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self::of_lines(8192)
    }
}

/// A function of the service that takes the lines.
type WriteLine = dyn Fn(&[u8]) + Send + Sync;

/// What takes the lines, each with its line break.
#[derive(Clone)]
pub(super) enum Sink {
    Stdout,
    Function(Arc<WriteLine>),
}

impl Sink {
    fn write(&self, line: &[u8]) -> Result<(), WriteError> {
        match self {
            // One `write` per line, so that lines of several processes on one pipe do not mix.
            Self::Stdout => stdout::write_line(line),
            Self::Function(write) => {
                write(line);
                Ok(())
            }
        }
    }

    fn flush(&self, timeout: Duration) -> Result<(), WriteError> {
        match self {
            Self::Stdout => stdout::flush(timeout),
            Self::Function(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "Stdout",
            Self::Function(_) => "Function",
        })
    }
}

/// Writes whole lines to a sink. A clone writes to the same.
#[derive(Debug, Clone)]
pub(super) struct Output {
    sink: Sink,
    /// `None` if the thread that logs writes.
    queue: Option<QueuedWriter>,
    losses: Arc<Losses>,
}

impl Output {
    pub(super) fn new(sink: Sink, queue: Option<QueueLimits>, service: Arc<Service>) -> io::Result<Self> {
        let losses = Arc::new(Losses::new(Arc::clone(&service)));
        let queue = match queue {
            Some(limits) => Some(start_queue(limits, sink.clone(), service, Arc::clone(&losses))?),
            None => None,
        };
        Ok(Self { sink, queue, losses })
    }

    pub(super) fn write(&self, line: &[u8]) {
        match &self.queue {
            None => _ = self.write_now(line),
            Some(queue) => {
                if !queue.try_write(line.to_vec()) {
                    self.losses.add_without_waiting(1, QUEUE_IS_FULL);
                }
            }
        }
    }

    /// Returns false if the line is dropped.
    fn write_now(&self, line: &[u8]) -> bool {
        Writing::during(|| {
            let result = self.sink.write(line);
            match &result {
                Ok(()) => self.losses.report_in_line(|report| self.sink.write(report)),
                Err(error) => self.losses.add(error.dropped_lines, error),
            }
            result.is_ok()
        })
    }

    /// Writes a line and waits until it is written, at most for `timeout`; returns false if it is not.
    pub(super) fn write_and_wait(&self, line: Vec<u8>, timeout: Duration) -> bool {
        let Some(queue) = &self.queue else { return self.write_now(&line) };
        let result = queue.write_and_wait(line, timeout);
        // The thread of the queue counts other errors.
        if matches!(result, Err(WaitError::QueueFull)) {
            self.losses.add_without_waiting(1, QUEUE_IS_FULL);
        }
        result.is_ok()
    }

    /// Waits until no line waits, at most for `timeout`; returns false if some still wait. Dropped lines that are not
    /// reported yet are reported on stderr.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        // `None` exceeds the range of the clock.
        let deadline = Instant::now().checked_add(timeout);
        let left = || deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        let is_queue_empty = self.queue.as_ref().is_none_or(|queue| queue.flush(timeout));
        let rest = if is_queue_empty { self.sink.flush(left()) } else { Ok(()) };
        let waits = rest.as_ref().is_err_and(|error| error.dropped_lines == 0);
        if let Err(error) = rest {
            self.losses.add_without_waiting(error.dropped_lines, "stdout is closed");
            // The queue writes the WARNING lines.
            if let Some(queue) = &self.queue {
                queue.add_dropped(error.dropped_lines);
            }
        }
        self.losses.report_rest(left());
        is_queue_empty && !waits
    }

    /// Returns the number of dropped lines.
    pub(super) fn dropped(&self) -> u64 {
        self.losses.dropped()
    }
}

/// Why a line is dropped that the queue does not take.
const QUEUE_IS_FULL: &str = "the queue is full";

/// The queue writes the WARNING lines, because it also counts lines on which a sink panics.
fn start_queue(
    limits: QueueLimits,
    sink: Sink,
    service: Arc<Service>,
    losses: Arc<Losses>,
) -> io::Result<QueuedWriter> {
    let write =
        move |line: &[u8]| match catch_unwind(AssertUnwindSafe(|| Writing::during(|| sink.write(line)))) {
            Ok(result) => {
                if let Err(error) = &result {
                    losses.add(error.dropped_lines, error);
                }
                result
            }
            Err(panic) => {
                losses.add(1, &"the output panicked");
                resume_unwind(panic)
            }
        };
    let report = move |lines| service.render_dropped(lines, None);
    let queue = QueuedWriter::start("logtracer-lines", limits.max_lines, write, report)?;
    Ok(queue.max_bytes(limits.max_bytes))
}

// === the thread that is writing ===

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Returns true while the writer is called on this thread.
pub(super) fn is_writing() -> bool {
    WRITING.get()
}

struct Writing(bool);

impl Writing {
    fn during<T>(write: impl FnOnce() -> T) -> T {
        let _until_dropped = Self(WRITING.replace(true));
        write()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITING.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// `is_writing` is true on the thread that runs the writer, and false again after a panic.
    #[test]
    fn a_writer_that_panics() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let sink = Sink::Function(Arc::new(move |line| {
            assert!(is_writing());
            assert!(line != b"wrong", "on purpose");
            sink.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
        }));
        let output = |queue| Output::new(sink.clone(), queue, Arc::new(Service::default())).unwrap();
        let (direct, queued) = (output(None), output(Some(QueueLimits::of_lines(10))));
        for line in ["one", "wrong", "two"] {
            queued.write(line.as_bytes());
        }
        assert!(queued.write_and_wait(b"three".to_vec(), Duration::from_secs(10)));
        assert!(!queued.write_and_wait(b"wrong".to_vec(), Duration::from_secs(10)));
        assert!(queued.flush(Duration::from_secs(10)));
        let written = std::mem::take(&mut *lines.lock().unwrap());
        assert!(written[1].contains("dropped 1 log lines"), "{written:?}");
        assert_eq!([&written[0], &written[2], &written[3]], ["one", "two", "three"]);
        assert_eq!((queued.dropped(), direct.dropped()), (2, 0));

        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| direct.write(b"wrong")));
        assert!(caught.is_err());
        assert!(!is_writing());
    }
}
