//! `make bench`: what it costs to take spans in, beside `rotel`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use logtracer_tests::figures::{GOAL_MEMORY_MIB, thousands, verdict};
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
    println!(
        "\nSpans taken over OTLP/HTTP, batches of 512 on two connections; goals: at least rotel's rate, at most its CPU,\n\
         at most {GOAL_MEMORY_MIB} MiB\n"
    );
    println!("| | spans/s | CPU of a span | peak memory |");
    println!("|---|---|---|---|");
    // Each rotel is followed by the exporter that does the same.
    for pair in figures.chunks(2) {
        let [rotel, exporter] = pair else { continue };
        let row = |figures: &Figures, verdicts: [String; 3]| {
            let Figures { name, rate, micros, peak_mib } = figures;
            let [of_rate, of_micros, of_peak] = verdicts;
            let rate = thousands(*rate);
            println!("| {name} | {rate}{of_rate} | {micros:.2} µs{of_micros} | {peak_mib:.0} MiB{of_peak} |");
        };
        row(rotel, [const { String::new() }; 3]);
        let goals = [
            exporter.rate >= rotel.rate,
            exporter.micros <= rotel.micros,
            exporter.peak_mib <= GOAL_MEMORY_MIB,
        ];
        row(exporter, goals.map(|is_met| format!(", {}", verdict(is_met))));
    }
}
