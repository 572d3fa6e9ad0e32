//! The exporter under faults: it keeps its addresses and its data over restarts.

use std::path::{Path, PathBuf};
use std::process::Command;

use logtracer_harness::exporter::program;
use logtracer_harness::process::Process;
use logtracer_harness::store::Store;
use logtracer_harness::{Error, Result, envoy, ports, wait};

/// An exporter with an embedded store and a backend.
pub(super) struct Exporter {
    http: u16,
    view: u16,
    backend: u16,
    dir: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Exporter {
    /// Starts the exporter with its data in `dir`, a backend on a port, and a log file to follow.
    pub(super) fn start(dir: &Path, backend: u16, log: &Path) -> Result<Exporter> {
        let mut exporter = Exporter {
            http: ports::reserve()?,
            view: ports::reserve()?,
            backend,
            dir: dir.to_owned(),
            log: log.to_owned(),
            process: None,
        };
        exporter.run()?;
        Ok(exporter)
    }

    pub(super) fn port(&self) -> u16 {
        self.http
    }

    /// Starts the program, and waits until it is ready. Readiness can take long on a full disk.
    pub(super) fn run(&mut self) -> Result<()> {
        let mut command = Command::new(program()?);
        let address = |port: u16| format!("127.0.0.1:{port}");
        command.args(["--http", &address(self.http), "--view", &address(self.view)]);
        command.args(["--grpc", "127.0.0.1:0", "--retention-bytes", "64GiB", "--sink", "store", "--sink"]);
        command.arg(format!("otlp=http://127.0.0.1:{}", self.backend));
        command.arg("--data-dir").arg(self.dir.join("data")).arg("--tail").arg(&self.log);
        let mut process = Process::start("exporter", command, &self.dir)?;
        wait::try_until("the exporter's /healthz", || {
            process.check_running()?;
            Ok(self.page("healthz").ok())
        })?;
        self.process = Some(process);
        Ok(())
    }

    pub(super) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Kills the program (SIGKILL), if it runs.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Sends a signal to the program, for example `STOP`.
    pub(super) fn signal(&self, name: &str) -> Result<()> {
        let Some(process) = &self.process else { return Err(Error::new("the exporter does not run")) };
        let status = Command::new("kill").args(["-s", name, &process.id().to_string()]).status();
        match status.map_err(Error::when("kill"))?.success() {
            true => Ok(()),
            false => Err(Error::new(format!("kill -s {name} failed"))),
        }
    }

    /// Returns a metric, summed over the labels for which `label` is contained in the line.
    pub(super) fn metric(&self, name: &str, label: &str) -> Result<u64> {
        let name = format!("logtracer_exporter_{name}");
        let text = self.page("metrics")?;
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(&name)?;
            (rest.starts_with([' ', '{']) && rest.contains(label))
                .then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        Ok(values.sum::<f64>() as u64)
    }

    /// The peak of its resident memory since its last start.
    pub(super) fn peak_kib(&self) -> Result<u64> {
        let id = self.process.as_ref().map_or(0, Process::id);
        let file = format!("/proc/{id}/status");
        let status = std::fs::read_to_string(&file).map_err(Error::when(&file))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| Error::new(format!("no VmHWM in {file}")))
    }

    pub(super) fn is_ready(&self) -> bool {
        self.page("readyz").is_ok()
    }

    pub(super) fn store(&self) -> Store {
        Store { page: format!("http://127.0.0.1:{}/", self.view) }
    }

    fn page(&self, path: &str) -> Result<String> {
        let url = format!("http://127.0.0.1:{}/{path}", self.view);
        let response = envoy::client()?.get(&url).send().and_then(|response| response.error_for_status());
        response.and_then(|response| response.text()).map_err(Error::when(&url))
    }
}
