//! The viewer in the terminal: `logtracer-exporter traces`, `trace ID`, `logs` and `open FILE…`.
//!
//! ```text
//!  options ──► parameters of the API ──► client: a running exporter ──► traces, trace, logs ──► text or JSON
//! ```
//!
//! The commands ask a running exporter, because its store is open in one process only.

mod client;
mod documents;
mod logs;
mod open;
mod text;
mod trace;
mod traces;
mod tree;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
use reqwest::Url;

use client::Client;
use text::Paint;

/// A command that shows what is stored, or adds to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TerminalCommand<'a> {
    Traces(&'a TracesOptions),
    Trace(&'a TraceOptions),
    Logs(&'a LogsOptions),
    Open(&'a OpenOptions),
}

/// Where the exporter is, and how its answer is printed.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Output {
    /// The viewer of a running exporter
    #[arg(long, env = "LOGTRACER_SERVER", value_name = "URL", default_value = "http://127.0.0.1:4380")]
    server: Url,
    /// The file with the token that the exporter requires; its first line is sent
    #[arg(long, env = "LOGTRACER_VIEW_TOKEN_FILE", value_name = "FILE")]
    view_token_file: Option<PathBuf>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// List the stored traces that pass a filter
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct TracesOptions {
    #[command(flatten)]
    output: Output,
    /// A span of this service
    #[arg(long)]
    service: Option<String>,
    /// A span with this in its name
    #[arg(long)]
    name: Option<String>,
    /// A span with this route
    #[arg(long)]
    route: Option<String>,
    /// A span with this status: 404, 5xx, error, UNAVAILABLE
    #[arg(long)]
    status: Option<String>,
    /// The least duration, such as 250ms
    #[arg(long, value_name = "TIME")]
    min_duration: Option<String>,
    /// The greatest duration
    #[arg(long, value_name = "TIME")]
    max_duration: Option<String>,
    /// A span with this attribute (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    attribute: Vec<String>,
    /// Text in the names of spans and in log lines
    #[arg(short, long, value_name = "TEXT")]
    q: Option<String>,
    /// The earliest time: RFC 3339, or -15m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// The latest time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// newest, oldest or longest
    #[arg(long, value_name = "ORDER")]
    sort: Option<String>,
    /// The number of traces
    #[arg(long, value_name = "NUMBER", default_value = "20")]
    limit: NonZeroUsize,
    /// The place where an earlier list has ended
    #[arg(long)]
    cursor: Option<String>,
}

/// Show one trace with its log lines
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct TraceOptions {
    #[command(flatten)]
    output: Output,
    /// The trace id
    #[arg(value_name = "ID")]
    id: String,
}

/// List the stored log lines that pass a filter, the newest last
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct LogsOptions {
    #[command(flatten)]
    output: Output,
    /// Then print new lines as they arrive
    #[arg(short, long, conflicts_with_all = ["to", "cursor"])]
    follow: bool,
    /// Text in the line
    #[arg(short, long, value_name = "TEXT")]
    q: Option<String>,
    /// This severity or a graver one
    #[arg(long)]
    severity: Option<String>,
    /// Lines of this service
    #[arg(long)]
    service: Option<String>,
    /// Lines of this trace
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// The earliest time: RFC 3339, or -15m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// The latest time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// The number of lines
    #[arg(long, value_name = "NUMBER", default_value = "50")]
    limit: NonZeroUsize,
    /// The place where an earlier list has ended
    #[arg(long)]
    cursor: Option<String>,
}

/// Send files of OTLP/JSON to a receiver, such as downloads of traces, and print the addresses of their traces
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct OpenOptions {
    #[command(flatten)]
    output: Output,
    /// The receiver of a running exporter (--http), or of another program
    #[arg(long, env = "LOGTRACER_TO", value_name = "URL", default_value = "http://127.0.0.1:4318")]
    to: Url,
    /// The file with the token that the receiver requires; its first line is sent
    #[arg(long, env = "LOGTRACER_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The files; `-` is stdin
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

type Query<'a> = Vec<(&'a str, &'a str)>;

impl TracesOptions {
    fn query(&self) -> Query<'_> {
        let single = [
            ("service", &self.service),
            ("name", &self.name),
            ("route", &self.route),
            ("status", &self.status),
            ("min_duration", &self.min_duration),
            ("max_duration", &self.max_duration),
            ("q", &self.q),
            ("from", &self.from),
            ("to", &self.to),
            ("sort", &self.sort),
        ];
        given(single).chain(self.attribute.iter().map(|value| ("attribute", value.as_str()))).collect()
    }
}

impl LogsOptions {
    fn query(&self) -> Query<'_> {
        let single = [
            ("q", &self.q),
            ("severity", &self.severity),
            ("service", &self.service),
            ("trace", &self.trace),
            ("from", &self.from),
            ("to", &self.to),
        ];
        given(single).collect()
    }
}

fn given<'a, const N: usize>(
    options: [(&'a str, &'a Option<String>); N],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    options.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
}

/// Runs a command. A reader that closes the pipe ends it.
pub(crate) fn run(command: &TerminalCommand<'_>, out: &mut impl Write) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let paint = Paint::of_stdout();
    let result = runtime.block_on(async {
        match command {
            TerminalCommand::Traces(options) => {
                traces::run(&Client::new(&options.output)?, options, paint, out).await
            }
            TerminalCommand::Trace(options) => {
                trace::run(&Client::new(&options.output)?, options, paint, out).await
            }
            TerminalCommand::Logs(options) => {
                logs::run(&Client::new(&options.output)?, options, paint, out).await
            }
            TerminalCommand::Open(options) => open::run(options, paint, out).await,
        }
    });
    let is_broken_pipe = |error: &anyhow::Error| {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        kind == Some(std::io::ErrorKind::BrokenPipe)
    };
    match result {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        result => result,
    }
}
