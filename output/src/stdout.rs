//! The standard output, for whole lines: [`write_line`] and [`flush`].
//!
//! `std`'s own writer cuts a line at a full pipe with `O_NONBLOCK`, and does not report how much of it was written.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{WholeLines, WriteError};

/// The rest of a line belongs to the process: several loggers can share its stdout.
static STDOUT: Mutex<Stdout> = Mutex::new(Stdout { lines: WholeLines::new(), file: None });

struct Stdout {
    lines: WholeLines,
    /// A duplicate of the descriptor, which has no buffer.
    file: Option<File>,
}

/// Writes a line, with its line break, to stdout: all of it or, if this fails, nothing. See [`WholeLines`].
///
/// If stdout blocks (a pipe that nobody reads), so does this call. With `O_NONBLOCK` it waits for at most a second
/// without progress.
///
/// ```
/// use std::time::Duration;
/// use logtracer_output::stdout;
///
/// assert!(stdout::write_line(b"{\"message\":\"ready\"}\n").is_ok());
/// assert!(stdout::flush(Duration::from_secs(1)));
/// ```
///
/// # Errors
///
/// If the line is lost: the reader is gone, the disk is full, or stdout accepts nothing.
pub fn write_line(line: &[u8]) -> Result<(), WriteError> {
    // Text of `print!` comes first. This lock is taken first, because the thread may hold it already.
    let mut buffered = io::stdout().lock();
    let _ = buffered.flush();
    let mut stdout = locked();
    let Stdout { lines, file } = &mut *stdout;
    match unbuffered(file)? {
        Some(file) => lines.write_line(file, line),
        None => buffered.write_all(line).and_then(|()| buffered.flush()).map_err(WriteError::from),
    }
}

/// Writes the rest of a line that stdout took in part, for at most `timeout`; returns false if some of it remains.
pub fn flush(timeout: Duration) -> bool {
    let _buffered = io::stdout().lock();
    let mut stdout = locked();
    let Stdout { lines, file } = &mut *stdout;
    file.as_mut().is_none_or(|file| lines.flush(file, timeout))
}

fn locked() -> MutexGuard<'static, Stdout> {
    STDOUT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns stdout without a buffer, or `None` on systems on which it needs conversion.
fn unbuffered(file: &mut Option<File>) -> io::Result<Option<&mut File>> {
    #[cfg(unix)]
    if file.is_none() {
        use std::os::fd::AsFd as _;
        *file = Some(io::stdout().as_fd().try_clone_to_owned()?.into());
    }
    Ok(file.as_mut())
}
