//! `make bench`: how fast spans leave the exporter, and what memory that takes.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use logtracer_tests::delivery::{self, Effort, Figures};

/// Measures delivered spans a second and peak memory with a backlog, for a backend that is slow to answer.
#[derive(Parser)]
struct Options {
    /// The backlog that is delivered, in MiB.
    #[arg(long, default_value_t = 1024)]
    backlog_mib: u64,
    /// How long the backend takes for an answer, in milliseconds.
    #[arg(long, default_value_t = 200)]
    answer_after_ms: u64,
    /// Only this sink.
    #[arg(long, value_parser = delivery::SINKS)]
    sink: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let answer_after = Duration::from_millis(options.answer_after_ms);
    let effort = Effort { backlog_mib: options.backlog_mib, answer_after };
    let is_wanted = |sink: &&str| options.sink.as_ref().is_none_or(|wanted| wanted == sink);
    let mut figures = Vec::new();
    for sink in delivery::SINKS.into_iter().filter(is_wanted) {
        eprintln!("bench: delivery to {sink}");
        match delivery::run(sink, effort) {
            Ok(measured) => figures.push(measured),
            Err(error) => {
                eprintln!("bench: {sink}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    report(&figures, effort);
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout, reason = "the report is what this program is for")]
fn report(figures: &[Figures], effort: Effort) {
    let Effort { backlog_mib, answer_after } = effort;
    println!(
        "\nA backlog of {backlog_mib} MiB, delivered to a backend that answers after {answer_after:?}\n"
    );
    println!("{:<14}{:>12}{:>12}{:>24}{:>24}", "", "spans", "spans/s", "peak memory, filling", "delivering");
    for Figures { sink, spans, rate, peak_filling_mib, peak_draining_mib } in figures {
        println!(
            "{sink:<14}{spans:>12}{rate:>12.0}{peak_filling_mib:>20.0} MiB{peak_draining_mib:>20.0} MiB"
        );
    }
}
