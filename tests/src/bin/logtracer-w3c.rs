//! `make w3c`: the W3C's test suite for trace context, on both levels of the specification.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use logtracer_harness::{Error, Result};
use logtracer_tests::w3c::Hops;

/// Runs the W3C's test suite for trace context against a service between two hops
#[derive(Parser)]
struct Options {
    /// A checkout of <https://github.com/w3c/trace-context>
    checkout: PathBuf,
}

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            println!("w3c: {failed} runs with failures");
            ExitCode::FAILURE
        }
        Err(cause) => {
            eprintln!("w3c: {cause}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn run(options: &Options) -> Result<u32> {
    let hops = Hops::start()?;
    let mut failed = 0;
    for (spec_level, strict_level) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        println!("w3c: level {spec_level} of the specification, strictness {strict_level}");
        let status = hops.suite(&options.checkout, spec_level, strict_level).status();
        failed += u32::from(!status.map_err(Error::when("python3"))?.success());
    }
    Ok(failed)
}
