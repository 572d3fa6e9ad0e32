//! `make bench`: what the filter costs, beside what Envoy's own tracers cost.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use logtracer_tests::bench::{self, Cost, Effort};

/// Measures the CPU that Envoy spends on a request: plain, with its own tracers, and with the filter.
#[derive(Parser)]
struct Options {
    /// Requests to each Envoy in each round.
    #[arg(long, default_value_t = 3_000)]
    requests: u64,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// The module of an empty filter.
    #[arg(long, default_value = "build/empty-filter.wasm")]
    empty_filter: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let effort = Effort { requests: options.requests, rounds: options.rounds };
    let progress = |round| eprintln!("bench: round {} of {}", round + 1, options.rounds);
    let empty_filter = options.empty_filter.canonicalize().unwrap_or(options.empty_filter.clone());
    match bench::run(effort, &empty_filter, progress) {
        Ok(costs) => {
            report(&costs);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the report is what this program is for")]
fn report(costs: &[Cost]) {
    let cost_of = |name: &str| costs.iter().find(|cost| cost.name.starts_with(name)).map(|cost| cost.micros);
    let plain = cost_of("plain").unwrap_or(f64::NAN);
    let tracer = cost_of("OpenTelemetry").unwrap_or(f64::NAN) - plain;
    println!("CPU of Envoy for a request, in µs (user and system)\n");
    println!("{:<34}{:>8}{:>12}{:>26}", "", "all", "over plain", "of OpenTelemetry's share");
    for cost in costs {
        let over = cost.micros - plain;
        println!("{:<34}{:>8.1}{:>12.1}{:>26.2}", cost.name, cost.micros, over, over / tracer);
    }
    println!("\ngoal for the last of the filter's lines: 0.30 of OpenTelemetry's share");
}
