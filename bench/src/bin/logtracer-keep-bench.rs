//! `make bench`: what tail sampling costs.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use logtracer_bench::keep::{self, Cost, Effort, Latency, OpenTraces};
use logtracer_harness::Result;
use logtracer_tables::figures::{thousands, verdict};

/// Measures the CPU time of a span with and without rules, the memory of open traces, and the delay of kept spans
#[derive(Parser)]
struct Options {
    /// Seconds of load for each exporter in each round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds; the result is their median
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Open traces
    #[arg(long, default_value_t = 1_000_000)]
    traces: u64,
    /// Spans in a second while the delay is measured
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
}

/// The goal for the CPU time of a span with rules, as a ratio to that without.
const GOAL_RATIO: f64 = 1.1;
/// The goal for the memory of an open trace.
const GOAL_BYTES: f64 = 64.;

struct Figures {
    costs: Vec<Cost>,
    open: OpenTraces,
    latency: Latency,
}

fn main() -> ExitCode {
    match measure(&Options::parse()) {
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

fn measure(options: &Options) -> Result<Figures> {
    eprintln!("bench: CPU time with rules");
    let costs = keep::costs(Effort { time: Duration::from_secs(options.seconds), rounds: options.rounds })?;
    eprintln!("bench: open traces");
    let open = OpenTraces::measure(options.traces)?;
    eprintln!("bench: delay of kept spans");
    let latency = Latency::measure(options.rate, Duration::from_secs(20))?;
    Ok(Figures { costs, open, latency })
}

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn report(Figures { costs, open, latency }: &Figures) {
    println!(
        "\nSpans received over OTLP/HTTP, batches of 512 on two connections, traces of 8 spans, and delivered to a backend;\n\
         goal: at most {GOAL_RATIO} of the CPU time without rules\n"
    );
    println!("| | CPU of a span | ratio |");
    println!("|---|---|---|");
    for Cost { name, micros, ratio } in costs {
        println!("| {name} | {micros:.2} µs | {ratio:.2}, {} |", verdict(*ratio <= GOAL_RATIO));
    }
    println!(
        "\n{} open traces: {:.0} bytes each (goal {GOAL_BYTES}: {})",
        thousands(open.traces),
        open.bytes,
        verdict(open.bytes <= GOAL_BYTES)
    );
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.;
    println!(
        "A kept span arrives after the decision wait and {:.0} ms (median), {:.0} ms (95th percentile), {:.0} ms (maximum),\n\
         with {} dropped spans a second",
        millis(latency.median),
        millis(latency.p95),
        millis(latency.max),
        thousands(latency.rate)
    );
}
