//! [`Destination`]: the sinks of the command line, each with its rules and its signals.

use anyhow::bail;

use super::{Config, DECISION_WAIT, SinkPart, SinkSignal, SinkSpec, duration};
use crate::keep::{Rule, RuleList};
use crate::outbox::Signals;

/// A sink with the rules that apply to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) sink: SinkSpec,
    pub(crate) rules: Vec<Rule>,
    /// The rules are those of `--keep`.
    inherits_rules: bool,
    /// The signal of `signals=SIGNAL`.
    signal: Option<SinkSignal>,
}

impl Destination {
    fn set_signal(&mut self, signal: SinkSignal) -> anyhow::Result<()> {
        if self.signal.replace(signal).is_some() {
            bail!(
                "--sink {}: signals= is given twice; without it, the sink gets all that it takes",
                self.sink
            );
        }
        if self.signals().is_empty() {
            bail!("--sink {0},signals={signal}: {0} takes no {signal}", self.sink);
        }
        Ok(())
    }

    /// Returns what the sink gets.
    pub(crate) fn signals(&self) -> Signals {
        self.signal.map_or(self.sink.signals(), |signal| self.sink.signals().and(signal.signals()))
    }
}

impl Config {
    /// Returns the sinks with their rules.
    ///
    /// # Errors
    ///
    /// Fails if a sink is repeated, if a rule or a signal comes before all sinks, or if a sink cannot take its signal.
    pub(crate) fn destinations(&self) -> anyhow::Result<Vec<Destination>> {
        let mut destinations: Vec<Destination> = Vec::new();
        for part in &self.sinks {
            match part {
                SinkPart::Sink(sink) => {
                    // Two sinks with the same name would share a cursor.
                    if destinations.iter().any(|known| known.sink.to_string() == sink.to_string()) {
                        bail!("duplicate --sink {sink}");
                    }
                    destinations.push(Destination {
                        sink: sink.clone(),
                        rules: Vec::new(),
                        inherits_rules: false,
                        signal: None,
                    });
                }
                SinkPart::Keep(list) => match destinations.last_mut() {
                    Some(destination) => destination.rules.extend_from_slice(list.rules()),
                    None => bail!("--sink keep={list} needs a sink before it: --sink NAME,keep={list}"),
                },
                SinkPart::Signals(signal) => match destinations.last_mut() {
                    Some(destination) => destination.set_signal(*signal)?,
                    None => {
                        bail!("--sink signals={signal} needs a sink before it: --sink NAME,signals={signal}")
                    }
                },
            }
        }
        let keep: Vec<&Rule> = self.keep.iter().flat_map(RuleList::rules).collect();
        let has_logs = keep.contains(&&Rule::Logs);
        if has_logs && keep.iter().all(|rule| **rule == Rule::Logs) {
            bail!("--keep has only logs; it also needs a rule on traces, for example error");
        }
        for destination in destinations.iter().filter(|it| !it.rules.is_empty()) {
            let (sink, signals) = (&destination.sink, destination.signals());
            let has_logs = destination.rules.contains(&Rule::Logs);
            if !has_logs && !signals.traces {
                bail!(
                    "--sink {sink},keep=RULE: {sink} gets no spans; with keep=logs, rules hold for log records"
                );
            }
            if has_logs && !signals.has_logs() {
                bail!("--sink {sink},keep=logs: {sink} gets no log records");
            }
        }
        for destination in &mut destinations {
            let signals = destination.signals();
            let takes_logs = signals.has_logs();
            let is_ruled = signals.traces || takes_logs && has_logs;
            if destination.rules.is_empty() && destination.sink != SinkSpec::Store && is_ruled {
                let rules = keep.iter().filter(|rule| takes_logs || ***rule != Rule::Logs);
                destination.rules = rules.copied().cloned().collect();
                destination.inherits_rules = !keep.is_empty();
            }
        }
        if !keep.is_empty() && destinations.iter().all(|destination| destination.sink == SinkSpec::Store) {
            bail!("--keep is for sinks other than store; for the store, use --sink store,keep=RULE");
        }
        let has_rules = destinations.iter().any(|destination| !destination.rules.is_empty());
        if self.decision_wait >= self.outbox_max_age && has_rules {
            bail!("--decision-wait must be shorter than --outbox-max-age");
        }
        Ok(destinations)
    }

