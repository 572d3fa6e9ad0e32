//! The instructions that Envoy spends on a request, counted by valgrind's callgrind.
//!
//! Slow, but the same on every run, whatever else the machine does; and it tells the code of WebAssembly, which V8
//! makes at run time and no file holds, from Envoy's own.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use super::{CONNECTIONS, Setup, folder, load};
use crate::envoy::{Envoy, fill};
use crate::{Error, Result, ports, wait};

/// What one set-up costs in instructions of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Instructions {
    /// The name of the set-up.
    pub name: &'static str,
    /// All of them.
    pub all: f64,
    /// Those of the WebAssembly module, without the calls that it makes.
    pub module: f64,
}

/// Counts `requests` requests to each set-up, one after the other.
pub fn count(requests: u64, empty_filter: &Path) -> Result<Vec<Instructions>> {
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let (service, admin) = (ports::reserve()?, ports::reserve()?);
    let config = fill(include_str!("service.yaml"), &[("ADMIN", &admin), ("LISTENER", &service)])?;
    let _service = Envoy::start(&config, admin, &folder(dir.path(), "service")?)?;

    let mut counts = Vec::new();
    for setup in Setup::ALL {
        let (port, admin) = (ports::reserve()?, ports::reserve()?);
        let config = setup.configuration(port, admin, service, empty_filter)?;
        let dir = folder(dir.path(), &format!("{setup:?}"))?;
        let profile = dir.join("callgrind");
        let envoy = Envoy::start_below(callgrind(&profile), &config, admin, &dir)?;
        load::send(port, CONNECTIONS, requests)?; // connections, caches, compiled code
        control(&envoy, "--instr=on")?;
        load::send(port, CONNECTIONS, requests)?;
        control(&envoy, "--instr=off")?;
        control(&envoy, "--dump")?;
        // A dump has a number behind the name of the file.
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

/// The instructions in a profile, all of them and those of WebAssembly; nothing where it is not whole yet.
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
            // A name stands behind a number, and only where the number is new.
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            if is_generated_code(name) {
                generated.insert(number.to_owned());
            }
            if line.starts_with('f') {
                is_generated = generated.contains(number);
            }
        } else if line.starts_with("calls=") {
            // The next line is what the callee cost, which is told again where the callee stands.
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

/// What V8 has generated is known by its address only, which is far from where valgrind loads a program.
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
