//! Tail sampling: which traces the sinks with rules get, decided when the spans are known.
//!
//! ```text
//!  outbox ──► observe: every batch ──► OpenTraces (at most 64 bytes a trace)
//!    │                                      │
//!    └──► decide: a batch after the wait ◄──┘ ──► verdicts in the outbox ──► deliver: what is kept
//!                       ▲  │
//!                       └──┴ Recent: the verdicts of the last hour
//! ```
//!
//! The decision on a trace falls when the first batch with one of its spans has waited for the decision wait.
//! It considers all spans that have arrived by then, and its verdict holds for an hour for those that come later.
//! For a sink with the rule `logs`, the log records of a trace count as its spans do, and follow its verdict.
//! No span is kept in memory: the batches are read twice.
//!
//! Invariant: a verdict is committed before a sink gets the spans, so it is the same after a crash
//! (`a_kill_changes_no_verdict`). Traces without a verdict are observed again.

mod new_routes;
mod open_traces;
mod policy;
mod recent;
mod rule;
mod trace_key;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use logtracer_core::Backoff;
use logtracer_core::line::Severity;
use tokio::time::sleep;

use crate::clock::{millis, unix_millis};
use crate::log::{self, Value};
use crate::metrics::{Metrics, ReasonLabel};
use crate::otlp::in_place::{RecordRef, SpanFrame, for_each_item};
use crate::otlp::{Signal, severity};
use crate::outbox::{Batch, DecisionLog, Decisions, Signals, Verdict, Verdicts};
use crate::shutdown::Shutdown;
use new_routes::NewRoutes;
use open_traces::{OpenTrace, OpenTraces};
pub(crate) use policy::SinkRules;
use policy::{Policy, ResourceFacts, SpanFacts, TraceVerdict};
use recent::Recent;
pub use rule::Rule;
use trace_key::{TraceKey, TraceKeys};

/// The maximum number of traces that are not decided yet: an index of 2^21 places has room for this many, and takes
/// 11 MiB.
const MAX_OPEN_TRACES: usize = 7 << 18;

/// The pause between two steps, so that several commits of the outbox are read together.
const PAUSE: Duration = Duration::from_millis(100);

/// The pauses after a failure of the outbox.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// The options of the decisions.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) sinks: Vec<SinkRules>,
    pub(crate) decision_wait: Duration,
    /// The maximum number of traces that the rules, other than `rate`, keep for a sink in a second.
    pub(crate) max_traces_per_second: Option<f64>,
}

/// Decides the traces in the outbox. There is one.
pub(crate) struct Decider {
    log: DecisionLog,
    policy: Policy,
    wait_ms: i64,
    metrics: Arc<Metrics>,
    keys: TraceKeys,
    open: OpenTraces,
    recent: Recent,
    new_routes: NewRoutes,
    /// The last batch whose spans are in `open`.
    observed: i64,
    /// When that batch was received.
    observed_ms: i64,
    /// The last batch with verdicts.
    decided: i64,
}

impl Decider {
    /// Reads what an earlier process has decided.
    ///
    /// # Errors
    ///
    /// Fails if there are too many rules, or if the outbox cannot be read.
    pub(crate) fn open(log: DecisionLog, options: Options, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let policy = Policy::new(options.sinks, options.max_traces_per_second, &metrics)?;
        if policy.slower_than().is_some_and(|limit| limit >= options.decision_wait) {
            log::warn(
                "slower-than is not shorter than --decision-wait: slow traces are decided before they end",
                &[],
            );
        }
        let mut decider = Self {
            log,
            policy,
            wait_ms: millis(options.decision_wait),
            metrics,
            keys: TraceKeys::default(),
            open: OpenTraces::new(MAX_OPEN_TRACES),
            recent: Recent::default(),
            new_routes: NewRoutes::default(),
            observed: 0,
            observed_ms: 0,
            decided: 0,
        };
        decider.follow_the_file()?;
        Ok(decider)
    }

    /// Decides until the shutdown.
    pub(crate) async fn run(self, mut stop: Shutdown) {
        tokio::select! {
            () = stop.begun() => {}
            () = self.decide_all() => {}
        }
    }

