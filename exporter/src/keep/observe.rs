//! The first look at a batch: what its spans add to the open traces.

use super::Decider;
use super::open_traces::OpenTrace;
use super::policy::{Matches, Policy, ResourceFacts, SpanFacts, TraceVerdict};
use super::trace_key::TraceKey;
use super::waiting::{Received, WaitingBatch};
use crate::metrics::ReasonLabel;
use crate::otlp::Signal;
use crate::otlp::in_place::for_each_item;
use crate::outbox::{Batch, Signals};

impl Decider {
    /// Observes the next batches. Returns whether there are no more.
    pub(super) fn observe(&mut self) -> anyhow::Result<bool> {
        let batches = self.log.read(self.observed, i64::MAX, Signals::TRACES)?;
        for batch in &batches {
            if batch.signal() == Signal::Traces {
                self.observe_batch(batch);
            }
            (self.observed, self.observed_ms) = (batch.id, batch.received_ms);
        }
        Ok(batches.is_empty())
    }

    fn observe_batch(&mut self, batch: &Batch) {
        let mut resource = CurrentResource::default();
        let mut waiting = WaitingBatch::new(Received::of(batch));
        let mut is_known = true;
        let mut run: Option<ObservedRun> = None;
        for_each_item(&batch.body, |of, span| {
            let facts = resource.get(&self.policy, of.number, of.bytes);
            let SpanFacts { frame, mut matches, route } = self.policy.span(facts, span);
            let Some(id) = trace_id(frame.trace_id) else {
                is_known = false;
                return;
            };
            let run = match &mut run {
                Some(run) if run.key.id == id => run,
                other => {
                    is_known &= other.take().is_none_or(|run| self.end_run(&run, &mut waiting));
                    other.insert(self.begin_run(id))
                }
            };
            run.spans = run.spans.saturating_add(1);
            let (start, end) = (frame.start_time_unix_nano, frame.end_time_unix_nano);
            if let Some(verdict) = run.verdict {
                if self.policy.is_missed(verdict, &OpenTrace::new(id, start, end, matches, batch.id)) {
                    self.count_not_considered("late", 1);
                }
                return;
            }
            let new_route = self.policy.new_route;
            if new_route != 0
                && let Some(route) = route
                && run.matches & new_route == 0
                && self.new_routes.is_new(&facts.service, route, batch.received_ms)
            {
                matches |= new_route;
            }
            run.add(&OpenTrace::new(id, start, end, matches, batch.id));
        });
        is_known &= run.is_none_or(|run| self.end_run(&run, &mut waiting));
        if is_known {
            self.waiting.push(waiting);
        }
    }

    fn begin_run(&self, id: u128) -> ObservedRun {
        let key = self.keys.of(id);
        let matches = self.open.matches(key);
        // An open trace has no verdict yet.
        let verdict = if matches.is_some() { None } else { self.recent.get(key) };
        ObservedRun { key, spans: 0, verdict, matches: matches.unwrap_or(0), trace: None }
    }

    /// Returns false if the trace is not known, because there are too many.
    fn end_run(&mut self, run: &ObservedRun, waiting: &mut WaitingBatch) -> bool {
        waiting.push((run.key.id, run.spans));
        let is_known = run.trace.is_none_or(|trace| self.open.add(&self.keys, run.key, &trace));
        if !is_known {
            self.count_not_considered("too many open traces", run.spans.into());
        }
        is_known
    }

    fn count_not_considered(&self, reason: &'static str, spans: u64) {
        self.metrics.spans_not_considered.get_or_create(&ReasonLabel { reason }).inc_by(spans);
    }
}

/// What was observed of spans of a trace that follow each other.
#[derive(Debug, Clone, Copy)]
struct ObservedRun {
    key: TraceKey,
    spans: u32,
    /// The verdict on the trace, for spans that come late.
    verdict: Option<TraceVerdict>,
    /// The rules that the trace matches so far.
    matches: Matches,
    /// The spans, if they have no verdict.
    trace: Option<OpenTrace>,
}

impl ObservedRun {
    fn add(&mut self, span: &OpenTrace) {
        self.matches |= span.matches;
        match &mut self.trace {
            Some(trace) => trace.add(span),
            None => self.trace = Some(*span),
        }
    }
}

/// The resource of the last span: the spans of a resource follow each other.
#[derive(Debug, Default)]
pub(super) struct CurrentResource {
    number: Option<usize>,
    facts: ResourceFacts,
}

impl CurrentResource {
    pub(super) fn get(&mut self, policy: &Policy, number: usize, bytes: &[u8]) -> &ResourceFacts {
        if self.number != Some(number) {
            self.facts = policy.resource(bytes);
            self.number = Some(number);
        }
        &self.facts
    }
}

pub(super) fn trace_id(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}