    /// Returns what is wrong with options that have no effect on these sinks.
    pub(crate) fn warnings(&self, destinations: &[Destination]) -> Vec<&'static str> {
        let is_keep_unused = !self.keep.is_empty() && !destinations.iter().any(|it| it.inherits_rules);
        let is_limit_unused =
            self.max_traces_per_second.is_some() && destinations.iter().all(|it| it.rules.is_empty());
        let is_wait_unused = Ok(self.decision_wait) != duration(DECISION_WAIT)
            && destinations.iter().all(|it| it.rules.is_empty());
        let warnings = [
            (is_wait_unused, "--decision-wait is for rules, and no sink has any: add --keep RULE"),
            (
                is_keep_unused,
                "--keep applies to no sink: each has rules of its own, or gets only log records (add logs)",
            ),
            (
                is_limit_unused,
                "--max-traces-per-second limits what rules keep, and no sink has rules: add --keep RULE",
            ),
        ];
        warnings.into_iter().filter_map(|(is_wrong, warning)| is_wrong.then_some(warning)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_belong_to_the_sink_before_them() {
        let config = |arguments: &[&str]| {
            let arguments = ["logtracer-exporter"].iter().chain(arguments);
            let parsed =
                <Config as clap::Parser>::try_parse_from(arguments).map_err(|error| error.to_string());
            parsed.and_then(|config| config.destinations().map_err(|error| error.to_string())).map(|all| {
                let shown = all.iter().map(|it| {
                    let rules: Vec<_> = it.rules.iter().map(Rule::to_string).collect();
                    let signal = it.signal.map(|signal| format!(" ({signal})")).unwrap_or_default();
                    format!("{}{signal}: {}", it.sink, rules.join(" "))
                });
                shown.collect::<Vec<_>>()
            })
        };
        for (arguments, expected) in [
            (&["--sink", "store"][..], &["store: "][..]),
            (&["--sink", "store,stdout", "--keep", "error"], &["store: ", "stdout: error"]),
            (
                &["--sink", "store,keep=rate=0.5", "--sink", "stdout", "--keep", "error,new-route"],
                &["store: rate=0.5", "stdout: error new-route"],
            ),
            (
                &["--sink", "stdout,keep=error,keep=slower-than=2s,cloud-trace", "--keep", "rate=0.1"],
                &["stdout: error slower-than=2s", "cloud-trace: rate=0.1"],
            ),
            (
                &[
                    "--sink",
                    "otlp=http://tempo:4318,signals=traces",
                    "--sink",
                    "otlp=http://loki:3100/otlp,signals=logs",
                ],
                &["otlp=http://tempo:4318 (traces): ", "otlp=http://loki:3100/otlp (logs): "],
            ),
            (
                &[
                    "--sink",
                    "stdout,signals=traces,keep=error,cloud-logging,cloud-trace",
                    "--keep",
                    "new-route",
                ],
                &["stdout (traces): error", "cloud-logging: ", "cloud-trace: new-route"],
            ),
        ] {
            assert_eq!(config(arguments).unwrap(), expected);
        }
        for (arguments, expected) in [
            (&["--sink", "keep=error"][..], "--sink keep=error needs a sink before it"),
            (&["--sink", "stdout,stdout"], "duplicate --sink stdout"),
            (
                &["--sink", "signals=logs"],
                "--sink signals=logs needs a sink before it: --sink NAME,signals=logs",
            ),
            (
                &["--sink", "stdout,signals=metrics"],
                "error: invalid value for '--sink <NAME>': unknown signal \"metrics\"; expected signals=traces or",
            ),
            (&["--sink", "stdout,signals=logs,signals=traces"], "--sink stdout: signals= is given twice"),
            (
                &["--sink", "cloud-trace,signals=logs"],
                "--sink cloud-trace,signals=logs: cloud-trace takes no logs",
            ),
            (
                &["--sink", "cloud-logging,signals=traces"],
                "--sink cloud-logging,signals=traces: cloud-logging takes no traces",
            ),
            (&["--sink", "stdout,signals=logs,keep=error"], "--sink stdout,keep=RULE: stdout gets no spans"),
            (
                &["--sink", "cloud-trace", "--keep", "logs"],
                "--keep has only logs; it also needs a rule on traces",
            ),
            (
                &["--sink", "cloud-trace,keep=error,keep=logs"],
                "--sink cloud-trace,keep=logs: cloud-trace gets no log",
            ),
            (
                &["--keep", "error"],
                "--keep is for sinks other than store; for the store, use --sink store,keep",
            ),
            (
                &["--sink", "stdout,keep=error", "--decision-wait", "24h"],
                "--decision-wait must be shorter than --outbox-max-age",
            ),
            (&["--sink", "stdout,keep=errors"], "error: invalid value for '--sink <NAME>': unknown rule"),
            (&["--keep", "errors"], "error: invalid value 'errors' for '--keep <RULE>': unknown rule"),
        ] {
            let error = config(arguments).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn options_without_effect_are_warned_about() {
        let warnings = |arguments: &[&str]| {
            let arguments = ["logtracer-exporter"].iter().chain(arguments);
            let config = <Config as clap::Parser>::try_parse_from(arguments).unwrap();
            config.warnings(&config.destinations().unwrap())
        };
        let (keep, limit) = ("--keep applies to no sink", "--max-traces-per-second limits what rules keep");
        for (arguments, expected) in [
            (&["--sink", "stdout,signals=logs", "--keep", "error"][..], &[keep][..]),
            (&["--sink", "cloud-logging", "--keep", "error"], &[keep]),
            (&["--sink", "stdout,keep=error", "--keep", "rate=0.5"], &[keep]),
            (&["--sink", "stdout", "--max-traces-per-second", "5"], &[limit]),
            (&["--sink", "stdout,signals=logs", "--keep", "error,logs"], &[]),
            (&["--sink", "stdout,keep=error,cloud-trace", "--keep", "rate=0.5"], &[]),
            (&["--sink", "stdout", "--keep", "error", "--max-traces-per-second", "5"], &[]),
            (&["--sink", "stdout,keep=error", "--max-traces-per-second", "5"], &[]),
            (&[], &[]),
        ] {
            let found = warnings(arguments);
            assert_eq!(found.len(), expected.len(), "{arguments:?}: {found:?}");
            assert!(found.iter().zip(expected).all(|(found, start)| found.starts_with(start)), "{found:?}");
        }
    }
}
