//! [`Policy`]: the rules of all sinks, and what they make of a span and of a trace.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use logtracer_core::TraceId;
use logtracer_core::sampling::{RateLimiter, Ratio};
use prometheus_client::metrics::counter::Counter;

use super::Rule;
use super::open_traces::OpenTrace;
use super::rules::{Matches, Rules, bit};
use crate::metrics::Metrics;
use crate::outbox::{Signals, Verdict};

/// The maximum number of sinks with rules: each takes two bits of [`TraceVerdict`].
pub(crate) const MAX_SINKS: usize = 16;
/// The maximum number of different rules: each takes a bit of [`Matches`].
pub(crate) const MAX_RULES: usize = 32;

/// A sink with rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SinkRules {
    /// The index of the sink in the list of subscriptions.
    pub(crate) index: usize,
    pub(crate) name: String,
    /// What the sink takes.
    pub(crate) signals: Signals,
    pub(crate) rules: Vec<Rule>,
}

/// The verdicts on a trace for each sink with rules, two bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TraceVerdict(pub(super) u32);

impl TraceVerdict {
    /// Returns the verdict for the sink with this index among those with rules.
    pub(super) fn of(self, sink: usize) -> Verdict {
        Verdict::from_bits((self.0 >> (2 * sink)) as u8)
    }

    fn set(&mut self, sink: usize, verdict: Verdict) {
        self.0 |= u32::from(verdict.to_bits()) << (2 * sink);
    }
}

/// The rules of all sinks, each with its bit in [`Matches`].
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) sinks: Vec<SinkPolicy>,
    /// The rules on single spans, which the outbox applies when a batch is appended.
    pub(super) rules: Arc<Rules>,
    /// A hash of the sinks and their rules.
    hash: u64,
}

/// The rules of one sink.
#[derive(Debug)]
pub(super) struct SinkPolicy {
    /// The index of the sink in the list of subscriptions.
    pub(super) index: usize,
    /// The contents whose log records follow the verdict on their trace.
    pub(super) filtered_logs: Signals,
    name: String,
    counters: Counters,
    /// Its rules on the content of spans.
    content: Matches,
    /// Its rule on the duration of the trace, and the bit of that rule.
    slower_than: Option<(Duration, Matches)>,
    /// The largest share.
    ratio: Option<Ratio>,
    limiter: Option<RateLimiter>,
}

/// The counters of the decisions for a sink.
#[derive(Debug)]
struct Counters {
    /// For each of its rules other than `rate`.
    kept: Vec<(Matches, Counter)>,
    /// If it has a share.
    kept_by_rate: Option<Counter>,
    no_rule: Counter,
    limit: Counter,
}

impl Counters {
    fn new(metrics: &Metrics, sink: &SinkRules, bit: impl Fn(&Rule) -> Matches) -> Self {
        let rules = sink.rules.iter().filter(|rule| !matches!(rule, Rule::Rate(_) | Rule::Logs));
        let has_rate = sink.rules.iter().any(|rule| matches!(rule, Rule::Rate(_)));
        Self {
            kept: rules.map(|rule| (bit(rule), metrics.traces_kept(&sink.name, &rule.to_string()))).collect(),
            kept_by_rate: has_rate.then(|| metrics.traces_kept(&sink.name, "rate")),
            no_rule: metrics.traces_not_kept(&sink.name, "no rule"),
            limit: metrics.traces_not_kept(&sink.name, "limit"),
        }
    }

    /// Counts a kept trace for the first rule that matches, or for `rate`.
    fn count_kept(&self, matches: Matches) {
        let of_rule = self.kept.iter().find(|(bit, _)| matches & bit != 0).map(|(_, counter)| counter);
        if let Some(counter) = of_rule.or(self.kept_by_rate.as_ref()) {
            counter.inc();
        }
    }
}

impl SinkPolicy {
    /// Returns the bit of `slower-than` for a slow trace, or none.
    fn slow(&self, duration_nanos: u64) -> Matches {
        match self.slower_than {
            Some((limit, bit)) if u128::from(duration_nanos) >= limit.as_nanos() => bit,
            _ => 0,
        }
    }

    /// Returns the rejection threshold of its share.
    pub(super) fn threshold(&self) -> u64 {
        self.ratio.map_or(0, Ratio::threshold)
    }
}

