//! `make bench`: how fast spans leave the exporter for a backend that takes its time, what memory that takes, and how
//! long a restart takes with all that waits.
//!
//! ```text
//! two connections, batches of 512 spans ──► exporter, its sink refused ──► a backlog on disk
//!                                           exporter, started again ──► a backend that answers each call after 200 ms
//! ```
//!
//! The backlog is made once: each sink takes over what the one before has left, and it is filled up again.

mod backend;

use std::fs;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::exporter::Exporter;
use crate::ingest::{Load, peak_mib};
use crate::{Error, Result, envoy, wait};
use backend::Backend;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// What waits when the backend comes back, in MiB of the exporter's own measure, `logtracer_exporter_outbox_bytes`.
    pub backlog_mib: u64,
    /// How long the backend takes for an answer.
    pub answer_after: Duration,
    /// How long it is measured how fast spans leave.
    pub time: Duration,
}

/// How a sink fared.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// The name of the sink.
    pub sink: &'static str,
    /// What waited, in MiB as the outbox counts it.
    pub outbox_mib: f64,
    /// The same in MiB of requests as they were sent.
    pub request_mib: f64,
    /// From the start with that until `/readyz` answers 200.
    pub ready_after: Duration,
    /// Spans delivered in a second; of several sinks to the slowest.
    pub rate: f64,
    /// The most memory while the backlog grew, in MiB.
    pub peak_filling_mib: f64,
    /// The most memory of the start, in MiB.
    pub peak_ready_mib: f64,
    /// The most memory of the start and the delivery, in MiB.
    pub peak_delivering_mib: f64,
}

/// What is measured: the sinks that speak HTTP, all of them at once, and the embedded store, which has no backend.
pub const SINKS: [&str; 6] = ["otlp", "telemetry", "zipkin", "cloud-trace", ALL, STORE];

/// The sinks that are measured at once.
pub const ALL: &str = "all four at once";

/// The sink without a backend.
pub const STORE: &str = "store";

/// After each of these it is looked whether the backlog is large enough.
const SLICE: Duration = Duration::from_millis(500);

/// Longer than this no backlog may take to grow.
const PATIENCE: Duration = Duration::from_secs(300);

/// What all sinks share.
pub struct Bench {
    dir: TempDir,
    load: Load,
    effort: Effort,
}

impl Bench {
    /// An empty outbox.
    pub fn new(effort: Effort) -> Result<Bench> {
        let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
        Ok(Bench { dir, load: Load::new(), effort })
    }

    /// Measures one of [`SINKS`].
    pub fn run(&self, sink: &'static str) -> Result<Figures> {
        let sinks = if sink == ALL { &SINKS[..4] } else { &[sink][..] };
        let backend = Backend::start(self.effort.answer_after)?;
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

        backend.come_back();
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
        // Else the line that says where an earlier one listened is taken for that of this one.
        let said = self.dir.path().join("exporter.out");
        if said.exists() {
            fs::remove_file(&said).map_err(Error::when(said.display()))?;
        }
        Exporter::start_with(options, self.dir.path())
    }

    /// Sends until so much waits as is wanted.
    fn fill(&self, exporter: &Exporter) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let waiting = mib(exporter.metric("outbox_bytes")?);
            if waiting >= self.effort.backlog_mib as f64 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::new(format!("only {waiting:.0} MiB wait after {PATIENCE:?}")));
            }
            self.load.send(exporter.http(), SLICE)?;
        }
    }

    /// Spans delivered in a second, from the first one on: the pause after the last refusal is not a part of it.
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
    // Whatever is said by default must not end what waits here.
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
