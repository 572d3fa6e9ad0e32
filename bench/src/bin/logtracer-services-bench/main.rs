//! The cost of the same small service on each stack: crates, bytes of the binary, time to compile.
//!
//! The services are in `sdk/bench/services`. Each is built alone in an empty folder, and then has to serve a request: the
//! trace of its `traceparent` has to be in every line and in the headers of the next call.
//!
//! `cargo run --release -p logtracer-bench --bin logtracer-services-bench`

mod build;
mod report;
mod request;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use logtracer_tables::document;

use build::Build;

/// Builds the same service on each stack from nothing, which takes minutes. Prints the table of docs/capacity.md, and
/// writes it into this document
#[derive(Debug, Parser)]
struct Options {
    /// The folder of the services
    #[arg(long, default_value = "sdk/bench/services")]
    services: PathBuf,
    /// Rounds of builds; the times are their medians
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// The jobs of each build
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Build only these services
    #[arg(long, conflicts_with = "docs")]
    service: Vec<String>,
    /// The folder of capacity.md to update
    #[arg(long)]
    docs: Option<PathBuf>,
}

/// A service on one stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Service {
    /// The folder of the package.
    name: &'static str,
    title: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No lines and no trace: what the others add to.
    Bare,
    /// Lines with the trace of the request.
    Lines,
    /// The same, and spans for an OTLP receiver.
    Spans,
}

const SERVICES: [Service; 8] = [
    Service { name: "bare", title: "axum alone", kind: Kind::Bare },
    Service { name: "logtracer", title: "logtracer-sdk", kind: Kind::Lines },
    Service { name: "fmt-json", title: "tracing-subscriber's json, trace by hand", kind: Kind::Lines },
    Service { name: "json-subscriber", title: "json-subscriber, trace by hand", kind: Kind::Lines },
    Service { name: "stackdriver", title: "tracing-stackdriver, trace by hand", kind: Kind::Lines },
    Service { name: "opentelemetry", title: "OpenTelemetry and json-subscriber", kind: Kind::Lines },
    Service { name: "logtracer-spans", title: "logtracer-sdk, with spans", kind: Kind::Spans },
    Service { name: "opentelemetry-otlp", title: "OpenTelemetry, with spans", kind: Kind::Spans },
];

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the table is the output of this program")]
fn run(options: &Options) -> Result<(), String> {
    build::fetch(&options.services)?;
    let is_wanted = |service: &Service| {
        options.service.is_empty() || options.service.iter().any(|name| name == service.name)
    };
    let wanted = SERVICES.into_iter().filter(is_wanted);
    let mut builds: Vec<(Service, Vec<Build>)> = wanted.map(|service| (service, Vec::new())).collect();
    for round in 0..options.rounds {
        for (service, done) in &mut builds {
            eprintln!("bench: the service on {}, round {} of {}", service.title, round + 1, options.rounds);
            done.push(build::measure(&options.services, *service, options.jobs)?);
        }
    }
    let table = report::table(&builds);
    println!("{table}");
    let Some(docs) = &options.docs else { return Ok(()) };
    let tables = [("sdk-services", table)];
    document::update(&docs.join("capacity.md"), &tables).map_err(|error| error.to_string())
}
