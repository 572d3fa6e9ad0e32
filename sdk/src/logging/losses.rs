//! [`Losses`]: counts lost lines, and reports them on stderr at most once a minute.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::service::Service;

/// The shortest time between two reports on stderr.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// The lost lines of an output.
#[derive(Debug)]
pub(super) struct Losses {
    service: Arc<Service>,
    lost: AtomicU64,
    /// How many of them a WARNING line has reported.
    in_lines: AtomicU64,
    on_stderr: Mutex<OnStderr>,
    /// True while a thread writes to stderr, which may block.
    is_reporting: AtomicBool,
}

#[derive(Debug, Default)]
struct OnStderr {
    reported: u64,
    at: Option<Instant>,
}

impl Losses {
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self {
            service,
            lost: AtomicU64::new(0),
            in_lines: AtomicU64::new(0),
            on_stderr: Mutex::default(),
            is_reporting: AtomicBool::new(false),
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Counts lost lines, and reports them from this thread.
    pub(super) fn add(&self, lines: u64, cause: &dyn Display) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        if let Some(lines) = self.due_on_stderr() {
            self.write_to_stderr(lines, cause);
        }
    }

    /// Counts lost lines, and reports them from another thread: a blocked stderr must not block the caller.
    pub(super) fn add_without_waiting(self: &Arc<Self>, lines: u64, cause: &'static str) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        let Some(lines) = self.due_on_stderr() else { return };
        let losses = Arc::clone(self);
        // Without a thread, the line on stdout is the only report.
        let _ = thread::Builder::new()
            .name("logtracer-losses".to_owned())
            .spawn(move || losses.write_to_stderr(lines, &cause));
    }

    /// Writes a WARNING line with `write` if there are lost lines that none has reported.
    pub(super) fn report_in_line<E>(&self, write: impl FnOnce(&[u8]) -> Result<(), E>) {
        if self.lost() <= self.in_lines.load(Ordering::Relaxed) {
            return;
        }
        let lost = self.lost();
        // Of several threads, one reports.
        let lines = lost.saturating_sub(self.in_lines.swap(lost, Ordering::Relaxed));
        if lines > 0 && write(&self.service.render_lost(lines, None)).is_err() {
            self.in_lines.fetch_sub(lines, Ordering::Relaxed);
        }
    }

    /// Returns the number of lines to report on stderr now, and counts them as reported.
    fn due_on_stderr(&self) -> Option<u64> {
        let mut on_stderr = self.on_stderr.lock().unwrap_or_else(PoisonError::into_inner);
        if on_stderr.at.is_some_and(|at| at.elapsed() < REPORT_INTERVAL) {
            return None;
        }
        let lost = self.lost();
        let lines = lost.saturating_sub(on_stderr.reported);
        *on_stderr = OnStderr { reported: lost, at: Some(Instant::now()) };
        Some(lines)
    }

    fn write_to_stderr(&self, lines: u64, cause: &dyn Display) {
        if !self.is_reporting.swap(true, Ordering::Relaxed) {
            // There is nowhere else to report this.
            let _ = io::stderr().write_all(&self.service.render_lost(lines, Some(cause)));
            self.is_reporting.store(false, Ordering::Relaxed);
        }
    }
}
