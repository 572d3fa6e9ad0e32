//! The memory of an Envoy with the filter over a long time of load.

use std::fs;
use std::path::Path;

use super::setup::Setup;
use super::{folder, load};
use crate::envoy::{Envoy, fill};
use crate::{Error, Result, ports, wait};

/// Memory after so many requests.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Requests so far.
    pub requests: u64,
    /// The resident memory of Envoy in KiB.
    pub resident_kib: u64,
    /// The most that it ever was.
    pub peak_kib: u64,
}

/// Sends `requests` requests in twenty parts and tells of the memory after each.
pub fn soak(requests: u64, mut progress: impl FnMut(Sample)) -> Result<Vec<Sample>> {
    const PARTS: u64 = 20;
    const CONNECTIONS: u16 = 32;
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let (service, admin) = (ports::reserve()?, ports::reserve()?);
    let config = fill(include_str!("service.yaml"), &[("ADMIN", &admin), ("LISTENER", &service)])?;
    let _service = Envoy::start(&config, admin, &folder(dir.path(), "service")?)?;
    let (port, admin) = (ports::reserve()?, ports::reserve()?);
    let config = Setup::Filter.configuration(port, admin, service, Path::new(""))?;
    let envoy_dir = folder(dir.path(), "envoy")?;
    let envoy = Envoy::start(&config, admin, &envoy_dir)?;

    let mut samples = Vec::new();
    for part in 1..=PARTS {
        let until = requests * part / PARTS;
        load::send(port, CONNECTIONS, until - requests * (part - 1) / PARTS)?;
        // The lines are the load's, too, but ten million of them are no use to anyone.
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
    // The filter counts by itself and hands the counts over now and then.
    let done = ["lines", "spans_sent"].map(|name| (format!("wasmcustom.logtracer_{name}"), requests));
    wait::try_until("a line and a delivered span of every request", || {
        let stats = envoy.stats("^wasmcustom.logtracer_")?;
        Ok(Some(()).filter(|()| done.iter().all(|(name, count)| stats.get(name) == Some(count))))
    })?;
    Ok(samples)
}
