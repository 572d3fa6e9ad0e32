//! The first look at a batch: what its spans add to the open traces.

use super::Decider;
use super::open_traces::OpenTrace;
use super::waiting::{Received, WaitingBatch};
use crate::metrics::ReasonLabel;
use crate::outbox::{ObservedBatch, ObservedRun};

impl Decider {
    /// Observes the next batches. Returns whether there are no more.
    pub(super) fn observe(&mut self) -> anyhow::Result<bool> {
        let batches = self.log.observed_after(self.observed)?;
        let has_observed_all = batches.is_empty();
        for batch in batches {
            (self.observed, self.observed_ms) = (batch.id, batch.received_ms);
            if !batch.runs.is_empty() {
                self.observe_batch(&batch);
            }
        }
        Ok(has_observed_all)
    }

    fn observe_batch(&mut self, batch: &ObservedBatch) {
        let received = Received { id: batch.id, received_ms: batch.received_ms };
        let mut waiting = WaitingBatch::new(received);
        let mut is_known = true;
        for runs in batch.runs.chunk_by(|run, next| run.trace_id == next.trace_id) {
            let spans = runs.iter().fold(0_u32, |spans, run| spans.saturating_add(run.spans));
            is_known &= self.observe_trace(received, runs, spans);
            if let Some(run) = runs.first() {
                waiting.push((run.trace_id, spans));
            }
        }
        if is_known {
            self.waiting.push(waiting);
        }
    }

    /// Adds spans of one trace. Returns false if the trace is not known, because there are too many.
    fn observe_trace(&mut self, batch: Received, runs: &[ObservedRun], spans: u32) -> bool {
        let Some(first) = runs.first() else { return true };
        let key = self.keys.of(first.trace_id);
        // An open trace has no verdict yet.
        if !self.open.contains(key)
            && let Some(verdict) = self.recent.get(key)
        {
            let missed =
                runs.iter().filter(|run| self.policy.is_missed(verdict, &OpenTrace::of(run, batch.id)));
            let missed = missed.map(|run| u64::from(run.spans)).sum();
            self.count_not_considered("late", missed);
            return true;
        }
        let mut trace = OpenTrace::of(first, batch.id);
        for run in runs {
            trace.add(&OpenTrace::of(run, batch.id));
            // Each route of the trace counts, also if another one is new.
            if run.route != 0 && self.new_routes.register(run.route, run.trace_id, batch.received_ms) {
                trace.matches |= self.policy.rules.new_route;
            }
        }
        let is_known = self.open.add(&self.keys, key, &trace);
        if !is_known {
            self.count_not_considered("too many open traces", spans.into());
        }
        is_known
    }

    fn count_not_considered(&self, reason: &'static str, spans: u64) {
        if spans > 0 {
            self.metrics.spans_not_considered.get_or_create(&ReasonLabel { reason }).inc_by(spans);
        }
    }
}
