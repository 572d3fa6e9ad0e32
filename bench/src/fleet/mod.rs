//! How intake and memory of the exporter grow with the number of senders. Each keeps a connection, as each worker of
//! each Envoy does, and sends one span a second.
//!
//! ```text
//! 100 … 10,000 connections, one request a second each ──► exporter, its sink unavailable ──► its outbox
//! ```

mod sender;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use logtracer_harness::exporter::Exporter;
use logtracer_harness::{Error, Result, ports};

use crate::ingest::{cpu, peak_mib};
pub use sender::Protocol;
use sender::Sender;

/// A response later than this counts as lost: the filter's callout has timed out.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The time in which all senders connect.
const RAMP: Duration = Duration::from_secs(5);

/// The figures of a number of senders.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Requests that were sent in the measured time.
    pub requests: usize,
    /// Requests with a success response within two seconds.
    pub answered: usize,
    /// The median and the 99th percentile of the response time, in milliseconds.
    pub median_ms: f64,
    /// See `median_ms`.
    pub p99_ms: f64,
    /// CPU time of a request, user and system, in microseconds.
    pub micros: f64,
    /// Peak memory, in MiB.
    pub peak_mib: f64,
}

/// Measures this number of senders for `time`, with an exporter of their own.
pub fn run(protocol: Protocol, senders: usize, time: Duration) -> Result<Figures> {
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let closed = ports::reserve()?;
    let sink = ["--sink".to_owned(), format!("otlp=http://127.0.0.1:{closed}")];
    let exporter = Exporter::start_with(&sink, dir.path())?;
    let address = match protocol {
        Protocol::Http => exporter.http(),
        Protocol::Grpc => exporter.grpc(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::when("a runtime for the senders"))?;
    let process = exporter.id();
    let (outcomes, spent) = runtime.block_on(async {
        let start = tokio::time::Instant::now() + RAMP;
        let message = Arc::new(protocol.message());
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..senders {
            // The connections and the requests are spread evenly.
            let share = n as f64 / senders as f64;
            let sender = Sender { protocol, address, message: message.clone() };
            tasks.spawn(async move {
                tokio::time::sleep_until(start - RAMP + RAMP.mul_f64(share * 0.9)).await;
                sender.run(start + Duration::from_secs(1).mul_f64(share), start + time).await
            });
        }
        tokio::time::sleep_until(start).await;
        let before = cpu(process)?;
        let outcomes = tasks.join_all().await;
        Ok::<_, Error>((outcomes, cpu(process)?.saturating_sub(before)))
    })?;
    let requests: usize = outcomes.iter().map(|outcome| outcome.sent).sum();
    let mut times: Vec<f64> =
        outcomes.iter().flat_map(|outcome| &outcome.times).map(|time| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let quantile = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    let answered = times.iter().filter(|time| **time <= TIMEOUT.as_secs_f64() * 1e3).count();
    Ok(Figures {
        requests,
        answered,
        median_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        micros: spent.as_secs_f64() * 1e6 / requests as f64,
        peak_mib: peak_mib(process)?,
    })
}

/// Returns the limit of open files of this process, which bounds the senders.
pub fn max_senders() -> Result<usize> {
    let path = "/proc/self/limits";
    let text = fs::read_to_string(path).map_err(Error::when(path))?;
    let limit = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok());
    limit
        .map(|files: usize| files.saturating_sub(64))
        .ok_or_else(|| Error::new(format!("{path} has no limit of open files")))
}
