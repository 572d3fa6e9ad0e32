//! The CPU time of Envoy for a request, as the kernel reports it.
//!
//! All Envoys run at once and get their load in turns, in many short rounds, so that other work of the machine affects
//! all alike. A share is calculated for each round.

use logtracer_harness::Result;

use super::fleet::Fleet;
use super::{Effort, Setup, Traffic, cpu};
use crate::h2load::Load;
use logtracer_tables::spread::Spread;

/// The cost of one set-up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// The set-up.
    pub setup: Setup,
    /// CPU time of a request in microseconds.
    pub micros: f64,
    /// The same without that of a plain Envoy.
    pub over_plain: f64,
    /// `over_plain` as a share of that of the OpenTelemetry tracer.
    pub share: Spread,
}

/// Measures every set-up with both loads. Calls `progress` before each round.
pub fn measure(effort: &Effort, mut progress: impl FnMut(Traffic, usize)) -> Result<[Vec<Cost>; 2]> {
    let mut fleet = Fleet::start(&Setup::ALL, 1, effort)?;
    let mut costs =
        |traffic: Traffic| rounds(&mut fleet, traffic.load(), effort, |round| progress(traffic, round));
    let costs = [costs(Traffic::Busy)?, costs(Traffic::Idle)?];
    fleet.check()?;
    Ok(costs)
}

/// Measures all Envoys of a fleet with a load.
pub(super) fn rounds(
    fleet: &mut Fleet,
    load: Load,
    effort: &Effort,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Cost>> {
    for member in &mut fleet.envoys {
        member.send(load, effort.requests)?; // connections, caches, compiled code
    }
    let mut rounds = Vec::new();
    for round in 0..effort.rounds {
        progress(round);
        let mut times = Vec::new();
        for member in &mut fleet.envoys {
            let before = cpu::nanos(member.envoy.id())?;
            member.send(load, effort.requests)?;
            let spent = cpu::nanos(member.envoy.id())?.saturating_sub(before);
            times.push((member.setup, spent as f64 / 1e3 / effort.requests as f64));
        }
        rounds.push(times);
    }
    Ok(costs(&rounds))
}

/// The microseconds of each set-up in one round.
type Round = Vec<(Setup, f64)>;

/// Returns the costs of each set-up.
fn costs(rounds: &[Round]) -> Vec<Cost> {
    let micros = |round: &Round, wanted: Setup| {
        round.iter().find(|(setup, _)| *setup == wanted).map_or(f64::NAN, |(_, micros)| *micros)
    };
    let over_plain = |round: &Round, setup: Setup| micros(round, setup) - micros(round, Setup::Plain);
    let share =
        |round: &Round, setup: Setup| over_plain(round, setup) / over_plain(round, Setup::OpenTelemetry);
    let cost = |setup: Setup| Cost {
        setup,
        micros: Spread::of(rounds.iter().map(|round| micros(round, setup))).median,
        over_plain: Spread::of(rounds.iter().map(|round| over_plain(round, setup))).median,
        share: Spread::of(rounds.iter().map(|round| share(round, setup))),
    };
    let setups = rounds.first().into_iter().flatten().map(|(setup, _)| *setup);
    setups.map(cost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_calculated_for_each_round() {
        let round = |plain, log, tracer| {
            vec![(Setup::Plain, plain), (Setup::JsonLog, log), (Setup::OpenTelemetry, tracer)]
        };
        // The machine is slower in the second round, and disturbed in the third.
        let costs = costs(&[round(10., 15., 30.), round(20., 30., 60.), round(10., 90., 30.)]);
        let [plain, log, tracer] = costs[..] else { panic!("{costs:?}") };
        assert_eq!((plain.micros, plain.over_plain, plain.share), (10., 0., Spread::exact(0.)));
        assert_eq!((log.micros, log.over_plain, log.share.low, log.share.median), (30., 10., 0.25, 0.25));
        assert_eq!((tracer.over_plain, tracer.share), (20., Spread::exact(1.)));
    }
}
