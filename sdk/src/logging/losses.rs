//! [`Losses`]: counts dropped lines, and reports them on stderr at most once a minute.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::service::Service;

/// The shortest time between two reports on stderr, except at a flush.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// The dropped lines of an output.
#[derive(Debug)]
pub(super) struct Losses {
    service: Arc<Service>,
    dropped: AtomicU64,
    /// How many of them a WARNING line has reported.
    in_lines: AtomicU64,
    on_stderr: Mutex<OnStderr>,
}

#[derive(Debug, Default)]
struct OnStderr {
    reported: u64,
    at: Option<Instant>,
    /// True while a thread writes to stderr, which may block.
    is_writing: bool,
}

/// When a report is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// If the last one is older than the interval.
    Limited,
    Now,
}

impl Losses {
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self { service, dropped: AtomicU64::new(0), in_lines: AtomicU64::new(0), on_stderr: Mutex::default() }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts dropped lines, and reports them from this thread.
    pub(super) fn add(&self, lines: u64, cause: &dyn Display) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        if let Some(lines) = self.begin_report(When::Limited) {
            self.report(lines, Some(cause));
        }
    }

    /// Counts dropped lines, and reports them from another thread: a blocked stderr must not block the caller.
    pub(super) fn add_without_waiting(self: &Arc<Self>, lines: u64, cause: &'static str) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        if let Some(lines) = self.begin_report(When::Limited) {
            self.report_in_thread(lines, move |losses| losses.report(lines, Some(&cause)));
        }
    }

    /// Reports on stderr what no report there contains yet. It waits until it is written, at most for `timeout`.
    pub(super) fn report_rest(self: &Arc<Self>, timeout: Duration) {
        if let Some(lines) = self.begin_report(When::Now) {
            let (done, reported) = mpsc::sync_channel(1);
            self.report_in_thread(lines, move |losses| {
                losses.report(lines, None);
                let _ = done.try_send(());
            });
            // Without a thread, the other end is gone.
            let _ = reported.recv_timeout(timeout);
        }
    }

    /// Writes a WARNING line with `write` if there are dropped lines that none has reported.
    pub(super) fn report_in_line<E>(&self, write: impl FnOnce(&[u8]) -> Result<(), E>) {
        let dropped = self.dropped();
        if dropped <= self.in_lines.load(Ordering::Relaxed) {
            return;
        }
        // Of several threads, one reports. An older number of another thread must not replace a newer one.
        let lines = dropped.saturating_sub(self.in_lines.fetch_max(dropped, Ordering::Relaxed));
        if lines > 0 && write(&self.service.render_dropped(lines, None)).is_err() {
            self.in_lines.fetch_sub(lines, Ordering::Relaxed);
        }
    }

    /// Returns the number of lines to report on stderr now, and counts them as reported.
    /// [`report`](Self::report) must follow.
    fn begin_report(&self, when: When) -> Option<u64> {
        let mut on_stderr = self.on_stderr();
        let is_recent = || on_stderr.at.is_some_and(|at| at.elapsed() < REPORT_INTERVAL);
        if on_stderr.is_writing || when == When::Limited && is_recent() {
            return None;
        }
        let dropped = self.dropped();
        let lines = dropped.saturating_sub(on_stderr.reported);
        if lines == 0 {
            return None;
        }
        *on_stderr = OnStderr { reported: dropped, at: Some(Instant::now()), is_writing: true };
        Some(lines)
    }

    fn report(&self, lines: u64, cause: Option<&dyn Display>) {
        // There is nowhere else to report a failure.
        let _ = io::stderr().write_all(&self.service.render_dropped(lines, cause));
        self.on_stderr().is_writing = false;
    }

    fn report_in_thread(self: &Arc<Self>, lines: u64, report: impl FnOnce(&Self) + Send + 'static) {
        let losses = Arc::clone(self);
        let thread = thread::Builder::new().name("logtracer-losses".to_owned());
        if thread.spawn(move || report(&losses)).is_err() {
            // The next report contains them.
            let mut on_stderr = self.on_stderr();
            on_stderr.reported = on_stderr.reported.saturating_sub(lines);
            on_stderr.is_writing = false;
        }
    }

    fn on_stderr(&self) -> MutexGuard<'_, OnStderr> {
        self.on_stderr.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
