//! Requests at a steady pace, each in a trace of its own, and the spans of all of them.

use std::time::{Duration, Instant};

use super::stack::Stack;
use crate::demo::story::HOPS;
use crate::{Error, Result, envoy, wait};

/// Between two requests.
const PACE: Duration = Duration::from_millis(20);
/// What a request through four proxies and services takes at most, however bad the day of the exporter.
const PROMPT: Duration = Duration::from_millis(1500);

/// What was sent.
pub(super) struct Load {
    traces: Vec<String>,
    slowest: Duration,
}

/// Sends requests for as long as `meanwhile` takes, and half a second more on both sides. `series` keeps the ids of
/// several loads apart.
pub(super) fn during(
    stack: &Stack,
    series: u32,
    meanwhile: impl FnOnce() -> Result<()> + Send,
) -> Result<Load> {
    let entrance = stack.entrance();
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let sender = scope.spawn(move || {
            let client = envoy::client()?;
            let mut load = Load { traces: Vec::new(), slowest: Duration::ZERO };
            while stopped
                .recv_timeout(PACE)
                .is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                let number = load.traces.len() + 1;
                let trace = format!("{series:016x}{number:016x}");
                let start = Instant::now();
                let request = client.get(format!("{entrance}/orders/{number}"));
                let answer = request.header("b3", format!("{trace}-00f067aa0ba902b7-1")).send();
                let status = answer.map_err(Error::when("a request under load"))?.status();
                load.slowest = load.slowest.max(start.elapsed());
                if status != 200 {
                    return Err(Error::new(format!("request {number} under load was answered {status}")));
                }
                load.traces.push(trace);
            }
            Ok(load)
        });
        let pause = || std::thread::sleep(Duration::from_millis(500));
        pause();
        let done = meanwhile();
        pause();
        drop(stop);
        let load = sender.join().map_err(|_| Error::new("the load panicked"))??;
        done.map(|()| load)
    })
}

impl Load {
    /// That no request was kept waiting, and that the store gets every span of every request.
    pub(super) fn check_all_arrived(&self, stack: &Stack) -> Result<String> {
        if self.slowest > PROMPT {
            return Err(Error::new(format!("a request took {:?}", self.slowest)));
        }
        let store = stack.store();
        let mut missing: Vec<&String> = self.traces.iter().collect();
        let arrived = wait::try_until("the spans of the load", || {
            let mut still = Vec::new();
            for id in missing.drain(..) {
                if store.trace(id)?.is_none_or(|trace| trace.spans.len() < HOPS) {
                    still.push(id);
                }
            }
            missing = still;
            Ok(missing.is_empty().then_some(()))
        });
        let stats = stack.admin().stats("logtracer_spans_(sent|dropped|retried)")?;
        if let Err(cause) = arrived {
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
            self.traces.len() * HOPS,
            self.slowest.as_millis()
        ))
    }
}
