//! `scripts/native-memcheck`: looks for memory errors of the native module.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use logtracer_bench::filter::memcheck;

/// Runs Envoy with the native module under valgrind's memcheck, and fails if the module has an error
#[derive(Parser)]
struct Options {
    /// The number of requests
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
}

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn main() -> ExitCode {
    let options = Options::parse();
    let progress = |sent| eprintln!("memcheck: {sent} of {} requests", options.requests);
    match memcheck::run(options.requests, Path::new("build/empty-filter.wasm"), progress) {
        Ok(findings) => {
            let module = findings.of_module.len();
            println!("memcheck: {} requests, {module} errors of the module", options.requests);
            println!("memcheck: {} errors of Envoy alone", findings.all - module);
            findings.of_module.iter().for_each(|kind| println!("memcheck: error of the module: {kind}"));
            if module == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("memcheck: {error}");
            ExitCode::FAILURE
        }
    }
}
