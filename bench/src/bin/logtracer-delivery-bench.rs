//! `make bench`: delivered spans a second, the memory of the exporter, and the time of a restart.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use logtracer_bench::GOAL_MEMORY_MIB;
use logtracer_bench::delivery::{self, Bench, Effort, Figures};
use logtracer_harness::Result;
use logtracer_tables::figures::{thousands, verdict};

/// Measures delivered spans a second, peak memory and a restart with a backlog, with a backend that responds slowly
#[derive(Parser)]
struct Options {
    /// The backlog, in MiB of `logtracer_exporter_outbox_bytes`
    #[arg(long, default_value_t = 1024)]
    backlog_mib: u64,
    /// The response time of the backend, in milliseconds
    #[arg(long, default_value_t = 200)]
    answer_after_ms: u64,
    /// Seconds of measured delivery to each sink
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Only this sink
    #[arg(long, value_parser = delivery::SINKS)]
    sink: Option<String>,
}

/// The goal for the spans a second to each sink, with a backend that responds after 200 ms.
const GOAL_RATE: f64 = 50_000.;

fn main() -> ExitCode {
    let options = Options::parse();
    let effort = Effort {
        backlog_mib: options.backlog_mib,
        response_delay: Duration::from_millis(options.answer_after_ms),
        time: Duration::from_secs(options.seconds),
    };
    match measure(effort, options.sink.as_deref()) {
        Ok(figures) => {
            report(&figures, effort);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(effort: Effort, only: Option<&str>) -> Result<Vec<Figures>> {
    let bench = Bench::new(effort)?;
    let wanted = delivery::SINKS.into_iter().filter(|sink| only.is_none_or(|only| only == *sink));
    wanted
        .map(|sink| {
            eprintln!("bench: delivery to {sink}");
            bench.run(sink)
        })
        .collect()
}

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn report(figures: &[Figures], Effort { response_delay, time, .. }: Effort) {
    let least = |value: fn(&Figures) -> f64| figures.iter().map(value).fold(f64::MAX, f64::min);
    println!(
        "\nA backlog of at least {:.0} MiB in the outbox (logtracer_exporter_outbox_bytes), {:.0} MiB of requests,\n\
         delivered for {} s to a backend that responds after {} ms (the store has no backend)\n",
        least(|figures| figures.outbox_mib),
        least(|figures| figures.request_mib),
        time.as_secs(),
        response_delay.as_millis(),
    );
    println!(
        "| sink | spans a second (goal {}) | ready after a restart | peak memory: filling, restart, delivery (goal {GOAL_MEMORY_MIB} MiB) |",
        thousands(GOAL_RATE)
    );
    println!("|---|---|---|---|");
    for figures in figures {
        let Figures { sink, rate, peak_filling_mib, peak_ready_mib, peak_delivering_mib, .. } = figures;
        let name = if *sink == delivery::ALL { format!("{sink}, to each") } else { format!("`{sink}`") };
        let rate = match *sink {
            delivery::STORE => thousands(*rate),
            _ => format!("{}, {}", thousands(*rate), verdict(*rate >= GOAL_RATE)),
        };
        let peak_mib = peak_filling_mib.max(*peak_delivering_mib);
        println!(
            "| {name} | {rate} | {:.1} s | {peak_filling_mib:.0}, {peak_ready_mib:.0}, {peak_delivering_mib:.0} MiB, {} |",
            figures.ready_after.as_secs_f64(),
            verdict(peak_mib <= GOAL_MEMORY_MIB),
        );
    }
}
