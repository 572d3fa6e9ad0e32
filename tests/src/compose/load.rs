//! Load: requests of several clients at a steady pace, each in its own trace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logtracer_demo::requests::spans_with;
use logtracer_harness::{Error, Result, envoy, wait};
use serde_json::Value;

use super::stack::Stack;

const CLIENTS: u32 = 4;
/// The pause between two requests of a client.
const PACE: Duration = Duration::from_millis(50);
/// The maximum duration of a request through four proxies and services, in any state of the exporter.
pub(super) const MAX_DURATION: Duration = Duration::from_millis(1500);
/// The same while Envoy connects to a service that is down (`connect_timeout` in mesh.yaml).
pub(super) const MAX_DURATION_WITH_CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// The requests that were sent.
#[derive(Default)]
pub(super) struct Load {
    /// The trace ids of the requests, and the number of spans of each.
    traces: Vec<(String, usize)>,
    slowest: Duration,
    /// Responses without data of the backend.
    pub(super) incomplete: usize,
}

/// Sends requests while `meanwhile` runs, and for half a second before and after. `series` separates the trace ids of
/// several loads.
pub(super) fn during(
    stack: &Stack,
    series: u32,
    meanwhile: impl FnOnce() -> Result<()> + Send,
) -> Result<Load> {
    let entrance = stack.entrance();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (entrance, stop) = (&entrance, &stop);
                scope.spawn(move || send(entrance, (series << 8) | client, stop))
            })
            .collect();
        let pause = || std::thread::sleep(Duration::from_millis(500));
        pause();
        let done = meanwhile();
        pause();
        stop.store(true, Ordering::Relaxed);
        let mut load = Load::default();
        for client in clients {
            let of_client = client.join().map_err(|_| Error::new("the load panicked"))??;
            load.traces.extend(of_client.traces);
            load.slowest = load.slowest.max(of_client.slowest);
            load.incomplete += of_client.incomplete;
        }
        done.map(|()| load)
    })
}

fn send(entrance: &str, series: u32, stop: &AtomicBool) -> Result<Load> {
    let client = envoy::client()?;
    let mut load = Load::default();
    while !stop.load(Ordering::Relaxed) {
        let number = load.traces.len() + 1;
        let trace = format!("{series:016x}{number:016x}");
        let start = Instant::now();
        let request = client.get(format!("{entrance}/orders/{number}"));
        let response = request.header("b3", format!("{trace}-00f067aa0ba902b7-1")).send();
        let response = response.map_err(Error::when("a request under load"))?;
        if response.status() != 200 {
            return Err(Error::new(format!("request {number} under load: status {}", response.status())));
        }
        let body: Value = response.json().map_err(Error::when("a response under load"))?;
        load.slowest = load.slowest.max(start.elapsed());
        load.incomplete += usize::from(body["left"].is_null());
        // The frontend asks for the price once it knows the stock.
        let calls = if body["cents"].is_null() { 1 } else { 2 };
        load.traces.push((trace, spans_with(calls)));
        std::thread::sleep(PACE);
    }
    Ok(load)
}

impl Load {
    /// Checks that no request took longer than `limit`, and waits until the store has every span of every request.
    pub(super) fn check_all_stored(&self, stack: &Stack, limit: Duration) -> Result<String> {
        if self.slowest > limit {
            return Err(Error::new(format!("a request took {:?}", self.slowest)));
        }
        let store = stack.store();
        let mut missing: Vec<&(String, usize)> = self.traces.iter().collect();
        let stored = wait::try_until("the spans of the load", || {
            let mut still = Vec::new();
            for expected in missing.drain(..) {
                let (id, spans) = expected;
                if store.trace(id)?.is_none_or(|trace| trace.spans.len() < *spans) {
                    still.push(expected);
                }
            }
            missing = still;
            Ok(missing.is_empty().then_some(()))
        });
        let stats = stack.admin().stats("logtracer_spans_(sent|dropped|retried)")?;
        if let Err(cause) = stored {
            return Err(Error::new(format!(
                "{cause}; {} of {} traces are incomplete; {stats:?}",
                missing.len(),
                self.traces.len()
            )));
        }
        if let Some((name, count)) =
            stats.iter().find(|(name, count)| name.contains("dropped") && **count > 0)
        {
            return Err(Error::new(format!("{name} is {count}")));
        }
        Ok(format!(
            "{} requests, {} spans, slowest {} ms",
            self.traces.len(),
            self.traces.iter().map(|(_, spans)| spans).sum::<usize>(),
            self.slowest.as_millis()
        ))
    }
}