impl Policy {
    /// Checks the rules.
    pub(super) fn new(
        sinks: Vec<SinkRules>,
        max_traces_per_second: Option<f64>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(sinks.len() <= MAX_SINKS, "at most {MAX_SINKS} sinks can have rules");
        for sink in &sinks {
            anyhow::ensure!(
                sink.rules.iter().any(|rule| *rule != Rule::Logs),
                "the sink {} has only keep=logs; it also needs a rule on traces, for example keep=error",
                sink.name
            );
        }
        let mut rules: Vec<Rule> = Vec::new();
        for rule in sinks.iter().flat_map(|sink| &sink.rules).filter(|rule| **rule != Rule::Logs) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
        anyhow::ensure!(rules.len() <= MAX_RULES, "at most {MAX_RULES} different rules are possible");
        let bit = |rule: &Rule| bit(&rules, rule);
        let sinks = sinks.into_iter().map(|sink| {
            let content = sink
                .rules
                .iter()
                .filter(|rule| !matches!(rule, Rule::Rate(_) | Rule::SlowerThan(_) | Rule::Logs));
            let durations = sink.rules.iter().filter_map(|rule| match rule {
                Rule::SlowerThan(duration) => Some((*duration, bit(rule))),
                _ => None,
            });
            let ratios = sink.rules.iter().filter_map(|rule| match rule {
                Rule::Rate(ratio) => Some(*ratio),
                _ => None,
            });
            SinkPolicy {
                index: sink.index,
                filtered_logs: if sink.rules.contains(&Rule::Logs) {
                    sink.signals.and(Signals::LOGS)
                } else {
                    Signals::NONE
                },
                content: content.map(&bit).fold(0, |bits, bit| bits | bit),
                slower_than: durations.min(),
                ratio: ratios.max(),
                limiter: max_traces_per_second.map(RateLimiter::new),
                counters: Counters::new(metrics, &sink, bit),
                name: sink.name,
            }
        });
        let sinks: Vec<SinkPolicy> = sinks.collect();
        Ok(Self { rules: Arc::new(Rules::new(&rules)), hash: hash(&sinks, &rules), sinks })
    }

    /// Returns a hash of the sinks and their rules. Decisions of other rules are not used after a restart.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Decides a trace for all sinks, and counts the decision.
    pub(super) fn decide(&mut self, trace: &OpenTrace, now_nanos: u64) -> TraceVerdict {
        let mut verdict = TraceVerdict::default();
        let id = TraceId::new(trace.id);
        for (number, sink) in self.sinks.iter_mut().enumerate() {
            let matches = trace.matches & sink.content | sink.slow(trace.duration_nanos());
            let is_in_share = sink.ratio.is_some_and(|ratio| id.is_some_and(|id| ratio.keeps(id)));
            // The limit is for what the rules add to the share.
            let is_within_limit = matches == 0
                || is_in_share
                || sink.limiter.as_mut().is_none_or(|limiter| limiter.try_acquire(now_nanos));
            let of_sink = match (matches != 0, is_within_limit, is_in_share) {
                (true, true, _) if sink.limiter.is_none() => Verdict::Kept,
                (true, true, _) | (true, false, true) => Verdict::KeptWithinLimit,
                (false, _, true) => Verdict::KeptByShare,
                (_, _, false) => Verdict::NotKept,
            };
            let counters = &sink.counters;
            match of_sink {
                Verdict::NotKept if matches == 0 => {
                    counters.no_rule.inc();
                }
                Verdict::NotKept => {
                    counters.limit.inc();
                }
                _ => counters.count_kept(if is_within_limit { matches } else { 0 }),
            }
            verdict.set(number, of_sink);
        }
        verdict
    }

    /// Returns the verdict on the log records of a trace without spans: only its id counts.
    pub(super) fn decide_by_share(&self, id: u128) -> TraceVerdict {
        let mut verdict = TraceVerdict::default();
        let id = TraceId::new(id);
        for (number, sink) in self.sinks.iter().enumerate() {
            if sink.ratio.is_some_and(|ratio| id.is_some_and(|id| ratio.keeps(id))) {
                verdict.set(number, Verdict::KeptByShare);
            }
        }
        verdict
    }

    /// Returns the contents whose log records follow the verdict on their trace for some sink.
    pub(super) fn filtered_logs(&self) -> Signals {
        self.sinks.iter().map(|sink| sink.filtered_logs).fold(Signals::NONE, Signals::or)
    }

    /// Returns whether spans that came after their verdict match a rule of a sink that does not get them.
    pub(super) fn is_missed(&self, verdict: TraceVerdict, spans: &OpenTrace) -> bool {
        self.sinks.iter().enumerate().any(|(number, sink)| {
            verdict.of(number) == Verdict::NotKept
                && (sink.content & spans.matches != 0 || sink.slow(spans.duration_nanos()) != 0)
        })
    }

    /// Returns the longest duration that a sink waits for to count a trace as slow.
    pub(super) fn slower_than(&self) -> Option<Duration> {
        self.sinks.iter().filter_map(|sink| sink.slower_than.map(|(duration, _)| duration)).max()
    }
}

