//! `make bench`: the cost of receiving spans and log records, beside rotel.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use logtracer_bench::GOAL_MEMORY_MIB;
use logtracer_bench::ingest::{self, Effort, Figures};
use logtracer_tables::figures::{thousands, verdict};

/// Measures acknowledged spans and log records a second, CPU time of each and memory of the exporter, which responds
/// after the commit to disk, and of rotel, which responds before it stores anything
#[derive(Parser)]
struct Options {
    /// Seconds of load for each program in each round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds; the result is their median
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The agent of rotel
    #[arg(long, env = "ROTEL", default_value = "build/rotel/rotel-agent")]
    rotel: PathBuf,
}

/// The goals for the rate and the CPU time of a span, as ratios to those of rotel.
const GOAL_RATE: f64 = 2.;
const GOAL_CPU: f64 = 0.5;

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

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn report(figures: &[Figures]) {
    println!(
        "\nSpans and log records received over OTLP/HTTP, batches of 512 on two connections; goals: at least {GOAL_RATE} of rotel's rate, at most {GOAL_CPU} of its CPU,\n\
         at most {GOAL_MEMORY_MIB} MiB\n"
    );
    println!("| | spans or records/s | CPU of one | peak memory |");
    println!("|---|---|---|---|");
    // Each set-up of rotel is followed by the same set-up of the exporter.
    for pair in figures.chunks(2) {
        let [rotel, exporter] = pair else { continue };
        let row = |figures: &Figures, verdicts: [String; 3]| {
            let Figures { name, rate, micros, peak_mib } = figures;
            let [rate_verdict, micros_verdict, peak_verdict] = verdicts;
            let rate = thousands(*rate);
            println!(
                "| {name} | {rate}{rate_verdict} | {micros:.2} µs{micros_verdict} | {peak_mib:.0} MiB{peak_verdict} |"
            );
        };
        row(rotel, [const { String::new() }; 3]);
        let goals = [
            exporter.rate >= GOAL_RATE * rotel.rate,
            exporter.micros <= GOAL_CPU * rotel.micros,
            exporter.peak_mib <= GOAL_MEMORY_MIB,
        ];
        row(exporter, goals.map(|is_met| format!(", {}", verdict(is_met))));
    }
}
