//! [`Output`]: where lines go, and on whose time.

use std::fmt;
use std::io::Write as _;
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

    /// The same output, written by a thread of its own that at most `max_lines` wait for.
    pub(super) fn queued(self, max_lines: usize) -> std::io::Result<Self> {
        let (queue, lines) = sync_channel(max_lines.max(1));
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        std::thread::Builder::new().name("logtracer-lines".into()).spawn(move || {
            write_lines(&lines, &counter, &self);
        })?;
        Ok(Self(Arc::new(Kind::Queued { queue, lost })))
    }

    pub(super) fn write(&self, line: &[u8]) {
        match &*self.0 {
            Kind::Direct(write) => write(line),
            Kind::Queued { queue, lost } => {
                if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
                    queue.try_send(Message::Line(line.into()))
                {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Waits until what was logged is written, at most this long; false when it was not.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let Kind::Queued { queue, .. } = &*self.0 else {
            return true;
        };
        let (done, written) = sync_channel(1);
        // None is later than any clock goes.
        let until = Instant::now().checked_add(patience);
        let mut message = Message::Flush(done);
        // The queue may be full, which is no reason to wait longer than asked for.
        while let Err(error) = queue.try_send(message) {
            match error {
                TrySendError::Full(back) if until.is_none_or(|until| Instant::now() < until) => {
                    message = back;
                }
                _ => return false,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        match until {
            Some(until) => written.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok(),
            None => written.recv().is_ok(),
        }
    }

    /// The lines that found the queue full.
    pub(super) fn lost(&self) -> u64 {
        match &*self.0 {
            Kind::Direct(_) => 0,
            Kind::Queued { lost, .. } => lost.load(Ordering::Relaxed),
        }
    }
}

/// How often the thread that writes looks whether it must tell of lost lines.
const IDLE: Duration = Duration::from_secs(1);

fn write_lines(lines: &Receiver<Message>, lost: &AtomicU64, output: &Output) {
    let mut told = 0;
    loop {
        match lines.recv_timeout(IDLE) {
            Ok(Message::Line(line)) => output.write(&line),
            Ok(Message::Flush(done)) => {
                let _ = done.try_send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = lost.load(Ordering::Relaxed);
        if now > told {
            output.write(
                format!("{{\"severity\":\"WARNING\",\"message\":\"lost {} log lines\"}}\n", now - told)
                    .as_bytes(),
            );
            told = now;
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}