    async fn decide_all(mut self) {
        let mut backoff = Backoff::new(FIRST_BACKOFF, LONGEST_BACKOFF);
        loop {
            // The step reads the database, and can be long.
            let step = tokio::task::spawn_blocking(move || {
                let result = self.step();
                (self, result)
            });
            let (decider, result) = match step.await {
                Ok(done) => done,
                // The health of the exporter records it.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => return,
            };
            self = decider;
            if result.is_ok() {
                backoff.reset();
            }
            match result {
                Ok(Step::Decided(decisions)) => self.store(decisions, &mut backoff).await,
                Ok(Step::Observed) => {}
                Ok(Step::Waiting) => sleep(PAUSE).await,
                Ok(Step::Idle) => {
                    self.log.wait_after(self.observed).await;
                    sleep(PAUSE).await;
                }
                Err(error) => self.pause(&mut backoff, &error.to_string()).await,
            }
        }
    }

    /// Stores decisions, and tries until that succeeds: they are already held for later spans.
    async fn store(&mut self, decisions: Decisions, backoff: &mut Backoff) {
        let decisions = Arc::new(decisions);
        while let Err(reason) = self.log.store(decisions.clone()).await {
            self.pause(backoff, &reason).await;
        }
        backoff.reset();
        self.decided = decisions.until;
    }

    async fn pause(&self, backoff: &mut Backoff, reason: &str) {
        log::warn("failed to decide on traces", &[("error", Value::Str(reason))]);
        let pause = backoff.next(fastrand::u64(..));
        self.metrics.decision_delay.set(self.metrics.decision_delay.get() + pause.as_secs_f64());
        sleep(pause).await;
    }

    /// Follows the outbox if its file was replaced: verdicts can be lost with a damaged file.
    fn follow_the_file(&mut self) -> anyhow::Result<()> {
        let decided = self.log.decided();
        if decided == self.decided {
            return Ok(());
        }
        if decided > self.decided {
            let Self { log, policy, recent, keys, .. } = self;
            log.decided_traces(policy.hash(), |stored| recent.load(stored, |id| keys.of(id)))?;
        }
        self.decided = decided;
        self.observed = self.observed.max(decided);
        Ok(())
    }

    /// Observes new batches, and decides those that have waited.
    fn step(&mut self) -> anyhow::Result<Step> {
        self.follow_the_file()?;
        let has_observed_all = self.observe()?;
        let now_ms = unix_millis();
        let oldest_ms =
            if self.decided < self.observed { self.log.received_after(self.decided)? } else { None };
        let waited_ms = oldest_ms.map_or(0, |oldest| now_ms - oldest - self.wait_ms);
        self.metrics.decision_delay.set(waited_ms.max(0) as f64 / 1000.);
        self.metrics.open_traces.set(i64::try_from(self.open.len()).unwrap_or(i64::MAX));
        if !has_observed_all && oldest_ms.is_none() {
            return Ok(Step::Observed);
        }
        if oldest_ms.is_none() {
            // The outbox may have dropped batches before they were decided.
            self.open.forget_until(self.observed);
            return Ok(Step::Idle);
        }
        // The batches of this time have waited, and everything that came meanwhile is observed.
        let until_ms = if has_observed_all { now_ms } else { now_ms.min(self.observed_ms) } - self.wait_ms;
        // A clock that was set back far makes no batch wait for it.
        let due = self.log.last_received_until(self.decided, until_ms, now_ms + self.wait_ms)?;
        let Some(due) = due.map(|due| due.min(self.observed)).filter(|due| *due > self.decided) else {
            return Ok(if has_observed_all { Step::Waiting } else { Step::Observed });
        };
        let mut decisions =
            Decisions { until: self.decided, now_ms, policy: self.policy.hash(), ..Decisions::default() };
        let logs = self.policy.filtered_logs();
        for batch in self.log.read(self.decided, due, logs.or(Signals::TRACES))? {
            if batch.id > decisions.until + 1 {
                self.open.forget_until(batch.id - 1);
            }
            decisions.until = batch.id;
            match batch.signal() {
                Signal::Traces => self.decide(&batch, &mut decisions),
                Signal::Logs if logs.take(batch.content) => self.decide_logs(&batch, &mut decisions),
                Signal::Logs => {}
            }
        }
        decisions.forget_until = self.recent.forgotten_until();
        Ok(if decisions.until > self.decided { Step::Decided(decisions) } else { Step::Waiting })
    }

