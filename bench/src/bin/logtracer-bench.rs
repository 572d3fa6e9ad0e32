//! `make bench`: the cost of the filter beside that of Envoy's own tracers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use logtracer_bench::chart::Chart;
use logtracer_bench::filter::{Effort, growth, memory, report, time};
use logtracer_harness::{Error, Result};
use logtracer_tables::document;

/// Measures what Envoy needs for a request: plain, with its own tracers, and with the filter in both shells. Prints the
/// tables of docs/capacity.md, and writes them and its curves to the folder of the documents
#[derive(Parser)]
struct Options {
    /// Requests to each Envoy in each round
    #[arg(long, default_value_t = 500)]
    requests: u64,
    /// Rounds; the result is their median
    #[arg(long, default_value_t = 60)]
    rounds: usize,
    /// Requests to each Envoy while its instructions are counted, which is slow: a multiple of 512
    #[arg(long, default_value_t = 512)]
    counted_requests: u64,
    /// The module of an empty filter
    #[arg(long, default_value = "build/empty-filter.wasm")]
    empty_filter: PathBuf,
    /// The folder of capacity.md and images/
    #[arg(long, default_value = "docs")]
    docs: PathBuf,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let empty_filter = options.empty_filter.canonicalize().unwrap_or(options.empty_filter.clone());
    let Options { requests, rounds, counted_requests, .. } = *options;
    let effort = Effort { requests, rounds, counted_requests, empty_filter };
    // The curves have more points than the tables, and need fewer rounds.
    let short = Effort { requests: (requests / 2).max(64), rounds: (rounds / 2).max(1), ..effort.clone() };

    let counted = growth::count(&effort, |setup| eprintln!("bench: instructions, {}", setup.name()))?;
    let [busy, idle] = time::measure(&effort, |traffic, round| {
        eprintln!("bench: time, {traffic:?}, round {} of {rounds}", round + 1);
    })?;
    eprintln!("bench: memory");
    let memory = memory::measure(&effort)?;
    let by_connections = growth::connections(&short, |number| eprintln!("bench: {number} connections"))?;
    let by_workers = growth::workers(&short, |number| eprintln!("bench: {number} workers"))?;

    let [busy_counts, idle_counts] = counted.counts;
    let tables = [
        ("busy", report::costs(&busy, &busy_counts)),
        ("idle", report::costs(&idle, &idle_counts)),
        ("goals", report::goals(&busy, &busy_counts)),
        ("memory", report::memory(&memory)),
        ("files", report::files(&memory::files()?)),
    ];
    print(&tables);
    document::update(&options.docs.join("capacity.md"), &tables)
        .map_err(Error::when("cannot write a table"))?;
    let images = options.docs.join("images");
    std::fs::create_dir_all(&images).map_err(Error::when(images.display()))?;
    write(&images, "cost-by-connections.svg", &by_connections)?;
    write(&images, "cost-by-workers.svg", &by_workers)?;
    write(&images, "cost-by-headers.svg", &counted.headers)
}

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn print(tables: &[(&str, String)]) {
    for (name, table) in tables {
        println!("{name}\n\n{table}");
    }
}

fn write(images: &Path, name: &str, chart: &Chart) -> Result<()> {
    let path = images.join(name);
    std::fs::write(&path, chart.to_svg()).map_err(Error::when(path.display()))?;
    eprintln!("bench: wrote {}", path.display());
    Ok(())
}
