//! The standard output, for whole lines: [`write_line`] and [`flush`].
//!
//! `std`'s own writer cuts a line at a full pipe with `O_NONBLOCK`, and does not report how much of it was written.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use crate::{WholeLines, WriteError};

/// How often a flush looks whether another thread still writes.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The rest of a line belongs to the process: several loggers can share its stdout.
static LINES: Mutex<WholeLines> = Mutex::new(WholeLines::new());

/// Writes a line, with its line break, to stdout: all of it or, if this fails, nothing. See [`WholeLines`].
///
/// If stdout blocks (a pipe that nobody reads), so does this call. With `O_NONBLOCK` it waits for at most a second
/// without progress. If the process replaces its stdout (`dup2`), the next line goes to the new one.
///
/// ```
/// use std::time::Duration;
/// use logtracer_output::stdout;
///
/// assert!(stdout::write_line(b"{\"message\":\"ready\"}\n").is_ok());
/// assert!(stdout::flush(Duration::from_secs(1)).is_ok());
/// ```
///
/// # Errors
///
/// If the line is dropped: the reader is gone, the disk is full, or stdout accepts nothing.
pub fn write_line(line: &[u8]) -> Result<(), WriteError> {
    // Text of `print!` comes first. This lock is taken first, because the thread may hold it already.
    let mut buffered = io::stdout().lock();
    let _ = buffered.flush();
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    #[cfg(unix)]
    return lines.write_line(&mut Unbuffered, line);
    // The console of Windows needs the conversion of `std`.
    #[cfg(not(unix))]
    {
        lines.write_line(&mut buffered, line)?;
        buffered.flush().map_err(WriteError::from)
    }
}

/// Writes the rest of a line that stdout took in part, for at most `timeout`.
///
/// While another thread is blocked in [`write_line`], this waits until the timeout.
///
/// # Errors
///
/// As [`WholeLines::flush`], and if another thread still writes at the end of the timeout.
pub fn flush(timeout: Duration) -> Result<(), WriteError> {
    // `None` exceeds the range of the clock.
    let deadline = Instant::now().checked_add(timeout);
    let left = || deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
    let mut lines = loop {
        match LINES.try_lock() {
            Ok(lines) => break lines,
            Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if left().is_zero() => {
                let error = io::Error::new(io::ErrorKind::TimedOut, "another thread still writes to stdout");
                return Err(WriteError { error, dropped_lines: 0 });
            }
            Err(TryLockError::WouldBlock) => thread::sleep(POLL_INTERVAL),
        }
    };
    #[cfg(unix)]
    return lines.flush(&mut Unbuffered, left());
    #[cfg(not(unix))]
    lines.flush(&mut io::stdout(), left())
}

/// The descriptor of stdout, without the buffer of `std`.
#[cfg(unix)]
struct Unbuffered;

#[cfg(unix)]
impl Write for Unbuffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(io::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
