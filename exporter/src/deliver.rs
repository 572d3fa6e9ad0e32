//! From the outbox to one sink: read, hand over, advance the cursor; wait and try again when the sink cannot.
//!
//! Invariant: a cursor advances only after the sink has accepted, or after it has refused; what it passed is counted
//! with that commit, as delivered or as dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::log::{self, Severity, Value};
use crate::metrics::{Metrics, OfSink, Tally};
use crate::outbox::{Batch, Feed, Items};
use crate::shutdown::Shutdown;
use crate::sink::{DeliveryError, Sink};

/// Delivers to one sink until the shutdown.
pub(crate) async fn run<S: Sink>(
    name: String,
    sink: S,
    feed: Feed,
    metrics: Arc<Metrics>,
    mut stop: Shutdown,
) {
    let mut delivery = Delivery { name, sink, feed, metrics, backoff: Backoff::default() };
    tokio::select! {
        () = stop.begun() => {}
        () = delivery.run() => {}
    }
}

struct Delivery<S> {
    name: String,
    sink: S,
    feed: Feed,
    metrics: Arc<Metrics>,
    backoff: Backoff,
}

impl<S: Sink> Delivery<S> {
    async fn run(&mut self) {
        loop {
            match self.feed.next().await {
                Ok(batches) => self.deliver(batches).await,
                Err(reason) => self.wait("cannot read the outbox", &reason, None).await,
            }
        }
    }

    /// Delivers all of these that the sink takes, and passes over the others.
    async fn deliver(&mut self, batches: Vec<Batch>) {
        let (taken, others): (Vec<_>, Vec<_>) =
            batches.into_iter().partition(|batch| self.feed.takes(batch.signal));
        self.deliver_taken(&taken).await;
        // Those before the last one that was taken, its cursor has passed.
        if let Some(last) = others.last()
            && taken.last().is_none_or(|taken| taken.id < last.id)
        {
            self.pass(std::slice::from_ref(last), &Tally::default()).await;
        }
    }

    /// What the sink refuses is halved until the culprit stands alone.
    async fn deliver_taken(&mut self, batches: &[Batch]) {
        let mut parts = VecDeque::from([batches]);
        while let Some(part) = parts.pop_front().filter(|part| !part.is_empty()) {
            match self.sink.deliver(part).await {
                Ok(()) => {
                    self.backoff.reset();
                    let tally = self.metrics.delivered(&self.name);
                    self.pass(part, &tally).await;
                }
                Err(DeliveryError::Retry { reason, after }) => {
                    self.wait("cannot deliver", &reason, after).await;
                    parts.push_front(part);
                }
                Err(DeliveryError::Refused { .. }) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push_front(second);
                    parts.push_front(first);
                }
                Err(DeliveryError::Refused { reason }) => {
                    self.tell_refused(part, &reason);
                    let tally = self.metrics.dropped(&self.name, "refused");
                    self.pass(part, &tally).await;
                }
            }
        }
    }

    async fn pass(&mut self, part: &[Batch], tally: &Tally) {
        while let Err(reason) = self.feed.pass(part, tally).await {
            self.wait("cannot note a delivery", &reason, None).await;
        }
    }

    async fn wait(&mut self, what: &'static str, reason: &str, at_least: Option<Duration>) {
        self.metrics.delivery_retries.get_or_create(&self.label()).inc();
        let pause = self.backoff.next(jitter()).max(at_least.unwrap_or_default());
        log::repeated(
            Severity::Warning,
            what,
            &[
                ("sink", Value::Str(&self.name)),
                ("error", Value::Str(reason)),
                ("retry_seconds", Value::F64(pause.as_secs_f64())),
            ],
        );
        tokio::time::sleep(pause).await;
    }

    fn tell_refused(&self, part: &[Batch], reason: &str) {
        let mut items = Items::default();
        part.iter().for_each(|batch| items.add(batch.signal, u64::from(batch.items)));
        log::repeated(
            Severity::Error,
            "spans refused",
            &[
                ("sink", Value::Str(&self.name)),
                ("error", Value::Str(reason)),
                ("spans", Value::U64(items.spans)),
                ("log_records", Value::U64(items.log_records)),
            ],
        );
    }

    fn label(&self) -> OfSink {
        OfSink { sink: self.name.clone() }
    }
}

/// Exponential pauses, each between half and all of its length.
#[derive(Debug, Default)]
struct Backoff {
    attempts: u32,
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

impl Backoff {
    /// `jitter` is a random number.
    fn next(&mut self, jitter: u64) -> Duration {
        let full = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        let part = (jitter % 1024) as f64 / 1024.;
        full.mul_f64(0.5 + part / 2.)
    }

    fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// Random enough that many exporters do not retry at the same moment.
fn jitter() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{self, Limits, Signal, Subscription};
    use crate::shutdown;
    use bytes::Bytes;
    use std::sync::Mutex;

    /// Refuses batch bodies that say so, and fails twice before anything works.
    struct Picky {
        failures: u32,
        got: Arc<Mutex<Vec<i64>>>,
    }

    impl Sink for Picky {
        async fn deliver(&mut self, batches: &[Batch]) -> Result<(), DeliveryError> {
            if self.failures > 0 {
                self.failures -= 1;
                return Err(DeliveryError::Retry { reason: "not yet".to_owned(), after: None });
            }
            if batches.iter().any(|batch| batch.body == "bad") {
                return Err(DeliveryError::Refused { reason: "bad".to_owned() });
            }
            self.got.lock().unwrap().extend(batches.iter().map(|batch| batch.id));
            Ok(())
        }
    }

    #[tokio::test]
    async fn retries_and_singles_out_what_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let limits = Limits { max_bytes: 1 << 20, max_age: Duration::from_secs(3600) };
        let subscription = Subscription { sink: "picky".to_owned(), takes_logs: false };
        let (outbox, _thread) = outbox::open(dir.path(), &[subscription], limits, metrics.clone()).unwrap();
        for body in ["one", "two", "bad", "four", "five"] {
            outbox.append(Signal::Traces, Bytes::from(body), 10).await.unwrap();
        }
        outbox.append(Signal::Logs, Bytes::from("passed over"), 10).await.unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let (trigger, stop) = shutdown::channel();
        let sink = Picky { failures: 2, got: got.clone() };
        let feed = outbox.feed(0).unwrap();
        let task = tokio::spawn(run("picky".to_owned(), sink, feed, metrics.clone(), stop));
        tokio::time::timeout(Duration::from_secs(20), outbox.drained()).await.unwrap();
        trigger.pull();
        task.await.unwrap();

        assert_eq!(*got.lock().unwrap(), [1, 2, 4, 5]);
        let (delivered, refused) = (metrics.delivered("picky"), metrics.dropped("picky", "refused"));
        assert_eq!((delivered.spans.get(), delivered.log_records.get()), (40, 0));
        assert_eq!((refused.spans.get(), refused.log_records.get()), (10, 0));
        assert_eq!(metrics.delivery_retries.get_or_create(&OfSink { sink: "picky".to_owned() }).get(), 2);
        assert_eq!(metrics.outbox_bytes.get(), 0, "what every sink has passed is deleted");
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..10).map(|_| backoff.next(1023).as_millis()).collect();
        assert_eq!(pauses, [199, 399, 799, 1599, 3198, 6396, 12793, 25587, 29985, 29985]);
        backoff.reset();
        assert_eq!(backoff.next(0), FIRST / 2);
    }
}
