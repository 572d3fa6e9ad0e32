//! [`Output`]: where lines go, written now or by a thread.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use logtracer_output::QueuedWriter;

type Write = dyn Fn(&[u8]) + Send + Sync;

/// Writes whole lines, each with its line break.
#[derive(Clone)]
pub(super) enum Output {
    /// The thread that logs writes.
    Direct(Arc<Write>),
    /// Another thread writes.
    Queued(QueuedWriter),
}

impl Output {
    pub(super) fn new(write: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self::Direct(Arc::new(write))
    }

    /// One `write` per line, so that lines of several processes on one pipe do not mix.
    pub(super) fn stdout() -> Self {
        Self::new(|line| {
            // There is nowhere to report this, and logging must not stop a service.
            let _ = io::stdout().lock().write_all(line);
        })
    }

    /// Puts a queue of at most `max_lines` in front of the output; `report` renders the number of dropped lines.
    pub(super) fn queued(
        self,
        max_lines: usize,
        report: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let write = move |line: &[u8]| {
            self.write(line);
            Ok(())
        };
        QueuedWriter::start("logtracer-lines", max_lines, write, report).map(Self::Queued)
    }

    pub(super) fn write(&self, line: &[u8]) {
        match self {
            Self::Direct(write) => Writing::during(|| write(line)),
            Self::Queued(writer) => writer.write(line.to_vec()),
        }
    }

    /// Writes a line and waits until it is written, at most for `timeout`.
    pub(super) fn write_and_wait(&self, line: Vec<u8>, timeout: Duration) {
        match self {
            Self::Direct(_) => self.write(&line),
            Self::Queued(writer) => writer.write_and_wait(line, timeout),
        }
    }

    /// Waits until all lines are written, at most for `timeout`; returns false if some are not.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        match self {
            Self::Direct(_) => true,
            Self::Queued(writer) => writer.flush(timeout),
        }
    }

    /// Returns the number of dropped lines: the queue was full, or the writer panicked.
    pub(super) fn dropped(&self) -> u64 {
        match self {
            Self::Direct(_) => 0,
            Self::Queued(writer) => writer.dropped(),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
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
    fn during(write: impl FnOnce()) {
        let _until_dropped = Self(WRITING.replace(true));
        write();
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
        let direct = Output::new(move |line| {
            assert!(is_writing());
            assert!(line != b"wrong", "on purpose");
            sink.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
        });
        let queued = direct.clone().queued(10, |dropped| format!("dropped {dropped}").into_bytes()).unwrap();
        for line in ["one", "wrong", "two"] {
            queued.write(line.as_bytes());
        }
        queued.write_and_wait(b"three".to_vec(), Duration::from_secs(10));
        assert!(queued.flush(Duration::from_secs(10)));
        assert_eq!(*lines.lock().unwrap(), ["one", "dropped 1", "two", "three"]);
        assert_eq!((queued.dropped(), direct.dropped()), (1, 0));

        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| direct.write(b"wrong")));
        assert!(caught.is_err());
        assert!(!is_writing());
    }
}
