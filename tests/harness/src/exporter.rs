//! The exporter as a program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Process, sibling};
use crate::store::{Store, Trace, TraceSummary};
use crate::{Error, Result, envoy};

/// A running exporter with the embedded store.
pub struct Exporter {
    process: Process,
    http: SocketAddr,
    grpc: SocketAddr,
    view: SocketAddr,
}

impl Exporter {
    /// Starts the exporter with its viewer at `view` (port 0: any). It reads the log lines of the files `tail`.
    pub fn start(view: &str, tail: &[PathBuf], dir: &Path) -> Result<Exporter> {
        let tail = tail.iter().flat_map(|file| ["--tail".into(), file.display().to_string()]);
        let options: Vec<String> = ["--view".into(), view.to_owned()].into_iter().chain(tail).collect();
        Exporter::spawn(&options, dir)
    }

    /// Starts the exporter with options, on free ports.
    pub fn start_with(options: &[String], dir: &Path) -> Result<Exporter> {
        let view = ["--view", "127.0.0.1:0"].map(str::to_owned);
        Exporter::spawn(&[&view[..], options].concat(), dir)
    }

    /// Starts the exporter with options, one of which is the address of the viewer.
    pub fn start_with_view(options: &[String], dir: &Path) -> Result<Exporter> {
        Exporter::spawn(options, dir)
    }

    fn spawn(options: &[String], dir: &Path) -> Result<Exporter> {
        let mut command = Command::new(program()?);
        command.args(["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--data-dir"]);
        command.arg(dir.join("data")).args(options);
        let mut process = Process::start("exporter", command, dir)?;
        let ready = process.wait_until_ready()?;
        let (http, grpc) = (ready.address("http")?, ready.address("grpc")?);
        Ok(Exporter { http, grpc, view: ready.address("view")?, process })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The address of OTLP/HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The address of OTLP/gRPC.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// The URL of the viewer's page.
    pub fn page(&self) -> String {
        format!("http://{}/", self.view)
    }

    /// The file of its stdout: its log, and the lines of the sink `stdout`.
    pub fn stdout(&self) -> &Path {
        self.process.stdout()
    }

    /// Its stderr so far.
    pub fn errors(&self) -> String {
        self.process.errors()
    }

    /// Returns a metric, summed over its labels. `name` is without the prefix `logtracer_exporter_`.
    pub fn metric(&self, name: &str) -> Result<f64> {
        Ok(self.metrics(name)?.into_iter().sum())
    }

    /// Returns the values of a metric in the order of its labels.
    pub fn metrics(&self, name: &str) -> Result<Vec<f64>> {
        let url = format!("{}metrics", self.page());
        let response = envoy::client()?.get(&url).send().map_err(Error::when(&url))?;
        let text = response.text().map_err(Error::when(&url))?;
        let name = format!("logtracer_exporter_{name}");
        let mut lines: Vec<&str> = text
            .lines()
            .filter(|line| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{'])))
            .collect();
        lines.sort_unstable();
        let values = lines.into_iter().filter_map(|line| line.rsplit(' ').next()?.parse().ok());
        Ok(values.collect())
    }

    /// The JSON API of its store.
    pub fn store(&self) -> Store {
        Store { page: self.page() }
    }

    /// Returns the newest traces.
    pub fn traces(&self, limit: usize) -> Result<Vec<TraceSummary>> {
        self.store().traces(limit)
    }

    /// Returns a trace if the store has a span or a line of it.
    pub fn trace(&self, id: &str) -> Result<Option<Trace>> {
        self.store().trace(id)
    }

    /// Waits until a trace has at least a number of spans and lines.
    pub fn wait_for_trace(&self, id: &str, spans: usize, lines: usize) -> Result<Trace> {
        self.store().wait_for_trace(id, spans, lines)
    }
}

/// Returns the path of the program: `LOGTRACER_EXPORTER`, else the sibling of this program.
pub fn program() -> Result<PathBuf> {
    std::env::var_os("LOGTRACER_EXPORTER")
        .map_or_else(|| sibling("logtracer-exporter"), |path| Ok(path.into()))
}
