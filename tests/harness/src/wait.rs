//! Polling for the effects of another process until a deadline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// The maximum wait: long enough for a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(60);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Calls `look` until it returns a value. The error of a timeout begins with `what`, the expected effect.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    try_until(what, || Ok(look()))
}

/// Like [`until`], but returns the first error of `look`.
pub fn try_until<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    try_within(TIMEOUT, what, look)
}

/// Like [`try_until`], with another maximum wait.
pub fn try_within<T>(
    timeout: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if INTERRUPTED.load(Ordering::Relaxed) {
            return Err(Error::new("interrupted"));
        }
        if Instant::now() > deadline {
            return Err(Error::new(format!("{what}: timeout after {} s", timeout.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends every current and later wait of this process with an error.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}
