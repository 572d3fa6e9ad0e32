//! The exporter as a program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::{Process, sibling};
use crate::store::{Store, Trace, TraceSummary};
use crate::{Error, Result, envoy, lines, wait};

/// A running exporter with the embedded store.
pub struct Exporter {
    process: Process,
    http: SocketAddr,
    view: SocketAddr,
}

impl Exporter {
    /// Starts the exporter with its viewer at `view` (port 0: any), reading the log lines of `tail`.
    pub fn start(view: &str, tail: &[PathBuf], dir: &Path) -> Result<Exporter> {
        let tail = tail.iter().flat_map(|file| ["--tail".into(), file.display().to_string()]);
        let options: Vec<String> = ["--view".into(), view.to_owned()].into_iter().chain(tail).collect();
        Exporter::spawn(&options, dir)
    }

    /// Starts the exporter with these options, on free ports.
    pub fn start_with(options: &[String], dir: &Path) -> Result<Exporter> {
        let view = ["--view", "127.0.0.1:0"].map(str::to_owned);
        Exporter::spawn(&[&view[..], options].concat(), dir)
    }

    fn spawn(options: &[String], dir: &Path) -> Result<Exporter> {
        let mut command = Command::new(program()?);
        command.args(["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--data-dir"]);
        command.arg(dir.join("data")).args(options);
        let mut process = Process::start("exporter", command, dir)?;
        let ready = ready_line(&mut process)?;
        Ok(Exporter { http: address(&ready, "http")?, view: address(&ready, "view")?, process })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it takes OTLP/HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The address of the viewer's page.
    pub fn page(&self) -> String {
        format!("http://{}/", self.view)
    }

    /// What it said on stderr so far.
    pub fn errors(&self) -> String {
        self.process.errors()
    }

    /// The value of a metric, over all of its labels; its name without the prefix that all have.
    pub fn metric(&self, name: &str) -> Result<f64> {
        Ok(self.metrics(name)?.into_iter().sum())
    }

    /// The values of a metric, in the order of its labels.
    pub fn metrics(&self, name: &str) -> Result<Vec<f64>> {
        let url = format!("{}metrics", self.page());
        let answer = envoy::client()?.get(&url).send().map_err(Error::when(&url))?;
        let text = answer.text().map_err(Error::when(&url))?;
        let name = format!("logtracer_exporter_{name}");
        let mut lines: Vec<&str> = text
            .lines()
            .filter(|line| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{'])))
            .collect();
        lines.sort_unstable();
        let values = lines.into_iter().filter_map(|line| line.rsplit(' ').next()?.parse().ok());
        Ok(values.collect())
    }

    /// What its store answers.
    pub fn store(&self) -> Store {
        Store { page: self.page() }
    }

    /// The newest traces.
    pub fn traces(&self, limit: usize) -> Result<Vec<TraceSummary>> {
        self.store().traces(limit)
    }

    /// A trace, if the store has anything of it.
    pub fn trace(&self, id: &str) -> Result<Option<Trace>> {
        self.store().trace(id)
    }

    /// A trace once it has at least so many spans and lines.
    pub fn complete_trace(&self, id: &str, spans: usize, lines: usize) -> Result<Trace> {
        self.store().complete_trace(id, spans, lines)
    }
}

/// The program: `LOGTRACER_EXPORTER`, else the one that was built with this one.
pub fn program() -> Result<PathBuf> {
    std::env::var_os("LOGTRACER_EXPORTER")
        .map_or_else(|| sibling("logtracer-exporter"), |path| Ok(path.into()))
}

/// The first line of a program whose message ends with `ready`.
pub(crate) fn ready_line(process: &mut Process) -> Result<Value> {
    wait::try_until(&format!("the first line of {}", process.stdout().display()), || {
        process.check_running()?;
        let is_ready =
            |line: &Value| line["message"].as_str().is_some_and(|message| message.ends_with("ready"));
        Ok(lines::read(process.stdout())?.into_iter().find(is_ready))
    })
}

pub(crate) fn address(ready: &Value, field: &str) -> Result<SocketAddr> {
    let text = ready[field].as_str().unwrap_or_default();
    text.parse().map_err(Error::when(format!("{field} of the line {ready}")))
}
