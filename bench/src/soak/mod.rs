//! The whole chain under faults, with an account of every request at the end.
//!
//! ```text
//! traffic ──► Envoy (2 workers) ──► origin
//!               │ stdout │ spans
//!               ▼        ▼
//!        log_file     exporter (on a small disk) ──► its store
//!     (rotates) └──────► --tail │
//!                               └──► backend
//! ```
//!
//! `schedule` lists the faults: the exporter is killed, frozen or absent, its backend is unavailable or slow or sends
//! garbage, the disk is full, the log file is rotated, Envoy gets other configurations and is restarted.

mod accounting;
mod backend;
mod disk;
mod exporter;
mod log_file;
mod report;
mod schedule;
mod traffic;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::{Error, Result, shell, wait};
use serde_json::json;

use self::accounting::{Logged, Stored};
use self::backend::{Backend, Mode};
use self::disk::Ballast;
use self::exporter::Exporter;
use self::log_file::LogFile;
use self::report::Outcome;
pub use self::report::Report;
pub use self::schedule::LENGTH;
use self::schedule::{Event, SCHEDULE};
use self::traffic::Traffic;

const WORKERS: u8 = 2;

/// Sends `rate` requests a second for `length`, and repeats the schedule of faults. `disk` is a folder on a disk that
/// is filled. Calls `progress` with each fault.
pub fn run(length: Duration, rate: u32, disk: &Path, mut progress: impl FnMut(&str)) -> Result<Report> {
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let mut chain = Chain::start(dir.path(), disk, rate)?;
    let begin = Instant::now();
    let rounds = (0..).map(|round| LENGTH * round).take_while(|start| *start < length);
    for start in rounds {
        for (second, event) in SCHEDULE {
            let due = start + Duration::from_secs(second);
            if due >= length {
                break;
            }
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
            progress(&format!("{:>6} s  {event:?}", begin.elapsed().as_secs()));
            chain.apply(event)?;
        }
        std::thread::sleep((start + LENGTH).min(length).saturating_sub(begin.elapsed()));
    }
    progress(&format!("{:>6} s  end of the requests", begin.elapsed().as_secs()));
    chain.finish()
}

struct Chain<'a> {
    dir: &'a Path,
    disk: &'a Path,
    exporter: Exporter,
    backend: Backend,
    ballast: Option<Ballast>,
    proxy: Proxy,
    log: LogFile,
    traffic: Traffic,
    configurations: u32,
    /// The counters of the Envoys that were stopped.
    filter: BTreeMap<String, u64>,
    /// The counters of the exporters that were killed, as of shortly before.
    evicted_traces: u64,
    tailed_lines: u64,
}

