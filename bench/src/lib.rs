//! What `make bench` and `make soak` measure. Each module measures, its program in `bin/` prints.
//!
//! - [`filter`]: time, instructions and memory of Envoy, plain, with the filter and with Envoy's own tracers;
//! - [`ingest`]: acknowledged spans a second, CPU time and memory of the exporter beside rotel;
//! - [`fleet`]: responses, CPU time and memory of the exporter with many senders;
//! - [`delivery`]: delivered spans a second with a backlog, and the time of a restart;
//! - [`keep`]: what tail sampling costs: CPU of a span, memory of an open trace, and the delay of kept spans;
//! - [`viewer`]: the first page of each filter of the viewer, for stores of several sizes;
//! - [`sizes`]: bytes of a span and of a log line;
//! - [`memory`]: memory of an Envoy with the filter under load;
//! - [`soak`]: the whole chain under faults, with an account of every request.
//!
//! `logtracer-services-bench` builds the same service on several stacks, and is a program alone.
//!
//! [`chart`] draws curves, and `logtracer_tables` writes tables, for the documents.

pub mod chart;
pub mod delivery;
pub mod filter;
pub mod fleet;
mod h2load;
pub mod ingest;
pub mod keep;
pub mod memory;
mod service;
pub mod sizes;
pub mod soak;
pub mod viewer;

use std::path::{Path, PathBuf};

use logtracer_harness::{Error, Result};

/// The goal for the peak memory of the exporter, in MiB.
pub const GOAL_MEMORY_MIB: f64 = 100.;

/// Creates a folder in `dir`.
fn folder(dir: &Path, name: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    std::fs::create_dir(&path).map_err(Error::when(path.display()))?;
    Ok(path)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
