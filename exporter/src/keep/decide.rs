//! The decision on the batches that have waited, and the verdicts on their items.

use logtracer_core::line::Severity;

use super::open_traces::OpenTrace;
use super::policy::{Policy, TraceVerdict};
use super::rules::trace_id;
use super::trace_key::TraceKey;
use super::waiting::{Received, WaitingBatch};
use super::{Decider, recent};
use crate::otlp::in_place::{RecordRef, for_each_item};
use crate::otlp::{Signal, severity};
use crate::outbox::{Batch, Decisions, Observe, Signals, Verdict, Verdicts};

impl Decider {
    /// Decides the next batches until `due`. Returns false if there are none.
    pub(super) fn decide_next(&mut self, due: i64, decisions: &mut Decisions) -> anyhow::Result<bool> {
        let until = match self.waiting.discard_until(decisions.until).filter(|id| *id <= due) {
            Some(id) if id == decisions.until + 1 => {
                let batch = self.waiting.pop();
                if batch.is_some_and(|batch| self.decide_waiting(&batch, decisions)) {
                    return Ok(true);
                }
                id
            }
            Some(id) => id - 1,
            None => due,
        };
        let logs = self.policy.filtered_logs();
        let batches = self.log.read(decisions.until, until, logs.or(Signals::TRACES))?;
        if batches.is_empty() {
            // The outbox has dropped them, unless it recovers a damaged file.
            let are_dropped = until < due && until <= self.log.committed();
            if are_dropped {
                self.skip_until(until, decisions);
            }
            return Ok(are_dropped);
        }
        for batch in batches {
            self.skip_until(batch.id - 1, decisions);
            match batch.signal() {
                Signal::Traces => self.decide(&batch, decisions),
                Signal::Logs if logs.take(batch.content) => self.decide_logs(&batch, decisions),
                Signal::Logs => {}
            }
            decisions.until = batch.id;
        }
        Ok(true)
    }

    /// Skips batches that the outbox has dropped before they were decided.
    pub(super) fn skip_until(&mut self, batch: i64, decisions: &mut Decisions) {
        if batch > decisions.until {
            self.open.forget_until(batch);
            decisions.until = batch;
        }
    }

    /// Decides a batch by what was observed of it. Returns false if its spans are needed.
    fn decide_waiting(&mut self, batch: &WaitingBatch, decisions: &mut Decisions) -> bool {
        let mut verdicts = BatchVerdicts::new(&self.policy);
        for (id, spans) in batch.runs() {
            let key = self.keys.of(id);
            // An open trace has no verdict yet.
            let verdict = match self.open.remove(key) {
                Some(trace) => self.decide_trace(key, &trace, batch.batch, decisions),
                None => match self.recent.get(key) {
                    Some(verdict) => verdict,
                    None => return false,
                },
            };
            verdicts.push(verdict, spans);
        }
        verdicts.store(&self.policy, batch.batch.id, decisions);
        decisions.until = batch.batch.id;
        true
    }

    /// Decides a batch that was read again.
    fn decide(&mut self, batch: &Batch, decisions: &mut Decisions) {
        let mut verdicts = BatchVerdicts::new(&self.policy);
        for run in self.policy.rules.observe(&batch.body) {
            let key = self.keys.of(run.trace_id);
            let verdict = self.recent.get(key).unwrap_or_else(|| {
                // If the table was full, these spans decide for the whole trace.
                let trace = self.open.remove(key).unwrap_or_else(|| OpenTrace::of(&run, batch.id));
                self.decide_trace(key, &trace, Received::of(batch), decisions)
            });
            verdicts.push(verdict, run.spans);
        }
        verdicts.store(&self.policy, batch.id, decisions);
    }

    /// Decides the log records of a batch for the sinks with `logs` that take them. Errors and what belongs to no trace
    /// are kept.
    pub(super) fn decide_logs(&mut self, batch: &Batch, decisions: &mut Decisions) {
        let mut of_sinks: Vec<Verdicts> = self.policy.sinks.iter().map(|_| Verdicts::new(0)).collect();
        let mut index = 0;
        for_each_item(&batch.body, |_, record| {
            let record = RecordRef::new(record);
            let id = trace_id(record.trace_id).filter(|id| *id != 0 && !is_error(&record));
            let verdict = id.map(|id| self.verdict_on_logs(id, batch, decisions));
            for (number, verdicts) in of_sinks.iter_mut().enumerate() {
                let is_kept = verdict.is_none_or(|verdict| verdict.of(number) != Verdict::NotKept);
                verdicts.push(index, if is_kept { Verdict::Kept } else { Verdict::NotKept });
            }
            index += 1;
        });
        for (sink, verdicts) in self.policy.sinks.iter().zip(of_sinks) {
            if sink.filtered_logs.take(batch.content) {
                decisions.verdicts.push((batch.id, sink.index, verdicts));
            }
        }
    }

    /// Returns the verdict on a trace with a log record that has waited.
    fn verdict_on_logs(&mut self, id: u128, batch: &Batch, decisions: &mut Decisions) -> TraceVerdict {
        let key = self.keys.of(id);
        if let Some(verdict) = self.recent.get(key) {
            return verdict;
        }
        match self.open.remove(key) {
            Some(trace) => self.decide_trace(key, &trace, Received::of(batch), decisions),
            // Spans that come later have a verdict of their own.
            None => self.policy.decide_by_share(id),
        }
    }

    fn decide_trace(
        &mut self,
        key: TraceKey,
        trace: &OpenTrace,
        batch: Received,
        decisions: &mut Decisions,
    ) -> TraceVerdict {
        let received_nanos = batch.received_ms.unsigned_abs().saturating_mul(1_000_000);
        let verdict = self.policy.decide(trace, received_nanos);
        self.recent.add(key, verdict, batch.id, decisions.now_ms);
        recent::store(&mut decisions.traces, key.id, verdict);
        verdict
    }
}

/// The verdicts on the items of a batch, for each sink with rules.
struct BatchVerdicts {
    of_sinks: Vec<Verdicts>,
    items: usize,
}

impl BatchVerdicts {
    fn new(policy: &Policy) -> Self {
        Self { of_sinks: policy.sinks.iter().map(|sink| Verdicts::new(sink.threshold())).collect(), items: 0 }
    }

    /// Adds the verdict on the next items, which belong to one trace.
    fn push(&mut self, verdict: TraceVerdict, items: u32) {
        let end = self.items + items as usize;
        for (number, verdicts) in self.of_sinks.iter_mut().enumerate() {
            let of_sink = verdict.of(number);
            (self.items..end).for_each(|index| verdicts.push(index, of_sink));
        }
        self.items = end;
    }

    fn store(self, policy: &Policy, batch: i64, decisions: &mut Decisions) {
        for (sink, verdicts) in policy.sinks.iter().zip(self.of_sinks) {
            decisions.verdicts.push((batch, sink.index, verdicts));
        }
    }
}

fn is_error(record: &RecordRef<'_>) -> bool {
    severity::of(record.severity_number, record.severity_text) >= Severity::Error
}
