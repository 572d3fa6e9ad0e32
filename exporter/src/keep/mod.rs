//! Tail sampling: which traces the sinks with rules get, decided when the spans are known.
//!
//! ```text
//!  outbox ──► observe: every batch ──► OpenTraces (40 bytes a trace)
//!    │                                      │
//!    └──► decide: a batch after the wait ◄──┘ ──► verdicts in the outbox ──► deliver: kept spans
//!                       ▲  │
//!                       └──┴ Recent: the verdicts of the last hour
//! ```
//!
//! The decision on a trace falls when the first batch with one of its spans has waited for the decision wait.
//! It considers all spans that have arrived by then, and holds for an hour for those that come later.
//! No span is kept in memory: the batches are read twice.
//!
//! Invariant: a verdict is committed before a sink gets the spans, so it is the same after a crash
//! (`a_kill_changes_no_verdict`). Traces without a verdict are observed again.

mod new_routes;
mod open_traces;
mod policy;
mod recent;
mod rule;


use std::sync::Arc;
use std::time::Duration;

use logtracer_core::Backoff;
use tokio::time::sleep;

use crate::clock::{millis, unix_millis};
use crate::log::{self, Value};
use crate::metrics::{Metrics, ReasonLabel};
use crate::otlp::Signal;
use crate::otlp::in_place::{SpanFrame, for_each_item};
use crate::outbox::{Batch, DecisionLog, Decisions, Verdicts};
use crate::shutdown::Shutdown;
use new_routes::NewRoutes;
use open_traces::{OpenTrace, OpenTraces};
use policy::{Policy, ResourceFacts};
pub(crate) use policy::SinkRules;
use recent::Recent;
pub use rule::Rule;

