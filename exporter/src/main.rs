//! `logtracer-exporter`: sets up the memory allocator, and parses the command line. Everything else is in the library.

use std::process::ExitCode;

use logtracer_exporter::{Config, run};

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc;

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::return_freed_memory();
    run(Config::from_args())
}
