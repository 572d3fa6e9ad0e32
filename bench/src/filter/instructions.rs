//! The instructions of Envoy for a request, counted by valgrind's callgrind.
//!
//! This is slow, but the result does not depend on other work of the machine. It also separates Envoy's own code from
//! that of the WebAssembly module, which V8 generates at run time.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use logtracer_harness::envoy::Envoy;
use logtracer_harness::{Error, Result, ports, wait};

use super::Setup;
use crate::folder;
use crate::h2load::{self, CONNECTIONS};
use crate::service::Service;

/// The instructions of one set-up for a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Instructions {
    /// The name of the set-up.
    pub name: &'static str,
    /// All instructions.
    pub all: f64,
    /// Those of the WebAssembly module, without the functions that it calls.
    pub module: f64,
}

/// Counts the instructions of `requests` requests to each set-up, one set-up after the other.
pub fn count(requests: u64, empty_filter: &Path) -> Result<Vec<Instructions>> {
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let service = Service::start(dir.path())?;

    let mut counts = Vec::new();
    for setup in Setup::ALL {
        let (port, admin) = (ports::reserve()?, ports::reserve()?);
        let config = setup.configuration(port, admin, service.port, empty_filter)?;
        let dir = folder(dir.path(), &format!("{setup:?}"))?;
        let profile = dir.join("callgrind");
        let envoy = Envoy::start_under(callgrind(&profile), &config, admin, &dir)?;
        h2load::send(port, CONNECTIONS, requests)?; // warm up: connections, caches, compiled code
        control(&envoy, "--instr=on")?;
        h2load::send(port, CONNECTIONS, requests)?;
        control(&envoy, "--instr=off")?;
        control(&envoy, "--dump")?;
        // callgrind appends a number to the name of the file.
        let dump = profile.with_extension("1");
        let (all, module) = wait::try_until("callgrind's dump", || read(&dump))?;
        let of_one = |instructions: u64| instructions as f64 / requests as f64;
        counts.push(Instructions { name: setup.name(), all: of_one(all), module: of_one(module) });
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

/// Reads a profile: all instructions, and those of WebAssembly. Returns `None` if the profile is not complete.
///
/// <https://valgrind.org/docs/manual/cl-format.html>
fn read(profile: &Path) -> Result<Option<(u64, u64)>> {
    let Ok(file) = File::open(profile) else { return Ok(None) };
    let (mut all, mut module) = (0, 0);
    let mut generated = HashSet::new();
    let (mut is_generated, mut is_call) = (false, false);
    for line in BufReader::new(file).lines() {
        let line = line.map_err(Error::when(profile.display()))?;
        if let Some(function) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            // The name follows the number only at its first occurrence.
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            if is_generated_code(name) {
                generated.insert(number.to_owned());
            }
            if line.starts_with('f') {
                is_generated = generated.contains(number);
            }
        } else if line.starts_with("calls=") {
            // The next line is the cost of the callee, which has its own lines too.
            is_call = true;
        } else if line.starts_with("totals:") {
            return Ok(Some((all, module)));
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost = line.rsplit(' ').next().and_then(|cost| cost.parse::<u64>().ok()).unwrap_or(0);
            if !std::mem::take(&mut is_call) {
                all += cost;
                module += if is_generated { cost } else { 0 };
            }
        }
    }
    Ok(None)
}

/// Reports whether V8 generated a function: it has an address instead of a name, far from the addresses at which
/// valgrind loads a program.
fn is_generated_code(function: &str) -> bool {
    const FAR: u64 = 1 << 32;
    let address = function.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    address.is_some_and(|address| address >= FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let profile = dir.path().join("callgrind.1");
        let text = "version: 1\npositions: line\nevents: Ir\n\nob=(1) /usr/bin/envoy\nfn=(1) main\n12 100\n+3 20\n\
            cob=(2) ???\ncfn=(2) 0x0000123456789abc\ncalls=2 0 \n* 4000\n\nfn=(3) 0x0000000005b50830\n0 7\n\
            ob=(2)\nfn=(2)\n0 3000\ncfn=(3)\ncalls=1 0 \n0 7\n0 1000\nob=(1)\nfn=(1)\n* 3\n";
        std::fs::write(&profile, text).unwrap();
        assert_eq!(read(&profile).unwrap(), None, "the end is missing");
        std::fs::write(&profile, format!("{text}\ntotals: 4130\n")).unwrap();
        assert_eq!(read(&profile).unwrap(), Some((4130, 4000)));
    }
}
