//! Trials: what was under way at two deaths of the process is delivered in small parts, one after the other.
//!
//! A trial that ends, with any result, acquits its batch. If the process dies during a trial, the next process tries
//! smaller parts, and stores a single item as a dead letter instead of trying it again.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use super::call_result::DEAD_LETTER_FAILED;
use super::calls::{Record, State, digest};
use super::chunk::single_items;
use super::queue::Attempt;
use super::{Chunk, Delivery, Origin, Pace, Sink, Slice, warn};
use crate::log::{self, Value};
use crate::otlp::Signal;
use crate::otlp::envelope::Part;

/// A suspect is tried in this many parts. Each death of the process costs far more than a call.
const PARTS: u32 = 64;

/// The reason of a dead letter, and of its items in the metrics.
const REASON: &str = "crash";
const REASON_OF_LETTER: &str = "the exporter died each time when it delivered this item";

/// The suspects of one sink.
#[derive(Debug)]
pub(super) struct Trials {
    pace: Pace,
    waiting: VecDeque<Attempt>,
    /// The number of parts of each suspect whose trial has not ended.
    open: HashMap<Origin, usize>,
    killers: Vec<Chunk>,
    /// The last try to store a killer failed.
    has_failed: bool,
}

/// The parts of a suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Innocent,
    /// Tried in parts of at most this many items.
    Trial(u32),
    Killer,
}

impl Trials {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, waiting: VecDeque::new(), open: HashMap::new(), killers: Vec::new(), has_failed: false }
    }

    /// Returns whether suspects wait or are being tried. Nothing else is delivered meanwhile.
    pub(super) fn are_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Stores the killers again that could not be stored.
    pub(super) fn retry_killers(&mut self) {
        self.has_failed = false;
    }
}

impl<S: Sink> Delivery<S> {
    /// Queues a batch or a dead letter: suspects for a trial, and everything else for a call.
    pub(super) fn enqueue(&mut self, signal: Signal, slice: Slice, now: Instant) {
        let records = self.sink_calls.suspicions(slice.origin);
        if records.is_empty() {
            return self.queue.add(signal, slice, now);
        }
        for (verdict, part) in parts(signal, &slice, &records, self.trials.pace) {
            match verdict {
                Verdict::Innocent => self.queue.add(signal, part, now),
                Verdict::Killer => self.trials.killers.push(Chunk::new(signal, part)),
                Verdict::Trial(_) => {
                    *self.trials.open.entry(part.origin).or_default() += 1;
                    let chunk = Chunk::new(signal, part);
                    self.trials.waiting.push_back(Attempt { is_trial: true, ..chunk.into() });
                }
            }
        }
    }

    /// Starts the next trial when no other call of this sink is under way.
    pub(super) fn start_trial(&mut self) {
        if !self.in_flight.is_empty() {
            return;
        }
        let Some(attempt) = self.trials.waiting.pop_front() else { return };
        let (sink, chunk, calls) = (self.sink.clone(), attempt.chunk.clone(), self.sink_calls.clone());
        let call = self.calls.spawn(async move {
            let _under_way = match chunk.slices() {
                [slice] => Some(calls.begin_trial(slice).await),
                _ => None,
            };
            sink.deliver(&chunk).await
        });
        self.in_flight.insert(call.id(), (attempt, self.round));
    }

    /// Acquits a suspect after its last trial. What failed is delivered again as everything else.
    pub(super) fn end_trial(&mut self, attempt: &mut Attempt) {
        if !std::mem::take(&mut attempt.is_trial) {
            return;
        }
        for slice in attempt.chunk.slices() {
            if let Some(open) = self.trials.open.get_mut(&slice.origin) {
                *open -= 1;
                if *open == 0 {
                    self.trials.open.remove(&slice.origin);
                    self.sink_calls.acquit(slice.origin);
                }
            }
        }
    }

    /// Stores the items that have ended the process as dead letters.
    pub(super) async fn set_killers_apart(&mut self) {
        while !self.trials.has_failed
            && let Some(chunk) = self.trials.killers.pop()
        {
            if let Err(error) = self.dead_letters.store(&self.name, &chunk, REASON_OF_LETTER).await {
                warn(&self.name, DEAD_LETTER_FAILED, &error);
                self.trials.has_failed = true;
                self.trials.killers.push(chunk);
                return;
            }
            let fields = [("sink", Value::Str(&self.name)), ("items", Value::U64(chunk.items().into()))];
            log::error(
                "crash: stored an item as a dead letter, because the exporter died at each delivery",
                &fields,
            );
            self.settle_with(&chunk, chunk.items(), REASON);
        }
    }
}

/// Divides a suspect into parts by these records.
fn parts(signal: Signal, slice: &Slice, records: &[Record], pace: Pace) -> Vec<(Verdict, Slice)> {
    let Some(items) = single_items(signal, slice) else {
        // It cannot be divided.
        let is_killer = records.iter().any(|record| is_killer(record, slice));
        return vec![(if is_killer { Verdict::Killer } else { Verdict::Trial(u32::MAX) }, slice.clone())];
    };
    let mut parts: Vec<(Verdict, Part)> = Vec::new();
    for item in items {
        let verdict = verdict(slice, &item, records);
        match parts.last_mut() {
            Some((last, part)) if *last == verdict && fits(verdict, part, &item, pace) => {
                part.items.end = item.items.end;
                part.bytes += item.bytes;
            }
            _ => parts.push((verdict, item)),
        }
    }
    parts.into_iter().map(|(verdict, part)| (verdict, slice.part(part))).collect()
}

fn verdict(slice: &Slice, item: &Part, records: &[Record]) -> Verdict {
    let is_about = |record: &&Record| record.items.is_empty() || record.items.contains(&item.items.start);
    let about = records.iter().filter(is_about);
    if about
        .clone()
        .any(|record| record.state == State::Killer && is_killer(record, &slice.part(item.clone())))
    {
        return Verdict::Killer;
    }
    let len = |record: &Record| if record.items.is_empty() { slice.items } else { record.items.len() as u32 };
    let smallest = about.filter(|record| record.state == State::Twice).map(len).min();
    smallest.map_or(Verdict::Innocent, |items| Verdict::Trial(items.div_ceil(PARTS)))
}

fn is_killer(record: &Record, slice: &Slice) -> bool {
    record.state == State::Killer && record.digest == digest(slice)
}

fn fits(verdict: Verdict, part: &Part, item: &Part, pace: Pace) -> bool {
    match verdict {
        // The queue splits it.
        Verdict::Innocent => true,
        Verdict::Killer => false,
        Verdict::Trial(max_items) => {
            let items = item.items.end - part.items.start;
            items <= max_items.min(pace.items) && part.bytes + item.bytes <= pace.bytes
        }
    }
}
