//! `make bench`: how fast spans leave the exporter for a backend that takes its time, and what memory that takes.
//!
//! ```text
//! two connections, batches of 512 spans ──► exporter, its sink refused ──► a backlog on disk
//!                                           exporter ──► a backend that answers each call after 200 ms
//! ```

mod backend;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::exporter::Exporter;
use crate::ingest::{load, peak_mib};
use crate::{Error, Result, envoy};
use backend::Backend;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// What waits when the backend comes back, in MiB of requests as they were sent.
    pub backlog_mib: u64,
    /// How long the backend takes for an answer.
    pub answer_after: Duration,
}

/// How a sink fared.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// The name of the sink.
    pub sink: &'static str,
    /// Spans of the backlog.
    pub spans: u64,
    /// Spans delivered in a second, to each sink.
    pub rate: f64,
    /// The most memory while the backlog grew, in MiB.
    pub peak_filling_mib: f64,
    /// The most memory while it was delivered, in MiB.
    pub peak_draining_mib: f64,
}

/// What is measured: sinks that speak HTTP, and all of them at once.
pub const SINKS: [&str; 5] = ["otlp", "zipkin", "cloud-trace", "telemetry", ALL];

const ALL: &str = "all four";

/// After each of these it is looked whether the backlog is large enough.
const SLICE: Duration = Duration::from_millis(500);

/// Longer than this no backlog may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Measures one of [`SINKS`].
pub fn run(sink: &'static str, effort: Effort) -> Result<Figures> {
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let backend = Backend::start(effort.answer_after)?;
    let url = format!("http://{}", backend.address());
    let sinks = if sink == ALL { &SINKS[..4] } else { &[sink][..] };
    let mut options: Vec<String> =
        ["--outbox-max-bytes", "64GiB", "--auth", "none", "--project", "bench-project"]
            .map(str::to_owned)
            .to_vec();
    for sink in sinks {
        options.push("--sink".to_owned());
        if matches!(*sink, "cloud-trace" | "telemetry") {
            options.extend([(*sink).to_owned(), format!("--{sink}-endpoint"), url.clone()]);
        } else {
            options.push(format!("{sink}={url}"));
        }
    }
    let exporter = Exporter::start_with(&options, dir.path())?;

    let request = load::request();
    let mut spans = 0;
    while spans / load::BATCH as u64 * (request.len() as u64) < effort.backlog_mib << 20 {
        spans += load::send(exporter.http(), &request, SLICE)?;
    }
    let peak_filling_mib = peak_mib(exporter.id())?;
    forget_peak(exporter.id())?;

    backend.come_back();
    // The pause after the last refusal is not a part of the delivery.
    let deliveries = spans * sinks.len() as u64;
    wait_for(&exporter, 1)?;
    let (before, start) = (delivered(&exporter)?, Instant::now());
    wait_for(&exporter, deliveries)?;
    let rate = (deliveries - before) as f64 / sinks.len() as f64 / start.elapsed().as_secs_f64();
    let peak_draining_mib = peak_mib(exporter.id())?;
    Ok(Figures { sink, spans, rate, peak_filling_mib, peak_draining_mib })
}

/// Waits until so many spans are delivered, each sink for itself.
fn wait_for(exporter: &Exporter, spans: u64) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let delivered = delivered(exporter)?;
        if delivered >= spans {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::new(format!(
                "{delivered} of {spans} spans were delivered within {PATIENCE:?}"
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn delivered(exporter: &Exporter) -> Result<u64> {
    metric(exporter, "spans_delivered_total").map(|spans| spans as u64)
}

/// The value of a metric of the exporter, over all of its labels.
fn metric(exporter: &Exporter, name: &str) -> Result<f64> {
    let url = format!("{}metrics", exporter.page());
    let answer = envoy::client()?.get(&url).send().map_err(Error::when(&url))?;
    let text = answer.text().map_err(Error::when(&url))?;
    let name = format!("logtracer_exporter_{name}");
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(&name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    Ok(values.sum())
}

/// Lets the kernel count the most memory anew.
fn forget_peak(process: u32) -> Result<()> {
    let path = format!("/proc/{process}/clear_refs");
    fs::write(Path::new(&path), "5").map_err(Error::when(&path))
}
