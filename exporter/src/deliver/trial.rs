//! Trials: what was under way at two deaths of the process is delivered in small parts, one after the other: a large number
//! of batches in groups, and a few in parts of each.
//!
//! A trial that ends, with any result, acquits its batches. If the process dies during a trial, the next process tries
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

/// With more suspects, whole batches are tried. A sink delivers nothing else during its trials, so there are not too many.
const MAX_DIVIDED: u64 = 4;

/// The reason of a dead letter, and of its items in the metrics.
const REASON: &str = "crash";
const REASON_OF_LETTER: &str = "the exporter died each time when it delivered this item";

/// The suspects of one sink.
#[derive(Debug)]
pub(super) struct Trials {
    pace: Pace,
    waiting: VecDeque<Attempt>,
    /// A group that may get more batches.
    filling: Option<Chunk>,
    /// The number of parts of each suspect whose trial has not ended.
    open: HashMap<Origin, usize>,
    killers: Vec<Chunk>,
    /// The last try to store a killer failed.
    has_failed: bool,
}

/// What is done with a part of a suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Innocent,
    /// Tried in parts of at most this many items.
    Trial(u32),
    Killer,
}

impl Trials {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            waiting: VecDeque::new(),
            filling: None,
            open: HashMap::new(),
            killers: Vec::new(),
            has_failed: false,
        }
    }

    fn add(&mut self, signal: Signal, part: Slice) {
        *self.open.entry(part.origin).or_default() += 1;
        self.waiting.push_back(trial(Chunk::new(signal, part)));
    }

    /// Adds a whole batch or dead letter to a group of this many.
    fn add_to_group(&mut self, signal: Signal, slice: Slice, size: u64) {
        *self.open.entry(slice.origin).or_default() += 1;
        let pace = self.pace;
        let fits = |chunk: &&mut Chunk| {
            chunk.signal() == signal
                && (chunk.slices().len() as u64) < size
                && chunk.items().saturating_add(slice.items) <= pace.items
                && chunk.bytes() + slice.bytes() <= pace.bytes
        };
        match self.filling.as_mut().filter(fits) {
            Some(chunk) => chunk.push(slice),
            None => {
                let full = self.filling.replace(Chunk::new(signal, slice));
                self.waiting.extend(full.map(trial));
            }
        }
    }

    fn next(&mut self) -> Option<Attempt> {
        self.waiting.pop_front().or_else(|| self.filling.take().map(trial))
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
        let pace = self.trials.pace;
        let fits = slice.items <= pace.items && slice.bytes() <= pace.bytes;
        if let Some(size) = group_size(&records).filter(|_| fits) {
            return self.trials.add_to_group(signal, slice, size);
        }
        for (treatment, part) in parts(signal, &slice, &records, pace) {
            match treatment {
                Treatment::Innocent => self.queue.add(signal, part, now),
                Treatment::Killer => self.trials.killers.push(Chunk::new(signal, part)),
                Treatment::Trial(_) => self.trials.add(signal, part),
            }
        }
    }

    /// Starts the next trial when no other call of this sink is under way.
    pub(super) fn start_trial(&mut self) {
        if !self.in_flight.is_empty() {
            return;
        }
        let mut next = self.trials.next();
        while let Some(dropped) = next.as_mut().filter(|attempt| self.is_dropped(&attempt.chunk)) {
            // As in a call: the outbox has counted its items as dropped.
            self.end_trial(dropped);
            self.settle(&dropped.chunk, 0);
            next = self.trials.next();
        }
        let Some(attempt) = next else { return };
        let (sink, chunk, calls) = (self.sink.clone(), attempt.chunk.clone(), self.sink_calls.clone());
        let call = self.calls.spawn(async move {
            let _under_way = calls.begin_trial(&chunk).await;
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

fn trial(chunk: Chunk) -> Attempt {
    Attempt { is_trial: true, ..chunk.into() }
}

/// Returns how many suspects are tried together, if nothing is known about the parts of this one and there are many.
fn group_size(records: &[Record]) -> Option<u64> {
    let is_whole = records.iter().all(|record| record.items.is_empty());
    let suspects = records.iter().map(Record::origins).min()?;
    (is_whole && suspects > MAX_DIVIDED).then(|| suspects.div_ceil(PARTS.into()))
}

/// Divides a suspect into parts by these records.
fn parts(signal: Signal, slice: &Slice, records: &[Record], pace: Pace) -> Vec<(Treatment, Slice)> {
    let Some(items) = single_items(signal, slice) else {
        // It cannot be divided.
        let is_killer = records.iter().any(|record| is_killer(record, slice));
        return vec![(if is_killer { Treatment::Killer } else { Treatment::Trial(u32::MAX) }, slice.clone())];
    };
    let mut parts: Vec<(Treatment, Part)> = Vec::new();
    for item in items {
        let treatment = treatment(slice, &item, records);
        match parts.last_mut() {
            Some((last, part)) if *last == treatment && fits(treatment, part, &item, pace) => {
                part.items.end = item.items.end;
                part.bytes += item.bytes;
            }
            _ => parts.push((treatment, item)),
        }
    }
    parts.into_iter().map(|(treatment, part)| (treatment, slice.part(part))).collect()
}

fn treatment(slice: &Slice, item: &Part, records: &[Record]) -> Treatment {
    let is_about = |record: &&Record| record.items.is_empty() || record.items.contains(&item.items.start);
    let about = records.iter().filter(is_about);
    if about
        .clone()
        .any(|record| record.state == State::Killer && is_killer(record, &slice.part(item.clone())))
    {
        return Treatment::Killer;
    }
    let len = |record: &Record| if record.items.is_empty() { slice.items } else { record.items.len() as u32 };
    let smallest = about.filter(|record| record.state == State::Twice).map(len).min();
    smallest.map_or(Treatment::Innocent, |items| Treatment::Trial(items.div_ceil(PARTS)))
}

fn is_killer(record: &Record, slice: &Slice) -> bool {
    record.state == State::Killer && record.digest == digest(slice)
}

fn fits(treatment: Treatment, part: &Part, item: &Part, pace: Pace) -> bool {
    match treatment {
        // The queue splits it.
        Treatment::Innocent => true,
        Treatment::Killer => false,
        Treatment::Trial(max_items) => {
            let items = item.items.end - part.items.start;
            items <= max_items.min(pace.items) && part.bytes + item.bytes <= pace.bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::chunk::tests::body;
    use super::*;

    const PACE: Pace = Pace { calls: 1, items: 1000, bytes: 1 << 20, linger: Duration::ZERO };

    #[test]
    fn a_suspect_is_divided_into_smaller_and_smaller_parts() {
        let names: Vec<String> = (0..200).map(|n| format!("span {n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let slice = Slice::new(Origin::Batch(1), 200, body(&names));
        let of_item = |n: u32| digest(&slice.part(Part { items: n..n + 1, bytes: 0 }));
        let divide = |records: &[Record]| {
            let mut kinds: Vec<(Treatment, u32, u32)> = Vec::new();
            for (treatment, part) in parts(Signal::Traces, &slice, records, PACE) {
                match kinds.last_mut() {
                    Some((last, count, items)) if *last == treatment => {
                        *count += 1;
                        *items += part.items;
                    }
                    _ => kinds.push((treatment, 1, part.items)),
                }
            }
            kinds
        };
        let whole = Record::of_batches(State::Twice, 1, 0..0, 0);
        let part = Record::of_batches(State::Twice, 1, 40..44, 0);
        let killer = Record::of_batches(State::Killer, 1, 41..42, of_item(41));
        assert_eq!(divide(std::slice::from_ref(&whole)), [(Treatment::Trial(4), 50, 200)]);
        let expected =
            [(Treatment::Trial(4), 10, 40), (Treatment::Trial(1), 4, 4), (Treatment::Trial(4), 39, 156)];
        assert_eq!(divide(&[whole.clone(), part.clone()]), expected);
        let expected = [
            (Treatment::Trial(4), 10, 40),
            (Treatment::Trial(1), 1, 1),
            (Treatment::Killer, 1, 1),
            (Treatment::Trial(1), 2, 2),
            (Treatment::Trial(4), 39, 156),
        ];
        assert_eq!(divide(&[whole, part, killer.clone()]), expected);
        let expected =
            [(Treatment::Innocent, 1, 41), (Treatment::Killer, 1, 1), (Treatment::Innocent, 1, 158)];
        assert_eq!(divide(&[killer]), expected);
        // The batch of another outbox has the same id.
        assert_eq!(
            divide(&[Record::of_batches(State::Killer, 1, 41..42, 7)]),
            [(Treatment::Innocent, 1, 200)]
        );
    }

    #[test]
    fn a_suspect_that_cannot_be_divided_is_tried_whole() {
        let slice = Slice::new(Origin::Batch(1), 3, bytes::Bytes::from_static(b"\xff"));
        let whole = Record::of_batches(State::Twice, 1, 0..0, 0);
        let killer = Record::of_batches(State::Killer, 1, 0..1, digest(&slice));
        for (records, treatment) in
            [(vec![whole.clone()], Treatment::Trial(u32::MAX)), (vec![whole, killer], Treatment::Killer)]
        {
            assert_eq!(parts(Signal::Traces, &slice, &records, PACE), [(treatment, slice.clone())]);
        }
    }

    #[test]
    fn many_suspects_are_tried_in_groups() {
        let of = |last, items| Record::of_batches(State::Twice, last, items, 0);
        for (records, size) in [
            (vec![of(4, 0..0)], None),
            (vec![of(5, 0..0)], Some(1)),
            (vec![of(4096, 0..0)], Some(64)),
            (vec![of(4096, 0..0), of(64, 0..0)], Some(1)),
            (vec![of(4096, 0..0), of(1, 0..100)], None),
        ] {
            assert_eq!(group_size(&records), size, "{records:?}");
        }
        let mut trials = Trials::new(PACE);
        for id in 1..=5 {
            let slice = Slice::new(Origin::Batch(id), 1, body(&["a"]));
            trials.add_to_group(Signal::Traces, slice, 2);
        }
        let sizes = std::iter::from_fn(|| trials.next()).map(|attempt| attempt.chunk.items());
        assert_eq!(sizes.collect::<Vec<_>>(), [2, 2, 1]);
        assert!(trials.are_open());
    }
}
