//! From the outbox to one sink, many calls at a time.
//!
//! ```text
//!  feed ──► queue (parts fill) ──► calls ──► accepted ──► ledger ──► cursor
//!             ▲  ▲                   │ │                    ▲
//!             │  └── unavailable ◄───┘ └──► refused         │
//!             │      (pause, fewer calls)      │            │
//!             └──────── two halves ◄───────────┴─► a single item ──► dead letters
//! ```
//!
//! Invariant: a cursor advances only over what the sink has accepted or the dead letters hold, without a gap; what it
//! passes is counted with that commit, as delivered or as dropped.
//! Invariant: what has been read and is not passed yet is bounded by the [`window`] (and one read).

mod backoff;
mod chunk;
pub(crate) mod dead_letters;
mod ledger;
mod queue;
mod result;
mod sink;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

pub(crate) use chunk::{Chunk, Origin, Slice};
pub(crate) use sink::{Accepted, DeliveryError, Denied, Pace, RejectedItems, Sink, decode};

use crate::log::{self, Severity, Value};
use crate::metrics::Metrics;
use crate::outbox::{Batch, Cursor, Reader};
use crate::shutdown::Shutdown;
use backoff::{Backoff, Throttle, jitter};
use dead_letters::DeadLetters;
use ledger::Ledger;
use queue::{Attempt, Queue};

/// Nothing more is read while there are so many batches that are not passed yet.
const WINDOW_BATCHES: usize = 4096;

/// Nothing more is read for a sink while the bodies that it has not passed yet take so many bytes, where there are so
/// many sinks: they share what there is.
pub(crate) fn window(sinks: usize) -> usize {
    const ALL: usize = 12 << 20;
    (ALL / sinks.max(1)).clamp(2 << 20, 12 << 20)
}

/// How often the dead letters are looked at.
const LETTERS_EVERY: Duration = Duration::from_secs(2);

/// What a sink's delivery needs beside the sink.
pub(crate) struct Source {
    pub(crate) name: String,
    /// See [`window`].
    pub(crate) window: usize,
    pub(crate) reader: Reader,
    pub(crate) letters: DeadLetters,
    pub(crate) metrics: Arc<Metrics>,
}

/// Delivers to one sink until the shutdown.
pub(crate) async fn run<S: Sink>(sink: S, source: Source, mut stop: Shutdown) {
    let Source { name, window, reader, letters, metrics } = source;
    let cursor = reader.cursor();
    // One read waits while the window is full.
    let (sender, batches) = mpsc::channel(1);
    let reading = read(name.clone(), reader, sender);
    let pace = sink.pace();
    let mut delivery = Delivery {
        name,
        window,
        sink: Arc::new(sink),
        cursor,
        letters,
        metrics,
        queue: Queue::new(pace),
        ledger: Ledger::default(),
        letters_out: HashMap::new(),
        letters_settled: Vec::new(),
        calls: JoinSet::new(),
        out: HashMap::new(),
        backoff: Backoff::default(),
        throttle: Throttle::new(pace.calls),
        paused_until: None,
        round: 0,
        accepted: 0,
        refused_in_a_row: 0,
    };
    tokio::select! {
        () = stop.begun() => {}
        () = reading => {}
        () = delivery.run(batches) => {}
    }
}

/// Reads ahead.
async fn read(sink: String, mut reader: Reader, sender: mpsc::Sender<Vec<Batch>>) {
    let mut backoff = Backoff::default();
    loop {
        match reader.next().await {
            Ok(batches) => {
                backoff.reset();
                if sender.send(batches).await.is_err() {
                    return;
                }
            }
            Err(reason) => {
                tell(&sink, "cannot read the outbox", &reason);
                tokio::time::sleep(backoff.next(jitter())).await;
            }
        }
    }
}

/// Tells of something that comes right by itself, or with somebody's help.
fn tell(sink: &str, what: &'static str, reason: &str) {
    log::repeated(Severity::Warning, what, &[("sink", Value::Str(sink)), ("error", Value::Str(reason))]);
}

