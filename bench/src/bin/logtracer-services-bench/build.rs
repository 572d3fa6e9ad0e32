//! [`measure`]: builds one service in an empty folder.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::{Service, request};

/// What a service costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Build {
    /// The crates that are compiled for the service, without itself.
    pub(crate) crates: usize,
    /// The size of the binary without symbols.
    pub(crate) bytes: u64,
    /// From an empty folder to the binary.
    pub(crate) time: Duration,
    /// The CPU time of the same, user and system, which depends less on other work of the machine.
    pub(crate) cpu: Duration,
}

/// Downloads the crates, so that no build waits for them.
pub(crate) fn fetch(services: &Path) -> Result<(), String> {
    run(Command::new("cargo").args(["fetch", "--locked"]).current_dir(services)).map(drop)
}

/// Builds a service, and sends a request to it.
pub(crate) fn measure(services: &Path, service: Service, jobs: usize) -> Result<Build, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("a temporary folder: {error}"))?;
    let package = format!("shop-{}", service.name);
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--package", &package, "--jobs", &jobs.to_string()]);
    cargo.arg("--target-dir").arg(folder.path()).current_dir(services);

    let (start, cpu_before) = (Instant::now(), cpu_of_children()?);
    run(&mut cargo)?;
    let (time, cpu) = (start.elapsed(), cpu_of_children()? - cpu_before);
    let program = folder.path().join("release").join(&package);
    let bytes = program.metadata().map_err(|error| format!("{}: {error}", program.display()))?.len();
    request::check(&program, service, folder.path()).map_err(|error| format!("{package}: {error}"))?;
    Ok(Build { crates: crates(services, &package)?, bytes, time, cpu })
}

fn crates(services: &Path, package: &str) -> Result<usize, String> {
    let edges = ["tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let output = run(Command::new("cargo").args(edges).args(["--package", package]).current_dir(services))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // A crate that stands there twice has a mark the second time.
    let names = text.lines().map(|line| line.trim_end_matches(" (*)"));
    Ok(names.filter(|name| !name.is_empty() && !name.starts_with(package)).collect::<BTreeSet<_>>().len())
}

fn run(command: &mut Command) -> Result<Output, String> {
    // Settings of the build that runs this program.
    let command =
        command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").env("CARGO_INCREMENTAL", "0");
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// Returns the CPU time of all children that have ended, and of theirs.
fn cpu_of_children() -> Result<Duration, String> {
    const PATH: &str = "/proc/self/stat";
    let text = std::fs::read_to_string(PATH).map_err(|error| format!("{PATH}: {error}"))?;
    // The name in parentheses can contain any character; the times of children are the 14th and 15th field after it,
    // in hundredths of a second.
    let after = text.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<u64> =
        after.split_whitespace().skip(13).take(2).filter_map(|field| field.parse().ok()).collect();
    match ticks[..] {
        [user, system] => Ok(Duration::from_millis((user + system) * 10)),
        _ => Err(format!("{PATH}: {text:?}")),
    }
}
