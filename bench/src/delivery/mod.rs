//! Delivered spans a second to a backend with a slow response, the memory of the exporter, and the time of a restart
//! with a backlog.
//!
//! ```text
//! two connections, batches of 512 spans ──► exporter, its sink unavailable ──► a backlog on disk
//!                                           exporter, restarted ──► a backend that responds after 200 ms
//! ```
//!
//! The sinks share the backlog: before each sink it is filled up again.

mod backend;

use std::fs;
use std::time::{Duration, Instant};

use logtracer_harness::exporter::Exporter;
use logtracer_harness::{Error, Result, envoy, wait};
use tempfile::TempDir;

use crate::ingest::{Load, peak_mib};
use backend::Backend;

/// The amount of load.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// The backlog when the backend recovers, in MiB of `logtracer_exporter_outbox_bytes`.
    pub backlog_mib: u64,
    /// The response time of the backend.
    pub response_delay: Duration,
    /// Time of measured delivery.
    pub time: Duration,
}

/// The figures of a sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// The name of the sink.
    pub sink: &'static str,
    /// The backlog, in MiB of the outbox.
    pub outbox_mib: f64,
    /// The backlog, in MiB of requests as they were sent.
    pub request_mib: f64,
    /// From the start with the backlog until `/readyz` responds 200.
    pub ready_after: Duration,
    /// Spans delivered in a second; of several sinks, that of the slowest.
    pub rate: f64,
    /// Peak memory while the backlog grew, in MiB.
    pub peak_filling_mib: f64,
    /// Peak memory of the start, in MiB.
    pub peak_ready_mib: f64,
    /// Peak memory of the start and the delivery, in MiB.
    pub peak_delivering_mib: f64,
}

/// The names of the measurements: the sinks with a backend, all of them at once, and the embedded store.
pub const SINKS: [&str; 6] = ["otlp", "telemetry", "zipkin", "cloud-trace", ALL, STORE];

/// The four sinks with a backend at once.
pub const ALL: &str = "all four at once";

/// The sink without a backend.
pub const STORE: &str = "store";

/// The time of load between two looks at the size of the backlog.
const STEP: Duration = Duration::from_millis(500);

/// The maximum time to fill the backlog.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The data directory and the load, which all sinks share.
pub struct Bench {
    dir: TempDir,
    load: Load,
    effort: Effort,
}

impl Bench {
    /// Creates an empty data directory.
    pub fn new(effort: Effort) -> Result<Bench> {
        let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
        Ok(Bench { dir, load: Load::new(), effort })
    }

    /// Measures one of [`SINKS`].
    pub fn run(&self, sink: &'static str) -> Result<Figures> {
        let sinks = if sink == ALL { &SINKS[..4] } else { &[sink][..] };
        let backend = Backend::start(self.effort.response_delay)?;
        let options = options(sinks, &format!("http://{}", backend.address()));

        let exporter = self.start(&options)?;
        self.fill(&exporter)?;
        let peak_filling_mib = peak_mib(exporter.id())?;
        drop(exporter);

        let start = Instant::now();
        let exporter = self.start(&options)?;
        wait_until_ready(&exporter)?;
        let ready_after = start.elapsed();
        let peak_ready_mib = peak_mib(exporter.id())?;
        let outbox_mib = mib(exporter.metric("outbox_bytes")?);
        let batches = exporter.metrics("sink_lag_batches")?.into_iter().fold(0., f64::max);

        backend.recover();
        let rate = self.rate(&exporter, sinks.len())?;
        Ok(Figures {
            sink,
            outbox_mib,
            request_mib: mib(batches * self.load.request_bytes() as f64),
            ready_after,
            rate,
            peak_filling_mib,
            peak_ready_mib,
            peak_delivering_mib: peak_mib(exporter.id())?,
        })
    }

    fn start(&self, options: &[String]) -> Result<Exporter> {
        // The ready line of an earlier run would be read instead of the new one.
        let stdout = self.dir.path().join("exporter.out");
        if stdout.exists() {
            fs::remove_file(&stdout).map_err(Error::when(stdout.display()))?;
        }
        Exporter::start_with(options, self.dir.path())
    }

    /// Sends spans until the backlog is large enough.
    fn fill(&self, exporter: &Exporter) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let backlog = mib(exporter.metric("outbox_bytes")?);
            if backlog >= self.effort.backlog_mib as f64 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::new(format!("backlog of only {backlog:.0} MiB after {TIMEOUT:?}")));
            }
            self.load.send(exporter.http(), STEP)?;
        }
    }

    /// Measures delivered spans a second from the first delivery on, which excludes the last back-off.
    fn rate(&self, exporter: &Exporter, sinks: usize) -> Result<f64> {
        let delivered = || exporter.metrics("spans_delivered_total");
        let is_delivering =
            |counts: &Vec<f64>| counts.len() == sinks && counts.iter().all(|count| *count > 0.);
        let before =
            wait::try_until("a delivery to each sink", || Ok(Some(delivered()?).filter(is_delivering)))?;
        let start = Instant::now();
        while start.elapsed() < self.effort.time && exporter.metric("sink_lag_batches")? > 0. {
            std::thread::sleep(Duration::from_millis(20));
        }
        let after = delivered()?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(before
            .iter()
            .zip(&after)
            .map(|(before, after)| (after - before) / seconds)
            .fold(f64::MAX, f64::min))
    }
}

fn options(sinks: &[&str], url: &str) -> Vec<String> {
    // The default size of the outbox would evict the backlog.
    let mut options: Vec<String> =
        ["--outbox-max-bytes", "64GiB", "--grace", "1s", "--auth", "none", "--project", "bench-project"]
            .map(str::to_owned)
            .to_vec();
    for sink in sinks {
        options.push("--sink".to_owned());
        match *sink {
            STORE => options.push(STORE.to_owned()),
            "cloud-trace" | "telemetry" => {
                options.extend([(*sink).to_owned(), format!("--{sink}-endpoint"), url.to_owned()]);
            }
            _ => options.push(format!("{sink}={url}")),
        }
    }
    options
}

fn wait_until_ready(exporter: &Exporter) -> Result<()> {
    let url = format!("{}readyz", exporter.page());
    let client = envoy::client()?;
    wait::try_until(&url, || {
        let answer = client.get(&url).send().map_err(Error::when(&url))?;
        Ok(answer.status().is_success().then_some(()))
    })
}

fn mib(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}
