//! `make bench`: the cost of the filter beside that of Envoy's own tracers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use logtracer_bench::filter::{self, Cost, Effort, Instructions};
use logtracer_harness::Error;

/// Measures the CPU time of Envoy for a request: plain, with its own tracers, and with the filter
#[derive(Parser)]
struct Options {
    /// Requests to each Envoy in each round
    #[arg(long, default_value_t = 3_000)]
    requests: u64,
    /// Rounds; the result is their median
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Requests to each Envoy while its instructions are counted, which is slow
    #[arg(long, default_value_t = 400)]
    counted_requests: u64,
    /// The module of an empty filter
    #[arg(long, default_value = "build/empty-filter.wasm")]
    empty_filter: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let effort = Effort { requests: options.requests, rounds: options.rounds };
    let progress = |round| eprintln!("bench: round {} of {}", round + 1, options.rounds);
    let empty_filter = options.empty_filter.canonicalize().unwrap_or(options.empty_filter.clone());
    let run = || {
        report(&filter::run(effort, &empty_filter, progress)?);
        eprintln!("bench: counting instructions");
        report_instructions(&filter::count(options.counted_requests, &empty_filter)?);
        Ok::<_, Error>(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn report(costs: &[Cost]) {
    let share = Share::of(costs.iter().map(|cost| (cost.name, cost.micros)));
    println!("CPU time of Envoy for a request, in µs (user and system)\n");
    println!("{:<34}{:>10}{:>12}{:>26}", "", "all", "over plain", "of OpenTelemetry's share");
    for Cost { name, micros } in costs {
        println!("{name:<34}{micros:>10.1}{:>12.1}{:>26.2}", micros - share.plain, share.share(*micros));
    }
    println!("\ngoal for all of the filter: 0.30 of OpenTelemetry's share");
}

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn report_instructions(counts: &[Instructions]) {
    let share = Share::of(counts.iter().map(|count| (count.name, count.all)));
    println!("\nInstructions of Envoy for a request, by callgrind\n");
    println!(
        "{:<34}{:>10}{:>12}{:>26}{:>12}",
        "", "all", "over plain", "of OpenTelemetry's share", "in wasm"
    );
    for Instructions { name, all, module } in counts {
        let (over, share) = (all - share.plain, share.share(*all));
        println!("{name:<34}{all:>10.0}{over:>12.0}{share:>26.2}{module:>12.0}");
    }
}

/// The costs to compare with: of plain Envoy, and of the OpenTelemetry tracer with a JSON log over plain Envoy.
struct Share {
    plain: f64,
    tracer: f64,
}

impl Share {
    fn of(costs: impl Iterator<Item = (&'static str, f64)> + Clone) -> Self {
        let cost_of =
            |wanted: &str| costs.clone().find(|(name, _)| name.starts_with(wanted)).map(|(_, cost)| cost);
        let plain = cost_of("plain").unwrap_or(f64::NAN);
        Self { plain, tracer: cost_of("OpenTelemetry").unwrap_or(f64::NAN) - plain }
    }

    fn share(&self, cost: f64) -> f64 {
        (cost - self.plain) / self.tracer
    }
}
