//! [`WaitError`]: why a line that somebody waits for is not written.

use std::fmt;
use std::io;

/// Why [`QueuedWriter::write_and_wait`](crate::QueuedWriter::write_and_wait) has not written a line.
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
