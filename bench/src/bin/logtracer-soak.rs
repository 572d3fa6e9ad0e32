//! `make soak`: sends requests through the whole chain under faults, and accounts for each of them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use logtracer_bench::soak;

/// Sends requests while parts of the chain fail, and fails if a request, a line or a span is not accounted for
#[derive(Parser)]
struct Options {
    /// How long requests are sent
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Requests a second
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// A folder on a small disk, which is filled; `scripts/soak` mounts one
    #[arg(long)]
    disk: PathBuf,
}

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn main() -> ExitCode {
    let options = Options::parse();
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    println!(
        "{} requests a second for {} s, with a fault every few seconds:",
        options.rate,
        length.as_secs()
    );
    let report = match soak::run(length, options.rate, &options.disk, |event| println!("{event}")) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("soak: {error}");
            return ExitCode::FAILURE;
        }
    };
    for (name, value) in &report.figures {
        println!("{name:<48} {value}");
    }
    for difference in &report.differences {
        eprintln!("soak: {difference}");
    }
    if !report.differences.is_empty() {
        return ExitCode::FAILURE;
    }
    println!("every request is accounted for");
    ExitCode::SUCCESS
}
