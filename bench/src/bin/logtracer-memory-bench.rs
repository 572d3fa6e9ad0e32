//! Checks that the memory of an Envoy with the filter does not grow.

use std::process::ExitCode;

use clap::Parser;
use logtracer_bench::memory::{self, Sample};

/// Sends requests through an Envoy with the filter and prints its memory; fails if it grows
#[derive(Parser)]
struct Options {
    /// The number of requests
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
    /// The maximum growth from the first half of the requests to the second, in KiB
    #[arg(long, default_value_t = 4096)]
    growth_kib: u64,
}

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn main() -> ExitCode {
    let options = Options::parse();
    println!("{:>12}{:>16}{:>12}", "requests", "resident KiB", "peak KiB");
    let print = |sample: Sample| {
        println!("{:>12}{:>16}{:>12}", sample.requests, sample.resident_kib, sample.peak_kib);
    };
    let samples = match memory::run(options.requests, print) {
        Ok(samples) => samples,
        Err(error) => {
            eprintln!("memory-bench: {error}");
            return ExitCode::FAILURE;
        }
    };
    let max_resident_kib = |half: &[Sample]| half.iter().map(|sample| sample.resident_kib).max().unwrap_or(0);
    let (first, second) = samples.split_at(samples.len() / 2);
    let growth = max_resident_kib(second).saturating_sub(max_resident_kib(first));
    println!("growth from the first half to the second: {growth} KiB");
    if growth <= options.growth_kib {
        return ExitCode::SUCCESS;
    }
    eprintln!("memory-bench: memory grows with the requests: more than {} KiB", options.growth_kib);
    ExitCode::FAILURE
}
