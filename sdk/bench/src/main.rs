//! The cost of the SDK beside its peers: time, allocations and instructions, in one run on one machine.
//!
//! ```text
//!  rounds ──► one process for each crate, in turn ──► stacks: install it, run the cases ──► measure
//!     │                                                   work: what all have in common ──► sink
//!     └──► report: the tables of the documents
//! ```
//!
//! `cargo run --profile service -p logtracer-sdk-bench --features peers`; without the feature it prints only the figures of the SDK.

mod case;
mod measure;
mod report;
mod rounds;
mod sink;
mod stacks;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use logtracer_tables::document;

use case::Case;
use measure::{Meter, Task};
use stacks::Stack;

/// Measures the cost of lines, requests and calls with the SDK and with other crates. Prints the tables of
/// docs/capacity.md and docs/comparison.md, and writes them into these documents
#[derive(Debug, Parser)]
struct Options {
    /// Rounds; the results are their medians
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// Count instructions too, with valgrind
    #[arg(long)]
    instructions: bool,
    /// The folder of capacity.md and comparison.md to update
    #[arg(long)]
    docs: Option<PathBuf>,
    /// Measure one crate, in this process
    #[arg(long, hide = true)]
    measure: Option<Stack>,
    /// Run only this case, without measuring it
    #[arg(long, hide = true, requires = "measure", requires = "times")]
    case: Option<Case>,
    /// The number of runs of the case
    #[arg(long, hide = true, requires = "case")]
    times: Option<u32>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.measure {
        Some(stack) => measure_one(stack, &options),
        None => measure_all(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the process that started this one reads it")]
fn measure_one(stack: Stack, options: &Options) -> Result<(), String> {
    let task = match (options.case, options.times) {
        (Some(case), Some(times)) => Task::Repeat(case, times),
        _ => Task::Measure,
    };
    let mut meter = Meter::new(task);
    stack.run(&mut meter)?;
    meter.into_samples().iter().for_each(|sample| println!("{sample}"));
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the tables are the output of this program")]
fn measure_all(options: &Options) -> Result<(), String> {
    let rounds = options.rounds;
    let mut all = rounds::measure(rounds, |round| eprintln!("bench: SDK, round {} of {rounds}", round + 1))?;
    if options.instructions {
        rounds::count_instructions(&mut all, |stack| {
            eprintln!("bench: SDK, instructions, {}", stack.title());
        })?;
    }
    let (cases, goals) = (report::cases(&all), report::goals(&all));
    println!("{cases}\n{goals}");
    let Some(docs) = &options.docs else { return Ok(()) };
    let write = |name: &str, tables: &[(&str, String)]| {
        document::update(&docs.join(name), tables).map_err(|error| error.to_string())
    };
    write("capacity.md", &[("sdk", cases), ("sdk-goals", goals)])?;
    write("comparison.md", &[("sdk", report::comparison(&all))])
}