fn hash(sinks: &[SinkPolicy], rules: &[Rule]) -> u64 {
    // The hash is stored. If its algorithm changes, spans that come late after the update are decided anew.
    let mut hasher = DefaultHasher::new();
    for sink in sinks {
        sink.name.hash(&mut hasher);
        (sink.content, sink.slower_than, sink.ratio.map(Ratio::threshold)).hash(&mut hasher);
    }
    rules.iter().for_each(|rule| rule.to_string().hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &[&str], max_traces_per_second: Option<f64>) -> Policy {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let sink = SinkRules { index: 0, name: "fake".to_owned(), signals: Signals::ALL, rules };
        Policy::new(vec![sink], max_traces_per_second, &Metrics::new()).unwrap()
    }

    #[test]
    fn a_trace_is_kept_by_a_rule_or_by_its_share() {
        let verdict = |policy: &mut Policy, id, start, end, matches| {
            policy.decide(&OpenTrace::new(id, start, end, matches, 1), 0).of(0)
        };
        let mut all = policy(&["error", "slower-than=1us", "rate=0.5"], None);
        let (low, high) = (1, 1 << 55);
        assert_eq!(verdict(&mut all, low, 0, 999, 0), Verdict::NotKept);
        assert_eq!(verdict(&mut all, low, 0, 1000, 0), Verdict::Kept);
        assert_eq!(verdict(&mut all, low, 0, 0, 1), Verdict::Kept);
        assert_eq!(verdict(&mut all, high, 0, 0, 0), Verdict::KeptByShare);
        assert_eq!(verdict(&mut all, high, 0, 0, 1), Verdict::Kept, "the rule has a probability of 1");
        assert_eq!(all.sinks[0].threshold(), 1 << 55);

        let mut limited = policy(&["error", "rate=0.5"], Some(1.));
        let verdicts = [(low, 1), (low, 1), (high, 1), (low, 0), (high, 0)]
            .map(|(id, matches)| verdict(&mut limited, id, 0, 0, matches));
        use Verdict::{KeptByShare, KeptWithinLimit, NotKept};
        assert_eq!(verdicts, [KeptWithinLimit, NotKept, KeptWithinLimit, NotKept, KeptByShare]);
    }

    #[test]
    fn the_hash_changes_with_the_rules() {
        let of = |sinks: &[&[&str]]| {
            let sinks = (0..).zip(sinks).map(|(index, rules)| SinkRules {
                index,
                name: format!("sink {index}"),
                signals: Signals::ALL,
                rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
            });
            Policy::new(sinks.collect(), None, &Metrics::new()).unwrap().hash()
        };
        let sinks: [&[&[&str]]; 9] = [
            &[&["error"]],
            &[&["rate=0.5"]],
            &[&["rate=0.25"]],
            &[&["error", "rate=0.5"]],
            &[&["error", "rate=1"]],
            &[&["new-route"]],
            &[&["error", "rate=1"], &["error"]],
            &[&["error"], &["error", "rate=1"]],
            &[&["error", "rate=1"], &["error", "rate=1"]],
        ];
        let different: std::collections::HashSet<u64> = sinks.iter().map(|sinks| of(sinks)).collect();
        assert_eq!(different.len(), sinks.len());
        assert_eq!(policy(&["error"], None).hash(), policy(&["error"], Some(5.)).hash());
    }

    #[test]
    fn logs_alone_is_no_policy() {
        let sink = |rules: &[&str]| SinkRules {
            index: 0,
            name: "stdout".to_owned(),
            signals: Signals::ALL,
            rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
        };
        let error = Policy::new(vec![sink(&["logs"])], None, &Metrics::new()).unwrap_err().to_string();
        assert!(error.starts_with("the sink stdout has only keep=logs; it also needs a rule"), "{error}");
        let policy = Policy::new(vec![sink(&["error"]), sink(&["logs", "rate=0.5"])], None, &Metrics::new());
        let policy = policy.unwrap();
        let filtered = [0, 1].map(|number| policy.sinks[number].filtered_logs);
        assert_eq!(filtered, [Signals::NONE, Signals::LOGS]);
        let by_share = |id| [0, 1].map(|number| policy.decide_by_share(id).of(number));
        assert_eq!(by_share(1), [Verdict::NotKept, Verdict::NotKept]);
        assert_eq!(by_share(1 << 55), [Verdict::NotKept, Verdict::KeptByShare]);
    }

    #[test]
    fn a_sink_has_the_counters_of_its_own_rules() {
        let metrics = Metrics::new();
        let sinks = [("a", "error"), ("b", "rate=0.5"), ("c", "new-route")].map(|(name, rule)| SinkRules {
            index: 0,
            name: name.to_owned(),
            signals: Signals::ALL,
            rules: vec![rule.parse().unwrap()],
        });
        Policy::new(sinks.into(), None, &metrics).unwrap();
        let text = metrics.render();
        let mut series: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("logtracer_exporter_traces_kept_total"))
            .collect();
        series.sort_unstable();
        let of = |sink, rule| format!("{{sink=\"{sink}\",rule=\"{rule}\"}} 0");
        let expected = [("a", "error"), ("b", "rate"), ("c", "new-route")].map(|(sink, rule)| of(sink, rule));
        assert_eq!(series, expected);
    }
}
