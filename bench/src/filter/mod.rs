//! The CPU time of Envoy for a request, plain and with each of the features that are compared.
//!
//! ```text
//! h2load ──► Envoy (one for each set-up) ──► one Envoy as service and collector
//! ```
//!
//! All Envoys run at once and get their load in turns, in many short rounds, so that other work of the machine affects
//! all alike. The kernel reports the CPU time of the Envoy under load. Only the ratios are comparable between machines.
//! At the end each Envoy must have written its lines and sent its spans.

mod cpu;
mod instructions;
pub(crate) mod setup;

use std::path::Path;

use logtracer_harness::envoy::Envoy;
use logtracer_harness::{Error, Result, ports};

use crate::h2load::{self, CONNECTIONS};
use crate::service::Service;
use crate::{folder, median};
pub use instructions::{Instructions, count};
use setup::Setup;

/// The amount of load.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Requests to each Envoy in each round.
    pub requests: u64,
    /// Rounds; the result is their median.
    pub rounds: usize,
}

/// The cost of one set-up.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// The name of the set-up.
    pub name: &'static str,
    /// CPU time of a request in microseconds.
    pub micros: f64,
}

struct Bench {
    setup: Setup,
    envoy: Envoy,
    port: u16,
    rounds: Vec<f64>,
}

/// Measures every set-up. Calls `progress` before each round.
pub fn run(effort: Effort, empty_filter: &Path, mut progress: impl FnMut(usize)) -> Result<Vec<Cost>> {
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let service = Service::start(dir.path())?;

    let mut benches = Vec::new();
    for setup in Setup::ALL {
        let (port, admin) = (ports::reserve()?, ports::reserve()?);
        let config = setup.configuration(port, admin, service.port, empty_filter)?;
        let envoy = Envoy::start(&config, admin, &folder(dir.path(), &format!("{setup:?}"))?)?;
        h2load::send(port, CONNECTIONS, effort.requests)?; // warm up: connections, caches, compiled code
        benches.push(Bench { setup, envoy, port, rounds: Vec::new() });
    }
    for round in 0..effort.rounds {
        progress(round);
        for bench in &mut benches {
            let before = cpu::nanos(bench.envoy.id())?;
            h2load::send(bench.port, CONNECTIONS, effort.requests)?;
            let spent = cpu::nanos(bench.envoy.id())? - before;
            bench.rounds.push(spent as f64 / 1e3 / effort.requests as f64);
        }
    }
    let requests = effort.requests * (effort.rounds as u64 + 1);
    for bench in &benches {
        bench.setup.check(&bench.envoy, requests)?;
    }
    Ok(benches.iter().map(|bench| Cost { name: bench.setup.name(), micros: median(&bench.rounds) }).collect())
}
