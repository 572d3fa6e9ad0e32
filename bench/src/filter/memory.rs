//! The resident memory of Envoy after a load, and the sizes of the filter's files.

use logtracer_harness::shell::native_library;
use logtracer_harness::{Error, Result, envoy};

use super::fleet::Fleet;
use super::{Effort, Setup, Traffic};

/// The worker threads of each Envoy.
pub const WORKERS: u8 = 2;

/// The requests to each Envoy.
pub const REQUESTS: u64 = 10_000;

/// The memory of one set-up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memory {
    /// The set-up.
    pub setup: Setup,
    /// The resident memory of the process in bytes.
    pub resident: u64,
}

/// Measures every set-up.
pub fn measure(effort: &Effort) -> Result<Vec<Memory>> {
    let mut fleet = Fleet::start(&Setup::ALL, WORKERS, effort)?;
    for member in &mut fleet.envoys {
        member.send(Traffic::Busy.load(), REQUESTS)?;
    }
    fleet.check()?;
    let memory = |member: &super::fleet::Member| {
        Ok(Memory { setup: member.setup, resident: member.envoy.resident_kib()? * 1024 })
    };
    fleet.envoys.iter().map(memory).collect()
}

/// Returns the names and the bytes of the files that Envoy loads.
pub fn files() -> Result<[(&'static str, u64); 2]> {
    let size = |path: std::path::PathBuf| {
        path.metadata().map(|file| file.len()).map_err(Error::when(path.display()))
    };
    Ok([("plugin.wasm", size(envoy::plugin()?)?), ("liblogtracer.so", size(native_library()?)?)])
}
