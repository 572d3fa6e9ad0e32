//! How the cost of a request grows: with the connections and the workers in time, as shares of the OpenTelemetry tracer,
//! and with the request's headers in instructions.

use logtracer_harness::Result;
use logtracer_harness::shell::Shell;

use super::fleet::Fleet;
use super::instructions::{self, Instructions};
use super::time::{self, Cost};
use super::{Effort, Setup, Traffic, Work};
use crate::chart::{Chart, Curve, Distances};
use crate::h2load::Load;
use logtracer_tables::spread::Spread;

/// The set-ups that are drawn, with their colours.
const DRAWN: [(Setup, &str); 4] = [
    (Setup::OpenTelemetry, "#555555"),
    (Setup::Logtracer(Shell::Wasm, Work::Span), "#d55e00"),
    (Setup::Logtracer(Shell::Native, Work::Span), "#0072b2"),
    (Setup::JsonLog, "#009e73"),
];

const CONNECTIONS: [u16; 7] = [1, 2, 4, 8, 16, 32, 64];
const WORKERS: [u8; 4] = [1, 2, 3, 4];
const HEADERS: [usize; 3] = [10, 50, 100];

/// The instructions of every set-up with both loads of the tables, and the curves over the headers.
#[derive(Debug)]
pub struct Counted {
    /// Of the loads in [`Traffic::ALL`].
    pub counts: [Vec<Instructions>; 2],
    /// The curves.
    pub headers: Chart,
}

/// Draws the shares over the number of connections. Calls `progress` before each number.
pub fn connections(effort: &Effort, mut progress: impl FnMut(u16)) -> Result<Chart> {
    let mut fleet = Fleet::start(&drawn(), 1, effort)?;
    let mut costs = Vec::new();
    for connections in CONNECTIONS {
        progress(connections);
        costs.push(time::rounds(&mut fleet, Load::of(connections), effort, |_| ())?);
    }
    fleet.check()?;
    Ok(Chart {
        title: "CPU time by connections, one worker".into(),
        x: "connections, each with one request at a time",
        xs: CONNECTIONS.map(u64::from).to_vec(),
        distances: Distances::Equal,
        y: "share of OpenTelemetry’s cost over plain (median and quartiles)",
        curves: shares(&costs),
    })
}

/// Draws the shares over the number of workers. Calls `progress` before each number.
pub fn workers(effort: &Effort, mut progress: impl FnMut(u8)) -> Result<Chart> {
    let mut costs = Vec::new();
    for workers in WORKERS {
        progress(workers);
        let mut fleet = Fleet::start(&drawn(), workers, effort)?;
        let load = Load::of(u16::from(workers) * Traffic::Busy.connections());
        costs.push(time::rounds(&mut fleet, load, effort, |_| ())?);
        fleet.check()?;
    }
    Ok(Chart {
        title: "CPU time by workers, 16 connections for each".into(),
        x: "worker threads",
        xs: WORKERS.map(u64::from).to_vec(),
        distances: Distances::Linear,
        y: "share of OpenTelemetry’s cost over plain (median and quartiles)",
        curves: shares(&costs),
    })
}

/// Counts the instructions of every set-up, and draws those over the number of headers. Calls `progress` before each
/// set-up.
pub fn count(effort: &Effort, progress: impl Fn(Setup) + Sync) -> Result<Counted> {
    let is_drawn = |setup: &Setup| *setup == Setup::Plain || DRAWN.iter().any(|(drawn, _)| drawn == setup);
    let loads = |setup: Setup| {
        let more = HEADERS.iter().filter(|_| is_drawn(&setup));
        let more = more.map(|headers| Load { headers: *headers, ..Traffic::Busy.load() });
        Traffic::ALL.map(Traffic::load).into_iter().chain(more).collect()
    };
    let rows = instructions::count(effort, loads, progress)?;
    let column = |index: usize| rows.iter().filter_map(|(_, counts)| counts.get(index).copied()).collect();
    let of = |wanted: Setup| {
        let row = rows.iter().find(|(setup, _)| *setup == wanted);
        row.map(|(_, counts)| counts.get(Traffic::ALL.len()..).unwrap_or_default()).unwrap_or_default()
    };
    let curve = |&(setup, colour): &(Setup, &'static str)| {
        let over_plain = |(counts, plain): (&Instructions, &Instructions)| (counts.all - plain.all) / 1e3;
        let points = of(setup).iter().zip(of(Setup::Plain)).map(over_plain).map(Spread::exact).collect();
        Curve { name: name(setup), colour, points }
    };
    let headers = Chart {
        title: "Instructions by request headers, 16 connections".into(),
        x: "header lines of a request",
        xs: HEADERS.map(|headers| headers as u64).to_vec(),
        distances: Distances::Linear,
        y: "thousand instructions over plain, of a request",
        curves: DRAWN.iter().map(curve).collect(),
    };
    Ok(Counted { counts: [column(0), column(1)], headers })
}

/// Returns the set-ups that must run for the curves.
fn drawn() -> Vec<Setup> {
    [Setup::Plain].into_iter().chain(DRAWN.map(|(setup, _)| setup)).collect()
}

/// Returns the curves of the shares.
fn shares(costs: &[Vec<Cost>]) -> Vec<Curve> {
    let curve = |&(setup, colour): &(Setup, &'static str)| {
        let share = |costs: &Vec<Cost>| {
            let cost = costs.iter().find(|cost| cost.setup == setup);
            cost.map_or(Spread::exact(f64::NAN), |cost| cost.share)
        };
        Curve { name: name(setup), colour, points: costs.iter().map(share).collect() }
    };
    DRAWN.iter().map(curve).collect()
}

/// Returns the name beside a curve.
fn name(setup: Setup) -> String {
    match setup {
        Setup::OpenTelemetry => "OpenTelemetry, log".to_owned(),
        Setup::Logtracer(Shell::Wasm, _) => "logtracer, wasm".to_owned(),
        Setup::Logtracer(Shell::Native, _) => "logtracer, native".to_owned(),
        setup => setup.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_the_shares_of_its_set_up() {
        let cost = |setup, share| Cost { setup, micros: 1., over_plain: 1., share: Spread::exact(share) };
        let at =
            |native| vec![cost(Setup::Plain, 0.), cost(DRAWN[2].0, native), cost(Setup::OpenTelemetry, 1.)];
        let curves = shares(&[at(0.2), at(0.3)]);
        assert_eq!(curves.len(), DRAWN.len());
        assert_eq!(curves[2].name, "logtracer, native");
        assert_eq!(curves[2].points, [Spread::exact(0.2), Spread::exact(0.3)]);
        assert!(curves[3].points[0].median.is_nan(), "not measured");
    }
}
