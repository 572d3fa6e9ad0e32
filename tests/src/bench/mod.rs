//! `make bench`: the CPU that Envoy spends on a request, plain and with what can be added to it.
//!
//! ```text
//! h2load ──► Envoy (one for each set-up) ──► an Envoy that answers everything, spans included
//! ```
//!
//! All Envoys run at once and get their load in turns, in many short rounds, so that whatever else the machine does
//! falls on all alike. What counts is the CPU time of the Envoy under load, from the kernel; the ratios are what
//! can be compared between machines. In the end each must have printed and sent what it is measured for.

mod cpu;
mod instructions;
mod load;
mod setup;
mod sizes;
mod soak;

use std::path::Path;

use crate::envoy::{Envoy, fill};
use crate::{Error, Result, ports};

pub use instructions::{Instructions, count};
use setup::Setup;
pub use sizes::{Sizes, sizes};
pub use soak::{Sample, soak};

/// Connections of the load, few as between two proxies.
const CONNECTIONS: u16 = 4;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Requests to each Envoy in each round.
    pub requests: u64,
    /// Rounds; the median of them counts.
    pub rounds: usize,
}

/// What one set-up costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// The name of the set-up.
    pub name: &'static str,
    /// CPU time of a request in microseconds, the median of all rounds.
    pub micros: f64,
}

struct Bench {
    setup: Setup,
    envoy: Envoy,
    port: u16,
    rounds: Vec<f64>,
}

/// Runs every set-up; `progress` hears of each round.
pub fn run(effort: Effort, empty_filter: &Path, mut progress: impl FnMut(usize)) -> Result<Vec<Cost>> {
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let (service, admin) = (ports::reserve()?, ports::reserve()?);
    let config = fill(include_str!("service.yaml"), &[("ADMIN", &admin), ("LISTENER", &service)])?;
    let _service = Envoy::start(&config, admin, &folder(dir.path(), "service")?)?;

    let mut benches = Vec::new();
    for setup in Setup::ALL {
        let (port, admin) = (ports::reserve()?, ports::reserve()?);
        let config = setup.configuration(port, admin, service, empty_filter)?;
        let envoy = Envoy::start(&config, admin, &folder(dir.path(), &format!("{setup:?}"))?)?;
        load::send(port, CONNECTIONS, effort.requests)?; // connections, caches, compiled code
        benches.push(Bench { setup, envoy, port, rounds: Vec::new() });
    }
    for round in 0..effort.rounds {
        progress(round);
        for bench in &mut benches {
            let before = cpu::nanos(bench.envoy.id())?;
            load::send(bench.port, CONNECTIONS, effort.requests)?;
            let spent = cpu::nanos(bench.envoy.id())? - before;
            bench.rounds.push(spent as f64 / 1e3 / effort.requests as f64);
        }
    }
    let requests = effort.requests * (effort.rounds as u64 + 1);
    for bench in &benches {
        bench.setup.has_done(&bench.envoy, requests)?;
    }
    Ok(benches.iter().map(|bench| Cost { name: bench.setup.name(), micros: median(&bench.rounds) }).collect())
}

fn folder(dir: &Path, name: &str) -> Result<std::path::PathBuf> {
    let path = dir.join(name);
    std::fs::create_dir(&path).map_err(Error::when(path.display()))?;
    Ok(path)
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
