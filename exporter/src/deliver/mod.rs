//! The delivery from the outbox to one sink, with many calls at a time.
//!
//! ```text
//!  reader ──► queue (chunks fill) ──► calls ──► accepted ──► ledger ──► cursor
//!               ▲  ▲                   │ │                     ▲
//!               │  └── unavailable ◄───┘ └──► rejected         │
//!               │  (back-off, fewer calls)       │             │
//!               └──────── two halves ◄───────────┴──► a single item ──► dead letters
//! ```
//!
//! `call_result` decides what follows from the result of a call; `dead_letters/retry` queues dead letters again.
//! `calls` records what is under way, and `trial` finds the item that ends the process each time.
//!
//! Invariant: a cursor advances without a gap, and only over items that the sink has accepted, that are dead letters,
//! or that the sink does not take.
//! The commit that advances it also counts these items as delivered or dropped.
//! Invariant: the batches that are read and not yet acknowledged are bounded by the [`window`] (plus one read).

mod backoff;
mod call_result;
pub(crate) mod calls;
mod chunk;
pub(crate) mod dead_letters;
mod kept;
mod ledger;
mod queue;
mod sink;
mod slice;
mod trial;

#[cfg(test)]
mod tests;

pub(crate) use chunk::Chunk;
pub(crate) use sink::{
    Accepted, DeliveryError, Denied, DroppedItems, FailedItems, Pace, RejectedItems, Sink,
};
pub(crate) use slice::{Origin, Slice};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use logtracer_core::Backoff;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use crate::clock::unix_millis;
use crate::log::{self, Value};
use crate::metrics::Metrics;
use crate::outbox::{Batch, Cursor, Reader, Settled};
use crate::shutdown::Shutdown;
use backoff::{Throttle, backoff};
use calls::SinkCalls;
use dead_letters::DeadLetters;
use ledger::Ledger;
use queue::{Attempt, Queue};
use trial::Trials;

/// The number of unacknowledged batches at which the delivery stops reading.
const WINDOW_BATCHES: usize = 4096;

/// Returns the size of the unacknowledged batches, in bytes, at which the delivery to one of this many sinks stops
/// reading. All sinks share one total.
pub(crate) fn window(sinks: usize) -> usize {
    const TOTAL: usize = 12 << 20;
    (TOTAL / sinks.max(1)).clamp(2 << 20, TOTAL)
}

/// The interval at which the delivery looks for dead letters to retry (`dead_letters/retry.rs`).
const DEAD_LETTERS_INTERVAL: Duration = Duration::from_secs(2);

/// What the delivery to a sink needs besides the sink.
pub(crate) struct Source {
    /// The name of the sink.
    pub(crate) name: String,
    /// See [`window`].
    pub(crate) window: usize,
    pub(crate) reader: Reader,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) calls: SinkCalls,
    pub(crate) metrics: Arc<Metrics>,
}

/// Delivers to one sink until the shutdown.
pub(crate) async fn run<S: Sink>(sink: S, source: Source, mut stop: Shutdown) {
    let Source { name, window, reader, dead_letters, calls: sink_calls, metrics } = source;
    let cursor = reader.cursor();
    sink_calls.forget_until(cursor.position());
    // One read waits while the window is full.
    let (sender, batches) = mpsc::channel(1);
    let reading = read(name.clone(), reader, sender);
    let pace = sink.pace();
    metrics.set_last_delivery(&name, unix_millis());
    let mut delivery = Delivery {
        name,
        window,
        sink: Arc::new(sink),
        cursor,
        dead_letters,
        sink_calls,
        metrics,
        queue: Queue::new(pace),
        trials: Trials::new(pace),
        ledger: Ledger::default(),
        open_letters: HashMap::new(),
        settled_letters: Vec::new(),
        calls: JoinSet::new(),
        in_flight: HashMap::new(),
        backoff: backoff(),
        throttle: Throttle::new(pace.calls),
        paused_until: None,
        round: 0,
        accepted: 0,
        dead_letters_in_a_row: 0,
        accepts_spans: false,
        has_accepted_logs: false,
    };
    tokio::select! {
        () = stop.begun() => {}
        () = reading => {}
        () = delivery.run(batches) => {}
    }
}

/// Reads ahead of the delivery.
async fn read(sink: String, mut reader: Reader, sender: mpsc::Sender<Vec<Batch>>) {
    let mut backoff = backoff();
    loop {
        match reader.next().await {
            Ok(batches) => {
                backoff.reset();
                if sender.send(batches).await.is_err() {
                    return;
                }
            }
            Err(reason) => {
                warn(&sink, "failed to read the outbox", &reason);
                tokio::time::sleep(backoff.next(fastrand::u64(..))).await;
            }
        }
    }
}

/// Logs a problem after which the delivery continues.
fn warn(sink: &str, message: &'static str, error: &str) {
    log::warn(message, &[("sink", Value::Str(sink)), ("error", Value::Str(error))]);
}

