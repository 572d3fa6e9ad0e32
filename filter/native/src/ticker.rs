//! The ticker: a thread that makes the main thread run the roots when one is due.
//!
//! A filter's configuration has no timer in Envoy, but every thread may schedule work on the main thread.

use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::time::Duration;

use logtracer_filter::host::LogLevel;

use crate::sync::lock;
use crate::{clock, process};

/// When the next root is due, in nanoseconds of the monotonic clock.
static DUE: Mutex<u64> = Mutex::new(u64::MAX);
static CHANGED: Condvar = Condvar::new();

/// Makes the roots due at once.
pub(crate) fn wake() {
    due_at(0);
}

/// Makes the roots due at this time, or earlier if they already are.
pub(crate) fn due_at(time: u64) {
    static THREAD: Once = Once::new();
    THREAD.call_once(start);
    let mut due = lock(&DUE);
    if time < *due {
        *due = time;
        drop(due);
        CHANGED.notify_one();
    }
}

fn start() {
    let started = std::thread::Builder::new().name("logtracer-tick".to_owned()).spawn(run);
    if let Err(error) = started {
        clock::log(LogLevel::Error, &format!("logtracer: no thread for timers, spans are not sent: {error}"));
    }
}

fn run() {
    loop {
        wait_until_due();
        process::schedule();
    }
}

fn wait_until_due() {
    let mut due = lock(&DUE);
    loop {
        let now = clock::monotonic_nanos();
        if *due <= now {
            *due = u64::MAX;
            return;
        }
        let wait = Duration::from_nanos(*due - now).min(Duration::from_secs(3600));
        due = CHANGED.wait_timeout(due, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}
