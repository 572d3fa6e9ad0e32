//! `make bench`: how many bytes a span and a line take.

use std::process::ExitCode;

use clap::Parser;
use logtracer_tests::bench::{self, Sizes};
use logtracer_tests::figures::thousands;

/// Sends requests through the Envoy of envoy/envoy.yaml and divides by them what its lines and the exporter's outbox and
/// store take.
#[derive(Parser)]
struct Options {
    /// How many requests, each a trace of its own.
    #[arg(long, default_value_t = 20_000)]
    requests: u64,
}

fn main() -> ExitCode {
    let Options { requests } = Options::parse();
    match bench::sizes(requests) {
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

#[allow(clippy::print_stdout, reason = "the report is what this program is for")]
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