impl<'a> Chain<'a> {
    fn start(dir: &'a Path, disk: &'a Path, rate: u32) -> Result<Chain<'a>> {
        let logs = crate::folder(dir, "logs")?;
        let backend = Backend::start()?;
        let exporter = Exporter::start(disk, backend.port(), &logs.join("proxy.log"))?;
        let proxy = proxy(exporter.port(), 0)?;
        let log = LogFile::start(&logs, proxy.envoy.stdout())?;
        let traffic = Traffic::start(addresses(&proxy), rate);
        Ok(Chain {
            dir,
            disk,
            exporter,
            backend,
            ballast: None,
            proxy,
            log,
            traffic,
            configurations: 0,
            filter: BTreeMap::new(),
            evicted_traces: 0,
            tailed_lines: 0,
        })
    }

    fn apply(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Backend(mode) => self.backend.set_mode(mode),
            Event::KillExporter => {
                self.keep_counters()?;
                self.exporter.kill();
            }
            Event::StartExporter => self.exporter.run()?,
            Event::FreezeExporter => self.exporter.signal("STOP")?,
            Event::ThawExporter => self.exporter.signal("CONT")?,
            Event::FillDisk => self.ballast = Some(Ballast::fill(self.disk)),
            Event::FreeDisk => self.ballast = None,
            Event::Rotate(rotation) => self.log.rotate(rotation),
            Event::UpdateConfiguration => {
                self.configurations += 1;
                self.proxy.replace(&listeners(self.configurations))?;
            }
            Event::RestartEnvoy => self.restart_envoy()?,
        }
        Ok(())
    }

    fn keep_counters(&mut self) -> Result<()> {
        self.evicted_traces += self.exporter.metric("store_traces_evicted_total", "")?;
        self.tailed_lines += self.exporter.metric("log_lines_tailed_total", "")?;
        Ok(())
    }

    fn restart_envoy(&mut self) -> Result<()> {
        let Chain { traffic, proxy: old, log, exporter, configurations, filter, .. } = self;
        traffic.pause(|| {
            let new = proxy(exporter.port(), *configurations)?;
            stop_envoy(old, filter)?;
            log.follow(new.envoy.stdout());
            *old = new;
            Ok(addresses(old))
        })
    }

    fn finish(mut self) -> Result<Report> {
        let sent = self.traffic.stop()?;
        self.ballast = None;
        self.backend.set_mode(Mode::Accept);
        if self.exporter.is_running() {
            self.exporter.signal("CONT")?;
        } else {
            self.exporter.run()?;
        }
        wait::try_until("the exporter's readiness", || Ok(self.exporter.is_ready().then_some(())))?;
        let envoy_kib = self.proxy.envoy.peak_kib()?;
        stop_envoy(&mut self.proxy, &mut self.filter)?;
        let lines_written = self.log.finish()?;
        wait::try_until("delivery of every span", || {
            Ok((self.exporter.metric("sink_lag_batches", "")? == 0).then_some(()))
        })?;
        let logged = Logged::read(&self.dir.join("logs"), &sent)?;
        let mut stored = Stored::compare(&self.exporter.store(), &logged)?;
        for _ in 0..30 {
            if stored.missing == 0 {
                break;
            }
            std::thread::sleep(Duration::from_secs(1));
            let now = Stored::compare(&self.exporter.store(), &logged)?;
            let is_stable = now.missing == stored.missing;
            stored = now;
            if is_stable {
                break;
            }
        }
        self.evicted_traces += self.exporter.metric("store_traces_evicted_total", "")?;
        self.tailed_lines += self.exporter.metric("log_lines_tailed_total", "")?;
        let outcome = Outcome {
            delivered: self.backend.span_ids(),
            delivered_spans: self.backend.spans(),
            dropped_by_exporter: self.exporter.metric("spans_dropped_total", "otlp")?,
            dead_letters: self.exporter.metric("dead_letters", "")?,
            evicted_traces: self.evicted_traces,
            tailed_lines: self.tailed_lines,
            lines_written,
            filter: self.filter,
            envoy_kib,
            exporter_kib: self.exporter.peak_kib()?,
        };
        Ok(outcome.report(&sent, &logged, &stored))
    }
}

/// Stops an Envoy after its drain, and adds its counters to `counters`.
fn stop_envoy(proxy: &mut Proxy, counters: &mut BTreeMap<String, u64>) -> Result<()> {
    wait::try_until("the spans that Envoy holds", || {
        Ok((proxy.envoy.stat(&shell::metric("spans_held"))? == 0).then_some(()))
    })?;
    // The filter publishes its counters periodically.
    std::thread::sleep(Duration::from_secs(2));
    for (name, value) in proxy.envoy.stats(&format!("^{}", shell::metric("")))? {
        *counters.entry(name.trim_start_matches(&shell::metric("")).to_owned()).or_default() += value;
    }
    proxy.envoy.stop();
    Ok(())
}

fn proxy(exporter: u16, configuration: u32) -> Result<Proxy> {
    let node = json!({ "id": "soak", "cluster": "shop" });
    Proxy::start_with_workers(WORKERS, node, &listeners(configuration), exporter)
}

/// Returns the listeners of a sidecar. Each number gives another configuration.
fn listeners(configuration: u32) -> [Listener; 2] {
    let filter = json!({
        "project_id": "soak",
        "query": "keep",
        "exporter": {
            "cluster": "logtracer-exporter",
            "flush_interval": format!("{}ms", 900 + configuration % 100),
        },
    });
    let outbound = Listener { direction: "OUTBOUND", ..Listener::new("outbound", filter.clone()) };
    [Listener::new("inbound", filter), outbound]
}

fn addresses(proxy: &Proxy) -> Vec<std::net::SocketAddr> {
    ["inbound", "outbound"].map(|listener| proxy.address(listener)).to_vec()
}
