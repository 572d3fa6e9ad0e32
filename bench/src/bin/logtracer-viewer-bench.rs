//! `make bench`: the time of the first page of each filter of the viewer, for stores of several sizes, and the page of a
//! long trace.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use logtracer_bench::chart::{Chart, Curve, Distances};
use logtracer_bench::viewer::pages::{self, Page, SlowReaders};
use logtracer_bench::viewer::{self, Effort, FILTERS, Figures, IndexBytes};
use logtracer_harness::{Error, Result};
use logtracer_tables::document;
use logtracer_tables::figures::{thousands, verdict};
use logtracer_tables::spread::Spread;

/// Measures the first page of each filter of the viewer while spans come in, and the page of a long trace
#[derive(Parser)]
struct Options {
    /// The sizes of the store, in spans; each second span has a log line
    #[arg(long, value_delimiter = ',', default_value = "100000,1000000,10000000")]
    sizes: Vec<u64>,
    /// Requests for each filter and size
    #[arg(long, default_value_t = 20)]
    requests: usize,
    /// Spans a second while the filters are measured
    #[arg(long, default_value_t = 20_000)]
    intake: u64,
    /// What is measured
    #[arg(long, value_enum, default_value_t = Part::All)]
    part: Part,
    /// Writes the tables and the curves to this folder of documents
    #[arg(long, value_name = "FOLDER")]
    docs: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The first page of each filter
    Searches,
    /// The page of a long trace
    Pages,
    All,
}

/// The goal for the 95th percentile, in milliseconds.
const GOAL_MS: f64 = 100.;

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
    let docs = options.docs.as_deref();
    if options.part != Part::Pages {
        let Options { sizes, requests, intake, .. } = options;
        let effort = Effort { sizes: sizes.clone(), requests: *requests, intake: *intake };
        let (figures, index) = viewer::measure(&effort)?;
        let table = table(&figures, index, &effort);
        print(&table);
        docs.map_or(Ok(()), |docs| write(docs, &table, &figures))?;
    }
    if options.part != Part::Searches {
        let (pages, readers) = pages::measure(options.requests)?;
        let table = pages_table(&pages, readers, options.requests);
        print(&table);
        docs.map_or(Ok(()), |docs| write_table(docs, "pages", &table))?;
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the report is the output of this program")]
fn print(table: &str) {
    println!("{table}\n");
}

fn pages_table(pages: &[Page], readers: SlowReaders, requests: usize) -> String {
    let mut lines = vec![
        format!("| trace | view | bytes | median of {requests} | 95th percentile | peak memory |"),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(pages.iter().map(|page| {
        let Page { name, median_ms, p95_ms, peak_mib, .. } = page;
        let spans = thousands(page.spans as f64);
        let bytes = page.bytes.map(|bytes| thousands(bytes as f64)).unwrap_or_default();
        format!(
            "| {spans} spans | {name} | {bytes} | {median_ms:.0} ms | {p95_ms:.0} ms | {peak_mib:.0} MiB |"
        )
    }));
    let SlowReaders { readers, bytes, peak_mib } = readers;
    let megabytes = bytes / 1_000_000;
    lines.push(format!(
        "| {megabytes} MB of attributes | page and download, {readers} slow readers | | | | {peak_mib:.0} MiB |"
    ));
    lines.join("\n")
}

fn table(figures: &[Figures], index: IndexBytes, effort: &Effort) -> String {
    let mut lines = vec![format!(
        "The first page of each filter, while {} spans a second come in, in milliseconds: median, 95th percentile of {} \
         requests (goal {GOAL_MS:.0}). One trace of {} is rare.\n",
        thousands(effort.intake as f64),
        effort.requests,
        thousands(viewer::rare() as f64),
    )];
    let sizes: Vec<String> =
        figures.iter().map(|figures| format!("{} spans", thousands(figures.spans as f64))).collect();
    lines.push(format!("| filter | {} |", sizes.join(" | ")));
    lines.push(format!("|---|{}", "---|".repeat(figures.len())));
    for (index, (name, _)) in FILTERS.iter().enumerate() {
        let cells = figures.iter().filter_map(|figures| figures.filters.get(index)).map(|times| {
            let interrupted = match times.interrupted {
                0. => String::new(),
                share => format!(", {:.0} % go on", share * 100.),
            };
            format!("{:.1}, {:.1}{interrupted}", times.median, times.p95)
        });
        lines.push(format!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | ")));
    }
    let row = |name: &str, value: &dyn Fn(&Figures) -> String| {
        format!("| {name} | {} |", figures.iter().map(value).collect::<Vec<_>>().join(" | "))
    };
    let slowest = |figures: &Figures| figures.filters.iter().map(|times| times.p95).fold(0., f64::max);
    lines.push(row("**slowest 95th percentile**", &|figures| {
        format!("{:.1}, {}", slowest(figures), verdict(slowest(figures) <= GOAL_MS))
    }));
    lines.push(row("spans a second, with lines, until then", &|figures| thousands(figures.fill_rate)));
    lines.push(row("bytes of a span, with half a line", &|figures| thousands(figures.bytes_of_span)));
    let IndexBytes { blocks, traces, lines: of_lines } = index;
    let last = format!("blocks {blocks:.1}, indexes of traces {traces:.1}, indexes of lines {of_lines:.1}");
    let others = " |".repeat(figures.len() - 1);
    lines.push(format!("| of these for searches |{others} {last} |"));
    lines.push(row("peak memory, MiB", &|figures| format!("{:.0}", figures.peak_mib)));
    lines.join("\n")
}

fn write_table(docs: &std::path::Path, name: &str, table: &str) -> Result<()> {
    document::update(&docs.join("capacity.md"), &[(name, table.to_owned())])
        .map_err(Error::when("cannot write a table"))
}

fn write(docs: &std::path::Path, table: &str, figures: &[Figures]) -> Result<()> {
    write_table(docs, "viewer", table)?;
    let drawn = [
        ("traces, newest", "#4c7df0"),
        ("attribute, rare", "#dd4f9c"),
        ("q, rare", "#e59a12"),
        ("lines, q rare", "#12a594"),
        ("min_duration=30s, none", "#7688a3"),
    ];
    let curves = drawn.into_iter().filter_map(|(name, colour)| {
        let index = FILTERS.iter().position(|(filter, _)| *filter == name)?;
        let points =
            figures.iter().filter_map(|figures| Some(Spread::exact(figures.filters.get(index)?.p95)));
        Some(Curve { name: name.to_owned(), colour, points: points.collect() })
    });
    let chart = Chart {
        title: "First page of a filter, 95th percentile".to_owned(),
        x: "spans in the store",
        xs: figures.iter().map(|figures| figures.spans).collect(),
        distances: Distances::Equal,
        y: "milliseconds",
        curves: curves.collect(),
    };
    let file = docs.join("images/viewer.svg");
    std::fs::write(&file, chart.to_svg()).map_err(Error::when(file.display()))
}
