//! [`Output`]: where lines go, and on whose time.

use std::cell::Cell;
use std::fmt;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

type Write = dyn Fn(&[u8]) + Send + Sync;

/// Takes one whole line, with its line break, at a time.
#[derive(Clone)]
pub(super) struct Output(Arc<Kind>);

enum Kind {
    /// Written by the thread that logs.
    Direct(Box<Write>),
    /// Handed to a thread that writes.
    Queued { queue: SyncSender<Message>, lost: Arc<AtomicU64> },
}

enum Message {
    Line(Box<[u8]>),
    /// Answered when all before it is written.
    Flush(SyncSender<()>),
}

impl Output {
    pub(super) fn new(write: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Kind::Direct(Box::new(write))))
    }

    /// One `write` for a line, so that lines of several processes on one pipe stay whole.
    pub(super) fn stdout() -> Self {
        Self::new(|line| {
            // There is nowhere to tell that stdout is gone, and logging must not stop a service.
            let _ = std::io::stdout().lock().write_all(line);
        })
    }

    /// The same output, written by a thread of its own that at most `max_lines` wait for, and that writes what `tell`
    /// makes of the number of lines that were lost.
    pub(super) fn queued(
        self,
        max_lines: usize,
        tell: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, lines) = sync_channel(max_lines.max(1));
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        std::thread::Builder::new().name("logtracer-lines".into()).spawn(move || {
            write_lines(&lines, &counter, &self, tell);
        })?;
        Ok(Self(Arc::new(Kind::Queued { queue, lost })))
    }

    pub(super) fn write(&self, line: &[u8]) {
        match &*self.0 {
            Kind::Direct(write) => Writing::now(|| write(line)),
            Kind::Queued { queue, lost } => {
                if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
                    queue.try_send(Message::Line(line.into()))
                {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Writes a line and waits until it is written, at most this long.
    pub(super) fn write_in_time(&self, line: &[u8], patience: Duration) {
        let Kind::Queued { queue, lost } = &*self.0 else {
            return self.write(line);
        };
        let until = Instant::now().checked_add(patience);
        if send(queue, Message::Line(line.into()), until) {
            self.flush_until(until);
        } else {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was logged is written, at most this long; false when it was not.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        // None is later than any clock goes.
        self.flush_until(Instant::now().checked_add(patience))
    }

    fn flush_until(&self, until: Option<Instant>) -> bool {
        let Kind::Queued { queue, .. } = &*self.0 else {
            return true;
        };
        let (done, written) = sync_channel(1);
        if !send(queue, Message::Flush(done), until) {
            return false;
        }
        match until {
            Some(until) => written.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok(),
            None => written.recv().is_ok(),
        }
    }

    /// The lines that found the queue full, or that the writer has panicked on.
    pub(super) fn lost(&self) -> u64 {
        match &*self.0 {
            Kind::Direct(_) => 0,
            Kind::Queued { lost, .. } => lost.load(Ordering::Relaxed),
        }
    }
}

/// Puts a message into the queue, which may be full, as long as there is time.
fn send(queue: &SyncSender<Message>, mut message: Message, until: Option<Instant>) -> bool {
    while let Err(error) = queue.try_send(message) {
        match error {
            TrySendError::Full(back) if until.is_none_or(|until| Instant::now() < until) => message = back,
            _ => return false,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// How often the thread that writes looks whether it must tell of lost lines.
const IDLE: Duration = Duration::from_secs(1);

fn write_lines(lines: &Receiver<Message>, lost: &AtomicU64, output: &Output, tell: impl Fn(u64) -> Vec<u8>) {
    let mut told = 0;
    // A writer that panics on one line may well write the next.
    let is_written = |line: &[u8]| catch_unwind(AssertUnwindSafe(|| output.write(line))).is_ok();
    loop {
        match lines.recv_timeout(IDLE) {
            Ok(Message::Line(line)) => {
                if !is_written(&line) {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(Message::Flush(done)) => {
                let _ = done.try_send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = lost.load(Ordering::Relaxed);
        if now > told {
            is_written(&tell(now - told));
            told = now;
        }
    }
}

// === whether this thread is in the middle of it ===

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// True while this thread hands a line to the writer.
pub(super) fn is_writing() -> bool {
    WRITING.get()
}

struct Writing(bool);

impl Writing {
    fn now(write: impl FnOnce()) {
        let _until_dropped = Self(WRITING.replace(true));
        write();
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITING.set(self.0);
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A line that must not be lost is there when the call returns, and so are those before it.
    #[test]
    fn what_is_written_in_time_is_written() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let slow = Output::new(move |line| {
            std::thread::sleep(Duration::from_millis(20));
            sink.lock().unwrap().push(line.to_vec());
        });
        let output = slow.queued(1, |_| b"lost".to_vec()).unwrap();
        output.write(b"first");
        output.write_in_time(b"panicked", Duration::from_secs(10));
        assert_eq!(*lines.lock().unwrap(), [&b"first"[..], b"panicked"]);
        assert_eq!(output.lost(), 0);
    }

    #[test]
    fn a_writer_that_hangs_is_not_waited_for() {
        let output = Output::new(|_| std::thread::sleep(Duration::from_secs(3600)));
        let output = output.queued(1, |_| Vec::new()).unwrap();
        let start = Instant::now();
        (0..3).for_each(|_| output.write_in_time(b"line", Duration::from_millis(20)));
        assert!(start.elapsed() < Duration::from_secs(60));
        // The first is with the writer, and the wish to know when it is done fills the queue.
        assert_eq!(output.lost(), 2);
    }

    /// It costs the line on which it panics, and no other.
    #[test]
    fn a_writer_that_panics() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let output = Output::new(move |line| {
            assert!(is_writing());
            assert!(line != b"wrong", "on purpose");
            sink.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
        });
        let output = output.queued(10, |lost| format!("lost {lost}").into_bytes()).unwrap();
        for line in [b"one".as_slice(), b"wrong", b"two"] {
            output.write(line);
        }
        assert!(output.flush(Duration::from_secs(10)));
        assert_eq!(*lines.lock().unwrap(), ["one", "lost 1", "two"]);
        assert!(!is_writing());
    }
}
