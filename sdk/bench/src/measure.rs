//! [`Meter`]: measures the cases of one crate, in a process of its own.
//!
//! As in a service, the subscriber of the process is the global one, and no other crate has seen its events.

use std::fmt;
use std::str::FromStr;

use logtracer_allocations::{Cost, measure_batches};

use crate::case::Case;
use crate::sink;

/// What a process is started for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    /// Measures every case.
    Measure,
    /// Runs one case so often, and measures nothing; for valgrind.
    Repeat(Case, u32),
}

/// Runs the cases.
#[derive(Debug)]
pub(crate) struct Meter {
    task: Task,
    samples: Vec<Sample>,
}

/// The cost of one run of a case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub(crate) case: Case,
    pub(crate) nanos: f64,
    pub(crate) allocations: f64,
    /// The bytes of the line that the run writes.
    pub(crate) bytes: f64,
}

impl Meter {
    /// Some 20,000 runs: short enough that the crates alternate often.
    const BATCHES: u32 = 100;

    pub(crate) const fn new(task: Task) -> Self {
        Self { task, samples: Vec::new() }
    }

    /// Runs a case as the task says.
    pub(crate) fn run(&mut self, case: Case, mut work: impl FnMut()) {
        match self.task {
            Task::Repeat(only, times) if only == case => (0..times).for_each(|_| work()),
            Task::Repeat(..) => {}
            Task::Measure => {
                sink::take();
                work();
                let written = sink::take();
                assert_eq!(written.lines, case.lines(), "{case:?} writes another number of lines");
                let Cost { nanos, allocations } = measure_batches(Self::BATCHES, work);
                self.samples.push(Sample { case, nanos, allocations, bytes: written.bytes as f64 });
            }
        }
    }

    pub(crate) fn into_samples(self) -> Vec<Sample> {
        self.samples
    }
}

/// The form in which a process passes a sample to the one that started it.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, nanos, allocations, bytes } = self;
        write!(f, "{}\t{nanos}\t{allocations}\t{bytes}", case.name())
    }
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let unreadable = || format!("unreadable sample {line:?}");
        let fields: Vec<&str> = line.split('\t').collect();
        let [case, numbers @ ..] = &fields[..] else { return Err(unreadable()) };
        let numbers: Vec<f64> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
        match (Case::of_name(case), &numbers[..]) {
            (Some(case), &[nanos, allocations, bytes]) => Ok(Self { case, nanos, allocations, bytes }),
            _ => Err(unreadable()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_passed_on_as_it_is() {
        let sample = Sample { case: Case::HopW3c, nanos: 98.25, allocations: 0., bytes: 311. };
        assert_eq!(sample.to_string().parse(), Ok(sample));
        assert!("line\t1\t2".parse::<Sample>().is_err());
        assert!("rows\t1\t2\t3".parse::<Sample>().is_err());
    }
}
