//! Envoy as a program, its admin interface, and configurations.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::blocking::Client;
use serde_json::Value;

use crate::process::Process;
use crate::shell::{self, Shell};
use crate::{Error, Result, lines, wait};

/// A running Envoy that is ready for requests.
pub struct Envoy {
    process: Process,
    admin: Admin,
}

/// The admin interface of an Envoy on a port of 127.0.0.1.
#[derive(Clone, Copy)]
pub struct Admin(pub u16);

impl Envoy {
    /// Starts Envoy with `config`, whose admin interface listens on port `admin`. Its files are in `dir`.
    pub fn start(config: &str, admin: u16, dir: &Path) -> Result<Envoy> {
        Self::start_with_workers(1, config, admin, dir)
    }

    /// Starts Envoy with a number of worker threads. Each has its own VM.
    pub fn start_with_workers(workers: u8, config: &str, admin: u16, dir: &Path) -> Result<Envoy> {
        Self::run(command(config, dir)?, workers, admin, dir, wait::TIMEOUT)
    }

    /// Starts Envoy under another program, which makes it slow: `tool` with Envoy's command line as its last arguments.
    pub fn start_under(mut tool: Command, config: &str, admin: u16, dir: &Path) -> Result<Envoy> {
        let envoy = command(config, dir)?;
        tool.arg(envoy.get_program()).args(envoy.get_args());
        tool.envs(envoy.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self::run(tool, 1, admin, dir, 10 * wait::TIMEOUT)
    }

    fn run(mut command: Command, workers: u8, admin: u16, dir: &Path, timeout: Duration) -> Result<Envoy> {
        command.args(["--concurrency", &workers.to_string()]);
        command.args(["--file-flush-interval-msec", "100", "--drain-time-s", "1"]);
        let mut process = Process::start("envoy", command, dir)?;

        let admin = Admin(admin);
        wait::try_within(timeout, "Envoy's readiness", || {
            process.check_running()?;
            Ok(admin.is_ready()?.then_some(()))
        })?;
        Ok(Envoy { process, admin })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The resident memory.
    pub fn resident_kib(&self) -> Result<u64> {
        self.memory_kib("VmRSS:")
    }

    /// The peak of the resident memory.
    pub fn peak_kib(&self) -> Result<u64> {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, name: &str) -> Result<u64> {
        let file = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(&file).map_err(Error::when(&file))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| Error::new(format!("no {name} in {file}")))
    }

    /// Stops Envoy, which flushes its buffered log lines.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Sends SIGTERM, and does not wait.
    pub fn terminate(&mut self) {
        self.process.terminate();
    }

    /// Stops Envoy, and kills it if it does not end within `grace`. Returns whether it ended by itself.
    pub fn stop_within(&mut self, grace: Duration) -> bool {
        self.process.stop_within(grace).is_some_and(|status| status.success())
    }

    /// Starts to drain its listeners, which takes one second. Envoy continues to run.
    pub fn drain(&self) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/drain_listeners?graceful", self.admin.0);
        let response = client()?.post(url).send().and_then(reqwest::blocking::Response::error_for_status);
        response.map(drop).map_err(Error::when("Envoy's admin interface"))
    }

    /// The file of its stdout, which holds only log lines.
    pub fn stdout(&self) -> &Path {
        self.process.stdout()
    }

    /// Waits for at least `count` log lines and returns all lines so far.
    pub fn lines(&self, count: usize) -> Result<Vec<Value>> {
        wait::try_until(&format!("{count} lines of Envoy"), || {
            lines::read(self.stdout()).map(|lines| Some(lines).filter(|lines| lines.len() >= count))
        })
    }

    /// Its stderr so far.
    pub fn errors(&self) -> String {
        self.process.errors()
    }

    /// The address of its admin interface.
    pub fn admin(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.admin.0))
    }

    /// Returns all statistics in the format of Prometheus.
    pub fn prometheus(&self) -> Result<String> {
        self.admin.page("stats/prometheus")
    }

    /// Returns a counter or gauge, 0 if it is absent.
    pub fn stat(&self, name: &str) -> Result<u64> {
        Ok(self.stats(&format!("^{name}$"))?.remove(name).unwrap_or(0))
    }

    /// The counters and gauges whose names match a regular expression, all as of one moment.
    pub fn stats(&self, pattern: &str) -> Result<BTreeMap<String, u64>> {
        self.admin.stats(pattern)
    }
}

impl Admin {
    /// Reports whether Envoy is ready for requests.
    pub fn is_ready(self) -> Result<bool> {
        let response = client()?.get(format!("http://127.0.0.1:{}/ready", self.0)).send();
        Ok(response.is_ok_and(|response| response.status() == 200))
    }