    /// Observes the next batches. Returns whether there are no more.
    fn observe(&mut self) -> anyhow::Result<bool> {
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
        // The spans of a trace often follow each other.
        let mut last: Option<(TraceKey, Option<TraceVerdict>)> = None;
        for_each_item(&batch.body, |of, span| {
            let facts = resource.get(&self.policy, of.number, of.bytes);
            let SpanFacts { frame, mut matches, route } = self.policy.span(facts, span);
            let Some(id) = trace_id(frame.trace_id) else { return };
            let (key, verdict) = match last {
                Some((key, verdict)) if key.id == id => (key, verdict),
                _ => {
                    let key = self.keys.of(id);
                    // An open trace has no verdict yet.
                    let verdict = if self.open.contains(key) { None } else { self.recent.get(key) };
                    (key, verdict)
                }
            };
            last = Some((key, verdict));
            let (start, end) = (frame.start_time_unix_nano, frame.end_time_unix_nano);
            if let Some(verdict) = verdict {
                if self.policy.is_missed(verdict, &OpenTrace::new(id, start, end, matches, batch.id)) {
                    self.count_not_considered("late");
                }
                return;
            }
            let new_route = self.policy.new_route;
            if new_route != 0
                && let Some(route) = route
                && self.open.matches(key).unwrap_or(0) & new_route == 0
                && self.new_routes.is_new(&facts.service, route, batch.received_ms)
            {
                matches |= new_route;
            }
            if !self.open.add(&self.keys, key, &OpenTrace::new(id, start, end, matches, batch.id)) {
                self.count_not_considered("too many open traces");
            }
        });
    }

    fn decide(&mut self, batch: &Batch, decisions: &mut Decisions) {
        let mut of_sinks: Vec<Verdicts> =
            self.policy.sinks.iter().map(|sink| Verdicts::new(sink.threshold())).collect();
        let mut resource = CurrentResource::default();
        // The spans of a trace often follow each other.
        let mut last: Option<(u128, TraceVerdict)> = None;
        let mut index = 0;
        for_each_item(&batch.body, |of, span| {
            let id = trace_id(SpanFrame::trace_id(span)).unwrap_or_default();
            let verdict = match last {
                Some((of_last, verdict)) if of_last == id => verdict,
                _ => {
                    let key = self.keys.of(id);
                    let known = self.recent.get(key);
                    known.unwrap_or_else(|| {
                        let trace = self.open.remove(key).unwrap_or_else(|| {
                            // The table was full, so this span decides for the whole trace.
                            let facts = resource.get(&self.policy, of.number, of.bytes);
                            let SpanFacts { frame, matches, .. } = self.policy.span(facts, span);
                            let (start, end) = (frame.start_time_unix_nano, frame.end_time_unix_nano);
                            OpenTrace::new(id, start, end, matches, batch.id)
                        });
                        self.decide_trace(key, &trace, batch, decisions)
                    })
                }
            };
            last = Some((id, verdict));
            for (number, verdicts) in of_sinks.iter_mut().enumerate() {
                verdicts.push(index, verdict.of(number));
            }
            index += 1;
        });
        for (sink, verdicts) in self.policy.sinks.iter().zip(of_sinks) {
            decisions.verdicts.push((batch.id, sink.index, verdicts));
        }
    }

    /// Decides the log records of a batch for the sinks with `logs` that take them. Errors and what belongs to no trace are kept.
    fn decide_logs(&mut self, batch: &Batch, decisions: &mut Decisions) {
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
            Some(trace) => self.decide_trace(key, &trace, batch, decisions),
            // Spans that come later have a verdict of their own.
            None => self.policy.decide_by_share(id),
        }
    }

    fn decide_trace(
        &mut self,
        key: TraceKey,
        trace: &OpenTrace,
        batch: &Batch,
        decisions: &mut Decisions,
    ) -> TraceVerdict {
        let received_nanos = batch.received_ms.unsigned_abs().saturating_mul(1_000_000);
        let verdict = self.policy.decide(trace, received_nanos);
        self.recent.add(key, verdict, batch.id, decisions.now_ms);
        recent::store(&mut decisions.traces, key.id, verdict);
        verdict
    }

    fn count_not_considered(&self, reason: &'static str) {
        self.metrics.spans_not_considered.get_or_create(&ReasonLabel { reason }).inc();
    }
}

/// What a step did.
enum Step {
    Decided(Decisions),
    /// There is more to observe.
    Observed,
    /// There are batches that have not waited yet.
    Waiting,
    /// There is no batch without verdicts.
    Idle,
}

/// The resource of the last span: the spans of a resource follow each other.
#[derive(Debug, Default)]
struct CurrentResource {
    number: Option<usize>,
    facts: ResourceFacts,
}

impl CurrentResource {
    fn get(&mut self, policy: &Policy, number: usize, bytes: &[u8]) -> &ResourceFacts {
        if self.number != Some(number) {
            self.facts = policy.resource(bytes);
            self.number = Some(number);
        }
        &self.facts
    }
}

fn is_error(record: &RecordRef<'_>) -> bool {
    severity::of(record.severity_number, record.severity_text) >= Severity::Error
}

fn trace_id(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}
