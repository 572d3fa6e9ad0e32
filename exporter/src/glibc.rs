//! Makes the allocator of glibc return freed memory to the system.
//!
//! The limits of the exporter bound what it allocates. But by default, glibc raises its threshold for returning large
//! blocks up to 32 MiB, and keeps small blocks, such as the buffers of connections that were closed. After a burst of
//! each, what stays resident is the sum of what they took at different times.

#![allow(unsafe_code, reason = "the allocator is a part of the C library")]

use std::fs;
use std::thread;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// Below this size, free memory is kept for the next requests.
const LARGE_BYTES: usize = 96 * MIB;

/// What the process grows by between two attempts to return memory.
const GROWTH_BYTES: usize = 8 * MIB;

/// How often the size of the process is looked at while it may soon be large, and otherwise.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Has to be called before there are other threads.
pub(crate) fn return_freed_memory() {
    let thresholds =
        [(libc::M_MMAP_THRESHOLD, 1 << 20), (libc::M_TRIM_THRESHOLD, 4 << 20), (libc::M_ARENA_MAX, 4)];
    for (parameter, value) in thresholds {
        // SAFETY: there is no other thread. An unknown parameter or value is ignored.
        unsafe { libc::mallopt(parameter, value) };
    }
    // Without this thread, more memory stays resident.
    let _ = thread::Builder::new().name("glibc".to_owned()).stack_size(64 << 10).spawn(trim_while_large);
}

/// Returns the free memory inside of the heaps while the process is large and grows.
fn trim_while_large() {
    let mut after_last = 0;
    while let Some(resident) = resident_bytes() {
        if resident > LARGE_BYTES && resident > after_last + GROWTH_BYTES {
            // SAFETY: it has no requirements.
            unsafe { libc::malloc_trim(0) };
            after_last = resident_bytes().unwrap_or(resident);
        }
        // The process has become smaller on its own.
        after_last = after_last.min(resident);
        thread::sleep(if resident > LARGE_BYTES / 2 { CHECK_INTERVAL } else { IDLE_INTERVAL });
    }
}

fn resident_bytes() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kib.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kib| kib << 10)
}
