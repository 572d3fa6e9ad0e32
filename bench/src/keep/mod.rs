//! What tail sampling costs: CPU of a span, memory of an open trace, and how late a kept span arrives.
//!
//! ```text
//! batches of 512 spans ──► exporter without rules ──► a backend that accepts everything
//!                      ──► exporter with rules    ──►
//! ```

mod latency;
mod open_traces;

use std::path::Path;
use std::time::Duration;

use logtracer_harness::exporter::Exporter;
use logtracer_harness::{Error, Result, wait};

use crate::ingest::{Load, cpu, receiver};
use crate::{folder, median};

pub use latency::Latency;
pub use open_traces::OpenTraces;

/// The amount of load.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Time of load for each exporter in each round.
    pub time: Duration,
    /// Rounds; the result is their median.
    pub rounds: usize,
}

/// The cost of a span with these rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// The name of the set-up.
    pub name: &'static str,
    /// CPU time of a span, user and system, in microseconds.
    pub micros: f64,
    /// The median over the rounds of the ratio to the exporter without rules in the same round.
    pub ratio: f64,
}

/// Rules of each kind that match no span of the load.
const RULES: &str = "error,slower-than=2s,route=/checkout,service=payment,attribute=tenant=acme,new-route";

/// The decision wait of the measured exporters, which is shorter than the default to shorten the bench.
const DECISION_WAIT: Duration = Duration::from_secs(1);

struct Candidate {
    name: &'static str,
    exporter: Exporter,
    micros: Vec<f64>,
}

/// Measures the CPU time of a span without rules, with rules that keep all spans, and with rules that keep 5 per cent.
pub fn costs(effort: Effort) -> Result<Vec<Cost>> {
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let sink = format!("otlp=http://{}", receiver::start()?);
    let mut candidates = [
        ("without rules", None),
        ("with rules, all kept", Some(format!("{RULES},rate=1"))),
        ("with rules, 5 % kept", Some(format!("{RULES},rate=0.05"))),
    ]
    .into_iter()
    .map(|(name, rules)| Candidate::start(name, &sink, rules.as_deref(), dir.path()))
    .collect::<Result<Vec<_>>>()?;
    let load = Load::new();
    for candidate in &candidates {
        load.send(candidate.exporter.http(), effort.time / 10)?; // warm up: connections, caches, files
        wait_until_delivered(&candidate.exporter)?;
    }
    for _ in 0..effort.rounds {
        for candidate in &mut candidates {
            let before = cpu(candidate.exporter.id())?;
            let spans = load.send(candidate.exporter.http(), effort.time)?;
            wait_until_delivered(&candidate.exporter)?;
            let spent = cpu(candidate.exporter.id())? - before;
            candidate.micros.push(spent.as_secs_f64() * 1e6 / spans as f64);
        }
    }
    let plain = candidates.first().map(|candidate| candidate.micros.clone()).unwrap_or_default();
    let cost = |candidate: Candidate| {
        let ratios: Vec<f64> =
            candidate.micros.iter().zip(&plain).map(|(micros, plain)| micros / plain).collect();
        Cost { name: candidate.name, micros: median(&candidate.micros), ratio: median(&ratios) }
    };
    Ok(candidates.into_iter().map(cost).collect())
}

impl Candidate {
    fn start(name: &'static str, sink: &str, rules: Option<&str>, dir: &Path) -> Result<Candidate> {
        let exporter = start(&folder(dir, &name.replace([' ', ',', '%'], "-"))?, sink, rules, DECISION_WAIT)?;
        Ok(Candidate { name, exporter, micros: Vec::new() })
    }
}

fn start(dir: &Path, sink: &str, rules: Option<&str>, decision_wait: Duration) -> Result<Exporter> {
    let mut options: Vec<String> =
        ["--sink", sink, "--outbox-max-bytes", "64GiB", "--grace", "1s"].map(str::to_owned).to_vec();
    if let Some(rules) = rules {
        let wait = format!("{}s", decision_wait.as_secs());
        options.extend(["--keep", rules, "--decision-wait", &wait].map(str::to_owned));
    }
    Exporter::start_with(&options, dir)
}

/// Waits until the sink has every span or the rules have dropped it.
fn wait_until_delivered(exporter: &Exporter) -> Result<()> {
    // Each look costs CPU time of the exporter.
    std::thread::sleep(DECISION_WAIT);
    wait::try_until("the delivery of all spans", || {
        std::thread::sleep(Duration::from_millis(100));
        Ok((exporter.metric("sink_lag_batches")? == 0.).then_some(()))
    })
}
