//! Memory errors of the native module, found by valgrind's memcheck while Envoy serves requests.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use logtracer_harness::envoy::Envoy;
use logtracer_harness::shell::Shell;
use logtracer_harness::{Error, Result, ports, shell};

use super::setup::Surroundings;
use super::{Setup, Traffic, Work};
use crate::folder;
use crate::service::Service;

/// The requests between two calls of the progress.
const CHUNK: u64 = 10_000;

/// What memcheck found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// The kinds of the errors with the module in their stack.
    pub of_module: Vec<String>,
    /// All errors, also those of Envoy.
    pub all: usize,
}

/// Sends requests to an Envoy with the native module under memcheck. Calls `progress` with the number of requests.
pub fn run(requests: u64, empty_filter: &Path, mut progress: impl FnMut(u64)) -> Result<Findings> {
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let service = Service::start(dir.path())?;
    let (port, admin) = (ports::reserve()?, ports::reserve()?);
    let setup = Setup::Logtracer(Shell::Native, Work::Span);
    let config = setup.configuration(port, admin, &Surroundings::new(service.port, empty_filter))?;
    let config = format!("{config}\nbootstrap_extensions: {}\n", shell::native_bootstrap());
    let report = dir.path().join("memcheck.xml");
    let folder = folder(dir.path(), "envoy")?;
    let mut envoy = Envoy::start_under(memcheck(&report), &config, admin, &folder)?;
    let mut sent = 0;
    while sent < requests {
        let chunk = CHUNK.min(requests - sent);
        Traffic::Busy.load().send(port, chunk)?;
        sent += chunk;
        progress(sent);
    }
    setup.check(&envoy, requests)?;
    if !envoy.stop_within(Duration::from_secs(300)) {
        return Err(Error::new(format!("Envoy did not end by itself:\n{}", envoy.errors())));
    }
    let xml = std::fs::read_to_string(&report).map_err(Error::when(report.display()))?;
    read(&xml).ok_or_else(|| Error::new(format!("memcheck's report is incomplete: {}", report.display())))
}

fn memcheck(report: &Path) -> Command {
    let mut command = Command::new("valgrind");
    // Envoy has its own malloc, linked statically.
    command
        .args(["--tool=memcheck", "--soname-synonyms=somalloc=NONE", "--num-callers=40"])
        .args(["--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"])
        .args(["--error-limit=no", "--xml=yes"])
        .arg(format!("--xml-file={}", report.display()));
    command
}

/// Reads memcheck's report. Returns `None` if it is not complete.
///
/// <https://sourceware.org/git/?p=valgrind.git;a=blob;f=docs/internals/xml-output-protocol4.txt>
fn read(xml: &str) -> Option<Findings> {
    xml.trim_end().strip_suffix("</valgrindoutput>")?;
    let errors: Vec<&str> = xml.split("<error>").skip(1).collect();
    let is_of_module =
        |error: &&&str| error.split("</error>").next().unwrap_or("").contains("liblogtracer.so");
    let kind = |error: &&str| {
        let kind = error.split("<kind>").nth(1).and_then(|rest| rest.split("</kind>").next());
        kind.unwrap_or("unknown").to_owned()
    };
    let of_module = errors.iter().filter(is_of_module).map(kind).collect();
    Some(Findings { of_module, all: errors.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_module_are_told_from_those_of_envoy() {
        let error = |kind: &str, object: &str| {
            format!("<error><kind>{kind}</kind><stack><frame><obj>{object}</obj></frame></stack></error>")
        };
        let errors = error("UninitCondition", "/envoy") + &error("InvalidRead", "/build/liblogtracer.so");
        let xml = format!("<valgrindoutput>{errors}</valgrindoutput>\n");
        let expected = Findings { of_module: vec!["InvalidRead".to_owned()], all: 2 };
        assert_eq!(read(&xml), Some(expected));
        assert_eq!(read(&errors), None);
    }
}
