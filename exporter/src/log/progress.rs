//! The progress of slow work on a file.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Severity, Value, line};

/// The interval between two lines.
const INTERVAL: Duration = Duration::from_secs(5);

/// Logs the progress of work on a file until it is dropped.
pub(crate) struct ProgressLog(#[allow(dead_code, reason = "its drop ends the thread")] mpsc::Sender<()>);

impl ProgressLog {
    /// Starts to log this message every five seconds, with the path and the size of the file.
    pub(crate) fn start(message: &'static str, path: &Path) -> Self {
        let (work, end) = mpsc::channel::<()>();
        let (path, start) = (path.to_owned(), Instant::now());
        // If the thread cannot be started, the work is done without a progress log.
        let _ = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            while end.recv_timeout(INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
                line(
                    Severity::Info,
                    message,
                    &[
                        ("path", Value::Fmt(format_args!("{}", path.display()))),
                        ("bytes", Value::U64(bytes)),
                        ("seconds", Value::U64(start.elapsed().as_secs())),
                    ],
                );
            }
        });
        Self(work)
    }
}
