//! `logtracer-exporter`: sets the limits of the memory allocator, and parses the command line. Everything else is in
//! the library.

use std::process::ExitCode;

use clap::Parser;
use logtracer_exporter::{Config, run};

fn main() -> ExitCode {
    keep_little_free_memory();
    run(Config::parse())
}

/// Makes the allocator of glibc return large blocks to the system when they are freed.
///
/// By default, it raises its threshold for this up to 32 MiB, and then every arena keeps what its largest requests took:
/// a multiple of what the exporter has allocated at any time.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the allocator is a part of the C library")]
fn keep_little_free_memory() {
    const MIB: libc::c_int = 1 << 20;
    for (parameter, value) in
        [(libc::M_MMAP_THRESHOLD, MIB), (libc::M_TRIM_THRESHOLD, 4 * MIB), (libc::M_ARENA_MAX, 4)]
    {
        // SAFETY: there is no other thread yet. An unknown parameter is ignored.
        unsafe { libc::mallopt(parameter, value) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
const fn keep_little_free_memory() {}