struct Delivery<S> {
    name: String,
    window: usize,
    sink: Arc<S>,
    cursor: Cursor,
    letters: DeadLetters,
    metrics: Arc<Metrics>,
    queue: Queue,
    ledger: Ledger,
    /// Dead letters that are being tried again, with the number of their items whose fate is not known yet.
    letters_out: HashMap<i64, u32>,
    /// Dead letters that have been delivered, or kept again, and are to be removed.
    letters_settled: Vec<i64>,
    calls: JoinSet<Result<Accepted, DeliveryError>>,
    /// What the calls carry, and the round in which they started.
    out: HashMap<Id, (Attempt, u64)>,
    backoff: Backoff,
    throttle: Throttle,
    paused_until: Option<Instant>,
    /// Ends with a failure: what had been started before it tells nothing new.
    round: u64,
    /// How many calls have been accepted.
    accepted: u64,
    /// How many parts were given up since a call was accepted.
    refused_in_a_row: u32,
}

impl<S: Sink> Delivery<S> {
    async fn run(&mut self, mut batches: mpsc::Receiver<Vec<Batch>>) {
        let mut letters = tokio::time::interval(LETTERS_EVERY);
        letters.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_calls();
            let has_room = self.ledger.bytes() < self.window && self.ledger.len() < WINDOW_BATCHES;
            let wake = self.wakes_at();
            tokio::select! {
                Some(ended) = self.calls.join_next_with_id() => self.ended(ended).await,
                Some(read) = batches.recv(), if has_room => self.add(read),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                _ = letters.tick() => self.take_letters().await,
            }
            self.pass().await;
        }
    }

    fn add(&mut self, batches: Vec<Batch>) {
        let now = Instant::now();
        for batch in batches {
            let wanted = if self.cursor.takes(batch.signal) { batch.items } else { 0 };
            self.ledger.enter(&batch, wanted);
            if wanted > 0 {
                let slice = Slice { origin: Origin::Batch(batch.id), items: batch.items, body: batch.body };
                self.queue.add(batch.signal, slice, now);
            }
        }
    }

    fn start_calls(&mut self) {
        let now = Instant::now();
        if self.is_paused(now) {
            return;
        }
        while self.out.len() < self.throttle.calls()
            && let Some(attempt) = self.queue.next(now)
        {
            if self.is_given_up(&attempt.chunk) {
                // The outbox has counted it.
                self.settle(&attempt.chunk, 0);
                continue;
            }
            let (sink, chunk) = (self.sink.clone(), attempt.chunk.clone());
            let call = self.calls.spawn(async move { sink.deliver(&chunk).await });
            self.out.insert(call.id(), (attempt, self.round));
        }
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Whether the outbox has given up all of this while it waited.
    fn is_given_up(&self, chunk: &Chunk) -> bool {
        let passed = self.cursor.position();
        chunk.slices().iter().all(|slice| matches!(slice.origin, Origin::Batch(id) if id <= passed))
    }

    /// When there is something to do although no call ends and nothing is read.
    fn wakes_at(&self) -> Option<Instant> {
        if self.out.len() >= self.throttle.calls() {
            return None;
        }
        let next = self.queue.next_at()?;
        Some(self.paused_until.map_or(next, |until| next.max(until)))
    }

    async fn ended(&mut self, ended: Result<(Id, Result<Accepted, DeliveryError>), JoinError>) {
        let (id, result) = ended.unwrap_or_else(|error| {
            let reason = format!("the sink broke down: {error}");
            (error.id(), Err(DeliveryError::Failed { reason, retry_after: None }))
        });
        if let Some((attempt, round)) = self.out.remove(&id) {
            self.judge(attempt, round, result).await;
        }
    }

    /// Lets the cursor follow what is settled.
    async fn pass(&mut self) {
        while let Some((to, passed)) = self.ledger.take_settled() {
            while let Err(reason) = self.cursor.advance(to, passed.clone()).await {
                tell(&self.name, "cannot note a delivery", &reason);
                tokio::time::sleep(self.backoff.next(jitter())).await;
            }
        }
    }

    /// Takes up the dead letters of which it has been asked that they are tried again.
    async fn take_letters(&mut self) {
        match self.letters.remove(&self.letters_settled).await {
            Ok(()) => self.letters_settled.clear(),
            // They would be delivered again.
            Err(error) => return tell(&self.name, "cannot remove what was a dead letter", &error),
        }
        if let Some(count) = self.letters.count(&self.name).await {
            self.metrics.set_dead_letters(&self.name, count);
        }
        if !self.letters_out.is_empty() || self.is_paused(Instant::now()) {
            return;
        }
        for letter in self.letters.asked(&self.name).await {
            self.letters_out.insert(letter.id, letter.items);
            let slice =
                Slice { origin: Origin::DeadLetter(letter.id), items: letter.items, body: letter.body };
            self.queue.add(letter.signal, slice, Instant::now());
        }
    }
}
