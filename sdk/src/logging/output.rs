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

/// How often the thread that writes tells of lost lines, at most.
const TELLS_EVERY: Duration = Duration::from_secs(1);

fn write_lines(lines: &Receiver<Message>, lost: &AtomicU64, output: &Output, tell: impl Fn(u64) -> Vec<u8>) {
    let mut told = 0;
    let mut told_at: Option<Instant> = None;
    // A writer that panics on one line may well write the next.
    let is_written = |line: &[u8]| catch_unwind(AssertUnwindSafe(|| output.write(line))).is_ok();
    loop {
        let message = lines.recv_timeout(TELLS_EVERY);
        if matches!(&message, Ok(Message::Line(line)) if !is_written(line)) {
            lost.fetch_add(1, Ordering::Relaxed);
        }
        // While lines come this is told seldom, for it takes time in which more of them are lost.
        let is_busy = matches!(message, Ok(Message::Line(_)));
        let is_due = !is_busy || told_at.is_none_or(|at| at.elapsed() >= TELLS_EVERY);
        let now = lost.load(Ordering::Relaxed);
        if is_due && now > told {
            is_written(&tell(now - told));
            told = now;
            told_at = Some(Instant::now());
        }
        match message {
            Ok(Message::Flush(done)) => drop(done.try_send(())),
            Err(RecvTimeoutError::Disconnected) => return,
            Ok(Message::Line(_)) | Err(RecvTimeoutError::Timeout) => {}
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
        let (holds_line, held) = sync_channel(9);
        let (release, released) = sync_channel::<()>(0);
        let released = Mutex::new(released);
        let output = Output::new(move |_| {
            let _ = holds_line.send(());
            // Until the test is over.
            let _ = released.lock().unwrap().recv();
        });
        let output = output.queued(1, |_| Vec::new()).unwrap();
        output.write(b"line");
        held.recv_timeout(Duration::from_secs(10)).unwrap();
        let start = Instant::now();
        (0..3).for_each(|_| output.write_in_time(b"line", Duration::from_millis(20)));
        assert!(start.elapsed() < Duration::from_secs(60));
        // The writer has one, and another fills the queue.
        assert_eq!(output.lost(), 2);
        drop(release);
    }

    /// Under load the lines that tell of losses are few, and at the end the losses are all told.
    #[test]
    fn losses_are_told_seldom_and_whole() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let output = Output::new(move |line| {
            assert!(line != b"wrong", "on purpose");
            sink.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
        });
        let output = output.queued(100, |lost| format!("lost {lost}").into_bytes()).unwrap();
        let start = Instant::now();
        (0..50).for_each(|_| output.write(b"wrong"));
        assert!(output.flush(Duration::from_secs(10)));
        let lines = lines.lock().unwrap();
        let told: u64 =
            lines.iter().map(|line| line.trim_start_matches("lost ").parse::<u64>().unwrap()).sum();
        assert_eq!(told, 50, "{lines:?}");
        // At first, at the end, and once in each second between.
        assert!(lines.len() as u64 <= 2 + start.elapsed().as_secs(), "{lines:?}");
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
