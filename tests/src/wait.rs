//! Waiting for what another process does: look, sleep, look again, until a deadline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// How long a busy machine may take for anything that happens at once on an idle one.
pub const PATIENCE: Duration = Duration::from_secs(60);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Looks until `look` finds something. Panics nowhere; the error names `what` was waited for.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    try_until(what, || Ok(look()))
}

/// As [`until`], and gives up at the first error of `look`.
pub fn try_until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if INTERRUPTED.load(Ordering::Relaxed) {
            return Err(Error::new("interrupted"));
        }
        if Instant::now() > deadline {
            return Err(Error::new(format!("{what}: not within {} s", PATIENCE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends every wait of this process with an error, now and later.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}
