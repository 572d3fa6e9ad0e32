//! `make bench`: bytes of a span and of a line.

use std::process::ExitCode;

use clap::Parser;
use logtracer_bench::sizes::{self, Sizes};
use logtracer_tables::figures::thousands;

/// Sends requests through the Envoy of envoy/envoy.yaml, and measures its lines and the exporter's outbox and store
#[derive(Parser)]
struct Options {
    /// The number of requests, each in a new trace
    #[arg(long, default_value_t = 20_000)]
    requests: u64,
}

fn main() -> ExitCode {
    let Options { requests } = Options::parse();
    match sizes::measure(requests) {
        Ok(sizes) => {
            report(requests, sizes);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn report(requests: u64, Sizes { outbox_span, store_span, line }: Sizes) {
    println!("\nBytes of one of {} equal requests\n", thousands(requests as f64));
    println!("| what | bytes |\n|---|---|");
    for (what, bytes) in [
        ("a span in the outbox", outbox_span),
        ("a span in the store", store_span),
        ("a line on stdout", line),
    ] {
        println!("| {what} | {bytes:.0} |");
    }
}
