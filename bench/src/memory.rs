//! The memory of an Envoy with the filter under long load. `LOGTRACER_SHELL` selects its shell.

use std::fs;
use std::path::Path;

use logtracer_harness::envoy::Envoy;
use logtracer_harness::{Error, Result, ports, shell, wait};

use crate::filter::setup::Surroundings;
use crate::filter::{Setup, Work};
use crate::service::Service;
use crate::{folder, h2load};

/// The memory after a number of requests.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Requests so far.
    pub requests: u64,
    /// The resident memory of Envoy in KiB.
    pub resident_kib: u64,
    /// The peak of the resident memory in KiB.
    pub peak_kib: u64,
}

/// Sends `requests` requests in twenty steps, and calls `progress` with the memory after each.
pub fn run(requests: u64, mut progress: impl FnMut(Sample)) -> Result<Vec<Sample>> {
    const STEPS: u64 = 20;
    const CONNECTIONS: u16 = 32;
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let service = Service::start(dir.path())?;
    let (port, admin) = (ports::reserve()?, ports::reserve()?);
    let shell = shell::shell();
    let around = Surroundings::new(service.port, Path::new(""));
    let config = Setup::Logtracer(shell, Work::Span).configuration(port, admin, &around)?;
    let envoy_dir = folder(dir.path(), "envoy")?;
    let envoy = Envoy::start(&config, admin, &envoy_dir)?;

    let mut samples = Vec::new();
    for step in 1..=STEPS {
        let until = requests * step / STEPS;
        h2load::send(port, CONNECTIONS, until - requests * (step - 1) / STEPS)?;
        // Nobody reads the lines, and ten million would fill the disk.
        fs::File::options()
            .write(true)
            .open(envoy.stdout())
            .and_then(|file| file.set_len(0))
            .map_err(Error::when("the lines"))?;
        let sample =
            Sample { requests: until, resident_kib: envoy.resident_kib()?, peak_kib: envoy.peak_kib()? };
        progress(sample);
        samples.push(sample);
    }
    // The filter publishes its counters periodically.
    let done = ["lines", "spans_sent"].map(|name| (shell::metric(name), requests));
    wait::try_until("a line and a sent span of every request", || {
        let stats = envoy.stats(&format!("^{}logtracer_", shell.metric_prefix()))?;
        Ok(Some(()).filter(|()| done.iter().all(|(name, count)| stats.get(name) == Some(count))))
    })?;
    Ok(samples)
}
