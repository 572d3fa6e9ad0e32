//! `make bench`: what it costs to take spans in, beside `rotel`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use logtracer_tests::ingest::{self, Effort, Figures};

/// Measures acknowledged spans a second, CPU time of a span and memory: of the exporter, which answers after the
/// commit to disk, and of rotel, which answers before it does anything.
#[derive(Parser)]
struct Options {
    /// Seconds of load for each program in each round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The agent of rotel.
    #[arg(long, env = "ROTEL", default_value = "build/rotel/rotel-agent")]
    rotel: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let effort = Effort { time: Duration::from_secs(options.seconds), rounds: options.rounds };
    let progress = |round| eprintln!("bench: ingest, round {} of {}", round + 1, options.rounds);
    match ingest::run(effort, &options.rotel, progress) {
        Ok(figures) => {
            report(&figures);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the report is what this program is for")]
fn report(figures: &[Figures]) {
    println!("\nSpans taken over OTLP/HTTP, batches of 512 on two connections\n");
    println!("{:<30}{:>14}{:>18}{:>16}", "", "spans/s", "CPU of a span", "peak memory");
    for Figures { name, rate, micros, peak_mib } in figures {
        println!("{name:<30}{rate:>14.0}{micros:>15.2} µs{peak_mib:>12.0} MiB");
    }
}
