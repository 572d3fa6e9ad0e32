//! Runs each crate in a process of its own, again and again in turn, and collects what they measure.

use std::process::{Command, Output};

use clap::ValueEnum as _;
use logtracer_tables::spread::Spread;

use crate::case::Case;
use crate::measure::Sample;
use crate::stacks::Stack;

/// The samples of one crate: those of each round.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) stack: Stack,
    rounds: Vec<Vec<Sample>>,
    /// The instructions of one run of each case.
    instructions: Vec<(Case, f64)>,
}

/// Measures all crates in this many rounds, each time in another order. Calls `progress` before each round.
pub(crate) fn measure(rounds: usize, mut progress: impl FnMut(usize)) -> Result<Vec<Rounds>, String> {
    let of = |stack: &Stack| Rounds { stack: *stack, rounds: Vec::new(), instructions: Vec::new() };
    let mut all: Vec<Rounds> = Stack::value_variants().iter().map(of).collect();
    for round in 0..rounds {
        progress(round);
        let first = round % all.len();
        let (before, after) = all.split_at_mut(first);
        for one in after.iter_mut().chain(before) {
            one.rounds.push(samples(one.stack)?);
        }
    }
    Ok(all)
}

/// Counts the instructions of each case with callgrind, which takes long. Calls `progress` before each crate.
pub(crate) fn count_instructions(all: &mut [Rounds], mut progress: impl FnMut(Stack)) -> Result<(), String> {
    /// What a process does besides is the same in both.
    const FEW: u32 = 100;
    const MANY: u32 = 600;
    for one in all {
        progress(one.stack);
        for case in one.cases() {
            let instructions = |times| instructions_of_process(one.stack, case, times);
            let difference = instructions(MANY)? - instructions(FEW)?;
            one.instructions.push((case, difference / f64::from(MANY - FEW)));
        }
    }
    Ok(())
}

impl Rounds {
    /// The cases that the crate has an answer to.
    pub(crate) fn cases(&self) -> Vec<Case> {
        self.rounds
            .first()
            .map(|samples| samples.iter().map(|sample| sample.case).collect())
            .unwrap_or_default()
    }

    /// The time of a case over the rounds, without that of its base.
    pub(crate) fn nanos(&self, case: Case) -> Spread {
        Spread::of(self.in_each_round(case, |sample| sample.nanos))
    }

    /// The time of a case as a share of another crate's, over the rounds.
    pub(crate) fn share_of(&self, other: &Self, case: Case) -> Spread {
        let nanos = |one: &Self| one.in_each_round(case, |sample| sample.nanos);
        Spread::of(nanos(self).into_iter().zip(nanos(other)).map(|(own, others)| own / others))
    }

    /// The allocations of a case, without those of its base: the same in every round.
    pub(crate) fn allocations(&self, case: Case) -> f64 {
        Spread::of(self.in_each_round(case, |sample| sample.allocations)).median
    }

    /// The bytes of the line that a case writes.
    pub(crate) fn bytes(&self, case: Case) -> f64 {
        Spread::of(self.in_each_round(case, |sample| sample.bytes)).median
    }

    /// The instructions of a case, without those of its base, if they were counted.
    pub(crate) fn instructions(&self, case: Case) -> Option<f64> {
        let of = |case| self.instructions.iter().find(|(other, _)| *other == case).map(|(_, number)| *number);
        Some(of(case)? - case.base().map_or(Some(0.), of)?)
    }

    fn in_each_round(&self, case: Case, value: impl Fn(&Sample) -> f64) -> Vec<f64> {
        let of = |samples: &[Sample], case| samples.iter().find(|sample| sample.case == case).map(&value);
        let adds = |samples: &Vec<Sample>| {
            Some(of(samples, case)? - case.base().map_or(Some(0.), |base| of(samples, base))?)
        };
        self.rounds.iter().filter_map(adds).collect()
    }
}

fn samples(stack: Stack) -> Result<Vec<Sample>, String> {
    let program = std::env::current_exe().map_err(|error| format!("the path of this program: {error}"))?;
    let output = run(Command::new(program).args(["--measure", &stack.name()]))?;
    String::from_utf8_lossy(&output.stdout).lines().map(str::parse).collect()
}

fn instructions_of_process(stack: Stack, case: Case, times: u32) -> Result<f64, String> {
    let program = std::env::current_exe().map_err(|error| format!("the path of this program: {error}"))?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.args(["--measure", &stack.name(), "--case", &case.name(), "--times", &times.to_string()]);
    let output = run(&mut command)?;
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = report.lines().find_map(|line| line.split_once("Collected : "));
    let number = collected.and_then(|(_, number)| number.trim().parse().ok());
    number.ok_or_else(|| format!("callgrind reports no instructions: {report}"))
}

fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(nanos: &[(f64, f64)]) -> Rounds {
        let sample = |case, nanos| Sample { case, nanos, allocations: 2., bytes: 0. };
        let round = |&(bare, request): &(f64, f64)| {
            vec![sample(Case::BareService, bare), sample(Case::Request, request)]
        };
        let instructions = vec![(Case::BareService, 100.), (Case::Request, 350.)];
        Rounds { stack: Stack::Logtracer, rounds: nanos.iter().map(round).collect(), instructions }
    }

    #[test]
    fn the_base_is_subtracted_in_each_round() {
        let (one, other) = (rounds(&[(10., 30.), (20., 60.)]), rounds(&[(10., 50.), (20., 100.)]));
        assert_eq!(one.nanos(Case::Request), Spread { low: 20., median: 40., high: 40. });
        assert_eq!(one.share_of(&other, Case::Request), Spread::exact(0.5));
        assert_eq!((one.allocations(Case::Request), one.instructions(Case::Request)), (0., Some(250.)));
        assert!(one.nanos(Case::Line).median.is_nan());
        assert_eq!(one.instructions(Case::Line), None);
    }
}
