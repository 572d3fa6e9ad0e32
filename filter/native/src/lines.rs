//! The lines on their way to stdout.
//!
//! ```text
//!  write ──► buffer, bounded ──► thread, 100 ms after the first line or with 64 KiB ──► stdout
//!              └─ full: the line is dropped and counted
//! ```
//!
//! Invariant: [`write`] never waits for stdout.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::sync::{Condvar, Mutex, Once};
use std::time::Duration;

use logtracer_filter::Metric;
use logtracer_filter::host::LogLevel;
use logtracer_output::WholeBatches;

use crate::clock;
use crate::sync::lock;

/// The maximum number of bytes that wait for stdout.
const MAX_BYTES: usize = 4 << 20;

/// The number of bytes that are written at once.
const FULL_BYTES: usize = 64 << 10;

/// How long a line waits for others.
const DELAY: Duration = Duration::from_millis(100);

struct Buffer {
    bytes: Vec<u8>,
    is_writing: bool,
}

static BUFFER: Mutex<Buffer> = Mutex::new(Buffer { bytes: Vec::new(), is_writing: false });
/// The buffer has its first line, or is full enough to be written.
static FILLED: Condvar = Condvar::new();
/// Everything is written.
static EMPTIED: Condvar = Condvar::new();

/// Buffers a line, and adds its line break unless `line_break` has. Returns false if the buffer is full.
pub(crate) fn write(mut line: Vec<u8>) -> bool {
    static THREAD: Once = Once::new();
    THREAD.call_once(start);
    if !line.ends_with(b"\n") {
        line.push(b'\n');
    }
    let mut buffer = lock(&BUFFER);
    let before = buffer.bytes.len();
    if before + line.len() > MAX_BYTES {
        return false;
    }
    buffer.bytes.extend_from_slice(&line);
    let is_filled = before == 0 || (before < FULL_BYTES && buffer.bytes.len() >= FULL_BYTES);
    drop(buffer);
    if is_filled {
        FILLED.notify_one();
    }
    true
}

/// Waits until all lines are written, at most for `timeout`.
pub(crate) fn flush(timeout: Duration) {
    let buffer = lock(&BUFFER);
    FILLED.notify_one();
    let is_busy = |buffer: &mut Buffer| buffer.is_writing || !buffer.bytes.is_empty();
    drop(EMPTIED.wait_timeout_while(buffer, timeout, is_busy));
}

fn start() {
    let started = std::thread::Builder::new().name("logtracer-lines".to_owned()).spawn(run);
    if let Err(error) = started {
        clock::log(LogLevel::Error, &format!("logtracer: no thread for stdout, lines are dropped: {error}"));
    }
}

fn run() {
    // SAFETY: the descriptor is never closed, because the file is not dropped.
    let mut stdout = ManuallyDrop::new(unsafe { File::from_raw_fd(libc::STDOUT_FILENO) });
    let mut batches = WholeBatches::new(DELAY);
    let mut spare = Vec::new();
    loop {
        let mut buffer = wait_for_lines();
        core::mem::swap(&mut buffer.bytes, &mut spare);
        buffer.is_writing = true;
        drop(buffer);
        let dropped = batches.write(&mut *stdout, &spare);
        Metric::LinesDropped.add(i64::try_from(dropped).unwrap_or(i64::MAX));
        spare.clear();
        let mut buffer = lock(&BUFFER);
        buffer.is_writing = false;
        if buffer.bytes.is_empty() {
            EMPTIED.notify_all();
        }
    }
}

/// Waits for the first line, and then for others.
fn wait_for_lines() -> std::sync::MutexGuard<'static, Buffer> {
    let buffer = FILLED.wait_while(lock(&BUFFER), |buffer| buffer.bytes.is_empty());
    let buffer = buffer.unwrap_or_else(std::sync::PoisonError::into_inner);
    if buffer.bytes.len() >= FULL_BYTES {
        return buffer;
    }
    // Ended early by `flush`.
    let waited = FILLED.wait_timeout(buffer, DELAY);
    waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
}
