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
//! No span is kept in memory, only the ids of the traces of the batches that wait, up to a limit.
//! Batches beyond it are read twice.
//!
//! Invariant: a verdict is committed before a sink gets the spans, so it is the same after a crash
//! (`a_kill_changes_no_verdict`). Traces without a verdict are observed again.

mod new_routes;
mod open_traces;
mod policy;
mod recent;
mod rule;
mod trace_key;
mod waiting;

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
use policy::{Matches, Policy, ResourceFacts, SpanFacts, TraceVerdict};
use recent::Recent;
pub use rule::Rule;
use trace_key::{TraceKey, TraceKeys};
use waiting::{Received, WaitingBatch, WaitingBatches};

/// The maximum number of traces that are not decided yet: an index of 2^21 places has room for this many, and takes
/// 11 MiB.
const MAX_OPEN_TRACES: usize = 7 << 18;

/// The decisions of a step, in bytes. More traces are decided by the next step.
const MAX_STEP_BYTES: usize = 1 << 20;

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
    waiting: WaitingBatches,
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
            waiting: WaitingBatches::default(),
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
        let first = if self.decided < self.observed { self.log.first_after(self.decided)? } else { None };
        let oldest_ms = first.map(|(_, received_ms)| received_ms);
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
        if let Some((first, _)) = first {
            self.skip_until(first - 1, &mut decisions);
        }
        while decisions.until < due && decisions.traces.len() < MAX_STEP_BYTES {
            if !self.decide_next(due, &mut decisions)? {
                break;
            }
        }
        decisions.forget_until = self.recent.forgotten_until();
        Ok(if decisions.until > self.decided { Step::Decided(decisions) } else { Step::Waiting })
    }

    /// Decides the next batches until `due`. Returns false if there are none.
    fn decide_next(&mut self, due: i64, decisions: &mut Decisions) -> anyhow::Result<bool> {
        let until = match self.waiting.first_after(decisions.until).filter(|id| *id <= due) {
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
        let signals = if self.policy.filters_logs() { Signals::ALL } else { Signals::TRACES };
        let batches = self.log.read(decisions.until, until, signals)?;
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
                Signal::Logs if self.policy.filters_logs() => self.decide_logs(&batch, decisions),
                Signal::Logs => {}
            }
            decisions.until = batch.id;
        }
        Ok(true)
    }

    /// Skips batches that the outbox has dropped before they were decided.
    fn skip_until(&mut self, batch: i64, decisions: &mut Decisions) {
        if batch > decisions.until {
            self.open.forget_until(batch);
            decisions.until = batch;
        }
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
        let mut waiting = WaitingBatch::new(received(batch));
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

    fn decide(&mut self, batch: &Batch, decisions: &mut Decisions) {
        let mut verdicts = BatchVerdicts::new(&self.policy);
        let mut resource = CurrentResource::default();
        // The spans of a trace often follow each other.
        let mut last: Option<(u128, TraceVerdict)> = None;
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
                        self.decide_trace(key, &trace, received(batch), decisions)
                    })
                }
            };
            last = Some((id, verdict));
            verdicts.push(verdict, 1);
        });
        verdicts.store(&self.policy, batch.id, decisions);
    }

    /// Decides the log records of a batch for the sinks with `logs`. Errors and what belongs to no trace are kept.
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
        for (sink, verdicts) in self.policy.sinks.iter().zip(of_sinks).filter(|(sink, _)| sink.filters_logs) {
            decisions.verdicts.push((batch.id, sink.index, verdicts));
        }
    }

    /// Returns the verdict on a trace with a log record that has waited.
    fn verdict_on_logs(&mut self, id: u128, batch: &Batch, decisions: &mut Decisions) -> TraceVerdict {
        let key = self.keys.of(id);
        if let Some(verdict) = self.recent.get(key) {
            return verdict;
        }
        match self.open.remove(key) {
            Some(trace) => self.decide_trace(key, &trace, received(batch), decisions),
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

    fn count_not_considered(&self, reason: &'static str, spans: u64) {
        self.metrics.spans_not_considered.get_or_create(&ReasonLabel { reason }).inc_by(spans);
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

const fn received(batch: &Batch) -> Received {
    Received { id: batch.id, received_ms: batch.received_ms }
}

fn is_error(record: &RecordRef<'_>) -> bool {
    severity::of(record.severity_number, record.severity_text) >= Severity::Error
}

fn trace_id(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}