struct Delivery<S> {
    name: String,
    window: usize,
    sink: Arc<S>,
    cursor: Cursor,
    dead_letters: DeadLetters,
    sink_calls: SinkCalls,
    metrics: Arc<Metrics>,
    queue: Queue,
    trials: Trials,
    ledger: Ledger,
    /// The dead letters that are being retried, each with the number of its items that are not settled yet.
    open_letters: HashMap<i64, u32>,
    /// The dead letters that are delivered or stored again, and have to be removed.
    settled_letters: Vec<i64>,
    calls: JoinSet<Result<Accepted, DeliveryError>>,
    /// The chunk of each call, and the round in which the call started.
    in_flight: HashMap<Id, (Attempt, u64)>,
    backoff: Backoff,
    throttle: Throttle,
    paused_until: Option<Instant>,
    /// Incremented by a failure. Later failures of calls from an earlier round belong to the same outage.
    round: u64,
    /// The number of accepted calls.
    accepted: u64,
    /// The number of chunks that became dead letters since the last accepted call.
    dead_letters_in_a_row: u32,
    /// The last call with spans was accepted.
    accepts_spans: bool,
    /// A call with log records was accepted.
    has_accepted_logs: bool,
}

impl<S: Sink> Delivery<S> {
    async fn run(&mut self, mut batches: mpsc::Receiver<Vec<Batch>>) {
        let mut letters = tokio::time::interval(DEAD_LETTERS_INTERVAL);
        letters.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.set_killers_apart().await;
            self.start_calls();
            let reads = self.ledger.bytes() < self.window && self.ledger.len() < WINDOW_BATCHES;
            let wake = self.next_wake();
            tokio::select! {
                Some(ended) = self.calls.join_next_with_id() => self.end_call(ended).await,
                Some(read) = batches.recv(), if reads => self.add(read),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                _ = letters.tick() => {
                    self.trials.retry_killers();
                    self.retry_dead_letters().await;
                }
            }
            self.advance_cursor().await;
        }
    }

    fn add(&mut self, batches: Vec<Batch>) {
        let now = Instant::now();
        for batch in batches {
            let wanted = if self.cursor.takes(batch.content) { batch.items } else { 0 };
            self.ledger.enter(&batch, wanted);
            if wanted > 0 {
                let kept = kept::kept(&batch);
                self.settle_not_kept(&batch, wanted - kept.items);
                if kept.items > 0 {
                    let slice = Slice::new(Origin::Batch(batch.id), kept.items, kept.body);
                    self.enqueue(batch.signal(), slice, now);
                }
            }
        }
    }

    /// Settles the items that tail sampling does not keep.
    fn settle_not_kept(&mut self, batch: &Batch, items: u32) {
        if items > 0 {
            let tally = self.metrics.not_kept(&self.name);
            self.ledger.settle(Settled { id: batch.id, signal: batch.signal(), items: items.into(), tally });
        }
    }

    fn start_calls(&mut self) {
        let now = Instant::now();
        if self.is_paused(now) {
            return;
        }
        if self.trials.are_open() {
            return self.start_trial();
        }
        while self.in_flight.len() < self.throttle.calls()
            && let Some(attempt) = self.queue.next(now)
        {
            if self.is_dropped(&attempt.chunk) {
                // The outbox has counted its items as dropped.
                self.settle(&attempt.chunk, 0);
                continue;
            }
            let (sink, chunk) = (self.sink.clone(), attempt.chunk.clone());
            let under_way = self.sink_calls.begin(&chunk);
            let call = self.calls.spawn(async move {
                let _under_way = under_way;
                sink.deliver(&chunk).await
            });
            self.in_flight.insert(call.id(), (attempt, self.round));
        }
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Returns true if the outbox has dropped the whole chunk while it waited.
    fn is_dropped(&self, chunk: &Chunk) -> bool {
        let position = self.cursor.position();
        chunk.slices().iter().all(|slice| matches!(slice.origin, Origin::Batch(id) if id <= position))
    }

    /// Returns the time of the next call if no call ends and nothing is read before.
    fn next_wake(&self) -> Option<Instant> {
        if self.in_flight.len() >= self.throttle.calls() {
            return None;
        }
        let next = if self.trials.are_open() {
            // A trial starts after the last call.
            self.in_flight.is_empty().then(Instant::now)?
        } else {
            self.queue.next_at()?
        };
        Some(self.paused_until.map_or(next, |until| next.max(until)))
    }

    async fn end_call(&mut self, ended: Result<(Id, Result<Accepted, DeliveryError>), JoinError>) {
        let (id, result) = ended.unwrap_or_else(|error| {
            let reason = format!("the sink panicked: {error}");
            (error.id(), Err(DeliveryError::Failed { reason, retry_after: None }))
        });
        if let Some((mut attempt, round)) = self.in_flight.remove(&id) {
            self.end_trial(&mut attempt);
            self.handle_result(attempt, round, result).await;
        }
    }

    /// Advances the cursor over all batches that are settled.
    async fn advance_cursor(&mut self) {
        while let Some((to, settled)) = self.ledger.take_settled() {
            // The outbox fails here, not the sink.
            let mut backoff = backoff();
            while let Err(reason) = self.cursor.advance(to, settled.clone()).await {
                warn(&self.name, "failed to commit delivery progress", &reason);
                tokio::time::sleep(backoff.next(fastrand::u64(..))).await;
            }
            self.sink_calls.forget_until(to);
            // A sink that works can have nothing to accept: other items, or none that its rules keep.
            if self.paused_until.is_none() && self.dead_letters_in_a_row == 0 {
                self.metrics.set_last_delivery(&self.name, unix_millis());
            }
        }
    }
}
