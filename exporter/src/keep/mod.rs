//! Tail sampling: which traces the sinks with rules get, decided when the spans are known.
//!
//! ```text
//!  append ──► Rules: the spans of a batch ──► observe ──► OpenTraces (at most 64 bytes a trace)
//!    ▼                                                      │
//!  outbox            decide: a batch after the wait ◄───────┘ ──► verdicts in the outbox ──► deliver: what is kept
//!                       ▲  │
//!                       └──┴ Recent: the verdicts of the last hour
//! ```
//!
//! A trace is decided when the first batch with one of its spans has waited for the decision wait.
//! It considers all spans that have arrived by then, and its verdict holds for an hour for those that come later.
//! For a sink with the rule `logs`, the log records of a trace count as its spans do, and follow its verdict.
//! No span is kept in memory, only the ids of the traces of the batches that wait, up to a limit. The batches beyond it,
//! and those of an earlier process, are read from the outbox.
//!
//! Invariant: a verdict is committed before a sink gets the spans, so it is the same after a crash
//! (`a_kill_changes_no_verdict`). Traces without a verdict are observed again.

mod decide;
mod new_routes;
mod observe;
mod open_traces;
mod policy;
mod recent;
mod rule;
mod rule_list;
mod rules;
mod trace_key;
mod waiting;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use logtracer_core::Backoff;
use tokio::time::sleep;

use crate::clock::{millis, unix_millis};
use crate::log::{self, Value};
use crate::metrics::Metrics;
use crate::outbox::{DecisionLog, Decisions, Outbox};
use crate::shutdown::Shutdown;
use new_routes::NewRoutes;
use open_traces::OpenTraces;
use policy::Policy;
pub(crate) use policy::SinkRules;
use recent::Recent;
pub use rule::Rule;
pub use rule_list::RuleList;
use trace_key::TraceKeys;
use waiting::WaitingBatches;

/// The maximum number of traces that are not decided yet: an index of 2^21 places has room for this many, and takes
/// 11 MiB.
const MAX_OPEN_TRACES: usize = 7 << 18;

/// The decisions of a step, in bytes. More traces are decided by the next step.
const MAX_STEP_BYTES: u64 = 1 << 20;

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
    opened: Instant,
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
    pub(crate) fn open(outbox: &Outbox, options: Options, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let policy = Policy::new(options.sinks, options.max_traces_per_second, &metrics)?;
        let log = outbox.decision_log(policy.rules.clone())?;
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
            opened: Instant::now(),
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
        // The senders of the rest of a trace could not reach an exporter that was down.
        if millis(self.opened.elapsed()) < self.wait_ms {
            return Ok(if has_observed_all { Step::Waiting } else { Step::Observed });
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
        while decisions.until < due && decisions.wal_bytes() < MAX_STEP_BYTES {
            if !self.decide_next(due, &mut decisions)? {
                break;
            }
        }
        decisions.forget_until = self.recent.forgotten_until();
        Ok(if decisions.until > self.decided { Step::Decided(decisions) } else { Step::Waiting })
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
