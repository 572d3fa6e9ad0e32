//! `make bench`: how intake and memory of the exporter grow with the number of senders.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use logtracer_bench::fleet::{self, Figures, Protocol};
use logtracer_tables::figures::thousands;

/// Measures the responses, the CPU time and the memory of the exporter with many senders, each with one connection and
/// one request a second
#[derive(Parser)]
struct Options {
    /// Seconds of load for each number of senders
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Numbers of senders
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 5_000, 10_000])]
    senders: Vec<usize>,
    /// The protocol of the senders
    #[arg(long, value_enum, default_value_t = Protocols::Both)]
    protocol: Protocols,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocols {
    /// OTLP/HTTP over HTTP/1.1
    Http,
    /// OTLP/gRPC, so HTTP/2
    Grpc,
    Both,
}

/// What an exporter has to reach: the share of requests that are answered within two seconds, in percent, and its peak
/// memory in MiB.
const MIN_ANSWERED: f64 = 99.9;
const MAX_PEAK_MIB: f64 = 256.;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn run(options: &Options) -> logtracer_harness::Result<()> {
    println!("\nSenders with one connection and one request a second each\n");
    println!(
        "| protocol | senders | answered within 2 s | median | 99th percentile | CPU of a request | peak memory |"
    );
    println!("|---|---|---|---|---|---|---|");
    let max_senders = fleet::max_senders()?;
    let mut missed = Vec::new();
    for (protocol, name, option) in [
        (Protocol::Http, "OTLP/HTTP, HTTP/1.1", Protocols::Http),
        (Protocol::Grpc, "OTLP/gRPC, HTTP/2", Protocols::Grpc),
    ] {
        if ![option, Protocols::Both].contains(&options.protocol) {
            continue;
        }
        for &senders in &options.senders {
            if senders > max_senders {
                println!(
                    "| {name} | {} | not measured: ulimit -n is too low | | | | |",
                    thousands(senders as f64)
                );
                continue;
            }
            eprintln!("bench: fleet, {senders} senders of {name}");
            let Figures { requests, answered, median_ms, p99_ms, micros, peak_mib } =
                fleet::run(protocol, senders, Duration::from_secs(options.seconds))?;
            let senders = thousands(senders as f64);
            let share = 100. * answered as f64 / requests as f64;
            println!(
                "| {name} | {senders} | {share:.2} % | {median_ms:.1} ms | {p99_ms:.1} ms | {micros:.0} µs | {peak_mib:.0} MiB |"
            );
            if share < MIN_ANSWERED || peak_mib > MAX_PEAK_MIB {
                missed.push(format!("{senders} senders of {name}: {share:.2} %, {peak_mib:.0} MiB"));
            }
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    let goal = format!("goal missed ({MIN_ANSWERED} % within two seconds, {MAX_PEAK_MIB} MiB)");
    Err(logtracer_harness::Error::new(format!("{goal}: {}", missed.join("; "))))
}
