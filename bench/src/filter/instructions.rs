//! The instructions of Envoy for a request, counted by valgrind's callgrind.
//!
//! This is slow, but the result does not depend on other work of the machine. It also separates Envoy's own code from
//! the filter's: the native module, or the code that V8 generates from a WebAssembly module. The filter sends full batches
//! of spans, as it does in an Envoy with many requests; their number of requests must therefore be a multiple of 512.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use logtracer_harness::envoy::Envoy;
use logtracer_harness::{Error, Result, ports, wait};

use super::profile::{self, Counts};
use super::setup::Surroundings;
use super::{Effort, Setup};
use crate::folder;
use crate::h2load::Load;
use crate::service::Service;

/// The instructions of one set-up for a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Instructions {
    /// The set-up.
    pub setup: Setup,
    /// All instructions.
    pub all: f64,
    /// Those of the filter's own code, without the functions that it calls.
    pub filter: f64,
}

/// A set-up and the instructions of one of its requests with each load.
pub(super) type Row = (Setup, Vec<Instructions>);

/// Counts the instructions of every set-up with each load that it has. Calls `progress` before each set-up.
pub(super) fn count(
    effort: &Effort,
    loads: impl Fn(Setup) -> Vec<Load> + Sync,
    progress: impl Fn(Setup) + Sync,
) -> Result<Vec<Row>> {
    const AT_ONCE: usize = 2;
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let service = Service::start(dir.path())?;
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || -> Result<()> {
        while let Some(setup) = Setup::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            progress(*setup);
            let dir = folder(dir.path(), &format!("{setup:?}"))?;
            let counts = of_setup(*setup, &loads(*setup), &service, effort, &dir)?;
            rows.lock().map_err(Error::when("another thread"))?.push((*setup, counts));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Error::new("a thread panicked".to_owned())))
        })
    })?;
    let mut rows = rows.into_inner().map_err(Error::when("another thread"))?;
    rows.sort_by_key(|(setup, _)| Setup::ALL.iter().position(|other| other == setup));
    Ok(rows)
}

fn of_setup(
    setup: Setup,
    loads: &[Load],
    service: &Service,
    effort: &Effort,
    dir: &Path,
) -> Result<Vec<Instructions>> {
    let requests = effort.counted_requests;
    let (port, admin) = (ports::reserve()?, ports::reserve()?);
    // Envoy is some fifty times slower under callgrind. A flush in each second would be far more of its work.
    let around =
        Surroundings { flush_interval: "60s", ..Surroundings::new(service.port, &effort.empty_filter) };
    let config = setup.configuration(port, admin, &around)?;
    let profile = dir.join("callgrind");
    let envoy = Envoy::start_under(callgrind(&profile), &config, admin, dir)?;
    // The filter sends a batch in the middle of each load, and not at its end, where it might not be counted.
    Load::of(1).send(port, requests / 2)?;
    let mut counts = Vec::new();
    for (number, load) in (1..).zip(loads) {
        load.send(port, requests)?; // connections, caches, compiled code, and a number of full batches
        control(&envoy, "--instr=on")?;
        load.send(port, requests)?;
        control(&envoy, "--instr=off")?;
        control(&envoy, "--dump")?; // and start again at zero
        // callgrind appends a number to the name of the file.
        let dump = profile.with_extension(format!("{number}"));
        let Counts { all, filter } = wait::try_until("callgrind's dump", || profile::read(&dump))?;
        let of_one = |instructions: u64| instructions as f64 / requests as f64;
        counts.push(Instructions { setup, all: of_one(all), filter: of_one(filter) });
    }
    Ok(counts)
}

fn callgrind(profile: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--instr-atstart=no", "--smc-check=all-non-file"])
        .arg(format!("--callgrind-out-file={}", profile.display()));
    command
}

fn control(envoy: &Envoy, what: &str) -> Result<()> {
    let mut command = Command::new("callgrind_control");
    let output = command.arg(what).arg(envoy.id().to_string()).output();
    let output = output.map_err(Error::when("callgrind_control (apt-get install valgrind)"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new(format!("callgrind_control {what}: {}", String::from_utf8_lossy(&output.stdout))))
}