/// The maximum number of traces that are not decided yet. A span of a further trace is decided alone.
const MAX_OPEN_TRACES: usize = 2_000_000;

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
    pub(crate) fn open(mut log: DecisionLog, options: Options, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let policy = Policy::new(options.sinks, options.max_traces_per_second, &metrics)?;
        let recent = Recent::load(log.decided_traces(policy.hash())?);
        let decided = log.decided();
        Ok(Self {
            log,
            policy,
            wait_ms: millis(options.decision_wait),
            metrics,
            open: OpenTraces::new(MAX_OPEN_TRACES),
            recent,
            new_routes: NewRoutes::default(),
            observed: decided,
            observed_ms: 0,
            decided,
        })
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
            let Ok((decider, result)) = step.await else {
                // A panic has been logged, and the health of the task is watched.
                return;
            };
            self = decider;
            match result {
                Ok(Step::Decided(decisions)) => self.store(decisions, &mut backoff).await,
                Ok(Step::Observed) => {}
                Ok(Step::Idle) => self.rest().await,
                Err(error) => pause(&mut backoff, &error.to_string()).await,
            }
        }
    }

    /// Stores decisions, and tries until that succeeds: they are already held for later spans.
    async fn store(&mut self, decisions: Decisions, backoff: &mut Backoff) {
        let decisions = Arc::new(decisions);
        while let Err(reason) = self.log.store(decisions.clone()).await {
            pause(backoff, &reason).await;
        }
        backoff.reset();
        self.decided = decisions.until;
    }

    /// Waits until there may be something to observe or to decide.
    async fn rest(&self) {
        sleep(PAUSE).await;
        if self.decided >= self.log.committed() {
            self.log.wait_after(self.decided).await;
        }
    }

    /// Observes new batches, and decides those that have waited.
    fn step(&mut self) -> anyhow::Result<Step> {
        let has_observed_all = self.observe()?;
        let now_ms = unix_millis();
        let oldest_ms = if self.decided < self.observed { self.log.received_after(self.decided)? } else { None };
        let waited_ms = oldest_ms.map_or(0, |oldest| now_ms - oldest - self.wait_ms);
        self.metrics.decision_delay.set(waited_ms.max(0) as f64 / 1000.);
        self.metrics.open_traces.set(i64::try_from(self.open.len()).unwrap_or(i64::MAX));
        let undecided = if has_observed_all { Step::Idle } else { Step::Observed };
        if oldest_ms.is_none_or(|oldest_ms| !self.is_due(oldest_ms, now_ms, has_observed_all)) {
            return Ok(undecided);
        }
        let mut decisions = Decisions {
            until: self.decided,
            policy: self.policy.hash(),
            now_ms,
            forget_before_ms: now_ms - millis(recent::HELD),
            ..Decisions::default()
        };
        for batch in self.log.read(self.decided)? {
            let is_due = batch.id <= self.observed && self.is_due(batch.received_ms, now_ms, has_observed_all);
            if !is_due {
                break;
            }
            decisions.until = batch.id;
            if batch.signal == Signal::Traces {
                self.decide(&batch, now_ms, &mut decisions);
            }
        }
        Ok(if decisions.until > self.decided { Step::Decided(decisions) } else { undecided })
    }

    /// Returns whether a batch has waited, and all batches that came meanwhile are observed.
    fn is_due(&self, received_ms: i64, now_ms: i64, has_observed_all: bool) -> bool {
        // The clock may have been set back.
        let has_waited = !(0..self.wait_ms).contains(&(now_ms - received_ms));
        has_waited && (has_observed_all || self.observed_ms >= received_ms + self.wait_ms)
    }

    /// Observes the next batches. Returns whether there are no more.
    fn observe(&mut self) -> anyhow::Result<bool> {
        let batches = self.log.read(self.observed)?;
        let now_ms = unix_millis();
        for batch in &batches {
            if batch.signal == Signal::Traces {
                self.observe_batch(batch, now_ms);
            }
            (self.observed, self.observed_ms) = (batch.id, batch.received_ms);
        }
        Ok(batches.is_empty())
    }

    fn observe_batch(&mut self, batch: &Batch, now_ms: i64) {
        let mut resource = CurrentResource::default();
        for_each_item(&batch.body, |of, span| {
            let frame = SpanFrame::new(span);
            let Some(id) = trace_id(&frame) else { return };
            let facts = resource.get(&self.policy, of.number, of.bytes);
            let (mut matches, route) = self.policy.span(facts, span, frame.is_error);
            if let Some(verdict) = self.recent.get(id) {
                if self.policy.is_missed(verdict, matches) {
                    self.count_incomplete("late");
                }
                return;
            }
            let new_route = self.policy.new_route;
            if let Some(route) = route
                && new_route != 0
                && self.open.matches(id) & new_route == 0
                && self.new_routes.is_new(&facts.service, route, now_ms)
            {
                matches |= new_route;
            }
            let (start, end) = (frame.start_time_unix_nano, frame.end_time_unix_nano);
            if !self.open.add(&OpenTrace::new(id, start, end, matches)) {
                self.count_incomplete("too many open traces");
            }
        });
    }

    fn decide(&mut self, batch: &Batch, now_ms: i64, decisions: &mut Decisions) {
        let mut of_sinks: Vec<Verdicts> =
            self.policy.sinks.iter().map(|sink| Verdicts::new(sink.threshold())).collect();
        let mut resource = CurrentResource::default();
        for_each_item(&batch.body, |of, span| {
            let frame = SpanFrame::new(span);
            let id = trace_id(&frame).unwrap_or_default();
            let verdict = self.recent.get(id).unwrap_or_else(|| {
                let trace = self.open.remove(id).unwrap_or_else(|| {
                    // The trace is not in the table, because that was full.
                    let facts = resource.get(&self.policy, of.number, of.bytes);
                    let (matches, _) = self.policy.span(facts, span, frame.is_error);
                    OpenTrace::new(id, frame.start_time_unix_nano, frame.end_time_unix_nano, matches)
                });
                let now_nanos = now_ms.unsigned_abs().saturating_mul(1_000_000);
                let verdict = self.policy.decide(&trace, now_nanos);
                self.recent.add(id, verdict, now_ms);
                recent::store(&mut decisions.traces, id, verdict);
                verdict
            });
            for (number, verdicts) in of_sinks.iter_mut().enumerate() {
                verdicts.push(verdict.of(number));
            }
        });
        for (sink, verdicts) in self.policy.sinks.iter().zip(of_sinks) {
            decisions.verdicts.push((batch.id, sink.index, verdicts));
        }
    }

    fn count_incomplete(&self, reason: &'static str) {
        self.metrics.traces_incomplete.get_or_create(&ReasonLabel { reason }).inc();
    }
}

/// What a step did.
enum Step {
    Decided(Decisions),
    /// There is more to observe.
    Observed,
    Idle,
}

async fn pause(backoff: &mut Backoff, reason: &str) {
    log::warn("failed to decide on traces", &[("error", Value::Str(reason))]);
    sleep(backoff.next(fastrand::u64(..))).await;
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

fn trace_id(frame: &SpanFrame<'_>) -> Option<u128> {
    frame.trace_id.try_into().ok().map(u128::from_be_bytes)
}