    /// The counters and gauges whose names match a regular expression, all as of one moment.
    pub fn stats(self, pattern: &str) -> Result<BTreeMap<String, u64>> {
        let text = self.page(&format!("stats?filter={pattern}"))?;
        let parse = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter_map(parse).collect())
    }

    fn page(self, path: &str) -> Result<String> {
        let url = format!("http://127.0.0.1:{}/{path}", self.0);
        let response = client()?.get(url).send().and_then(|response| response.text());
        response.map_err(Error::when("Envoy's admin interface"))
    }
}

/// Runs `envoy --mode validate` with a configuration.
pub fn validate(config: &str, dir: &Path) -> Result<Output> {
    command(config, dir)?.args(["--mode", "validate"]).output().map_err(Error::when("envoy --mode validate"))
}

fn command(config: &str, dir: &Path) -> Result<Command> {
    let file = dir.join("envoy.yaml");
    std::fs::write(&file, config).map_err(Error::when(file.display()))?;
    let mut command = Command::new(program()?);
    match shell::native_folder() {
        Ok(folder) => {
            command.env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", folder);
        }
        Err(error) if shell::shell() == Shell::Native => return Err(error),
        Err(_) => {} // not built, and not needed
    }
    command.envs(shell::environment());
    command.args(["--disable-hot-restart", "--log-level", "warning", "--config-path"]).arg(file);
    Ok(command)
}

/// Returns the path of Envoy: `ENVOY`, else the link that `scripts/envoy` created in `build/`.
fn program() -> Result<PathBuf> {
    let path = std::env::var_os("ENVOY").map_or_else(|| root().join("build/envoy"), PathBuf::from);
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::new(format!("no Envoy at {}; run scripts/envoy, or set ENVOY=/path/to/envoy", path.display())))
}

/// Returns the major and minor version of Envoy.
pub fn version() -> Result<(u32, u32)> {
    static VERSION: OnceLock<(u32, u32)> = OnceLock::new();
    if let Some(version) = VERSION.get() {
        return Ok(*version);
    }
    let output =
        Command::new(program()?).arg("--version").output().map_err(Error::when("envoy --version"))?;
    // …/<commit>/<version>/<state>/<mode>/<TLS library>
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers = text.split('/').find_map(|part| {
        let mut numbers = part.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    });
    let version = numbers.ok_or_else(|| Error::new(format!("no version in {text:?}")))?;
    Ok(*VERSION.get_or_init(|| version))
}

/// Returns the path of the filter: `LOGTRACER_PLUGIN`, else the module that `make filter` builds.
pub fn plugin() -> Result<PathBuf> {
    let path =
        std::env::var_os("LOGTRACER_PLUGIN").map_or_else(|| root().join("build/plugin.wasm"), PathBuf::from);
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::new(format!("no filter at {}; run `make filter`", path.display())))
}

/// Returns `envoy/envoy.yaml` with other ports and the path of the module. For [`Shell::Native`], it is
/// `envoy/native.yaml`.
pub fn reference(entrance: u16, admin: u16, service: u16, exporter: u16) -> Result<String> {
    let (name, module) = match shell::shell() {
        Shell::Wasm => ("envoy/envoy.yaml", Some(("build/plugin.wasm", plugin()?.display().to_string()))),
        Shell::Native => ("envoy/native.yaml", None),
    };
    let file = root().join(name);
    let mut reference = std::fs::read_to_string(&file).map_err(Error::when(file.display()))?;
    let ports = [
        ("port_value: 8080 }", format!("port_value: {entrance} }}")),
        ("port_value: 9901 }", format!("port_value: {admin} }}")),
        ("port_value: 3000 }", format!("port_value: {service} }}")),
        ("port_value: 4318 }", format!("port_value: {exporter} }}")),
    ];
    for (there, here) in ports.into_iter().chain(module) {
        if reference.matches(there).count() != 1 {
            return Err(Error::new(format!("{} must have one {there}", file.display())));
        }
        reference = reference.replace(there, &here);
    }
    Ok(reference)
}

/// Returns the root folder of the project.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Replaces `${NAME}` in a configuration by its value. A name without a value is an error.
pub fn fill(template: &str, values: &[(&str, &dyn ToString)]) -> Result<String> {
    let mut filled = template.to_owned();
    for (name, value) in values {
        filled = filled.replace(&format!("${{{name}}}"), &value.to_string());
    }
    let is_comment = |line: &&str| line.trim_start().starts_with('#');
    match filled.lines().filter(|line| !is_comment(line)).find(|line| line.contains("${")) {
        None => Ok(filled),
        Some(line) => Err(Error::new(format!("no value for: {}", line.trim()))),
    }
}

/// Returns JSON as a quoted string of YAML.
pub fn quoted(json: &Value) -> String {
    format!("'{}'", json.to_string().replace('\'', "''"))
}

/// Returns a client that ignores the proxy settings of the environment.
pub fn client() -> Result<Client> {
    Client::builder().no_proxy().timeout(wait::TIMEOUT).build().map_err(Error::when("an HTTP client"))
}
