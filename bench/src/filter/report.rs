//! The tables of `docs/capacity.md`, in Markdown.

use std::fmt::Write;

use logtracer_harness::shell::Shell;

use super::instructions::Instructions;
use super::memory::Memory;
use super::time::Cost;
use super::{Setup, Work};
use logtracer_tables::figures::{thousands, verdict};

const WASM: Setup = Setup::Logtracer(Shell::Wasm, Work::Span);
const NATIVE: Setup = Setup::Logtracer(Shell::Native, Work::Span);

/// The goals for a busy Envoy, as shares of the OpenTelemetry tracer.
const GOALS: [(Setup, Measure, f64); 4] = [
    (WASM, Measure::Time, 0.40),
    (WASM, Measure::Instructions, 0.80),
    (NATIVE, Measure::Time, 0.20),
    (NATIVE, Measure::Instructions, 0.28),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Time,
    Instructions,
}

/// Returns the costs of all set-ups with one load.
pub fn costs(costs: &[Cost], counts: &[Instructions]) -> String {
    let mut table = table(&[
        "",
        "all",
        "over plain",
        "of OpenTelemetry's share",
        "quartiles",
        "instructions over plain",
        "of OpenTelemetry's share",
        "of these in the filter",
    ]);
    for Cost { setup, micros, over_plain, share } in costs {
        let instructions = counts.iter().find(|count| count.setup == *setup);
        let filter = instructions.map_or(f64::NAN, |count| count.filter);
        row(
            &mut table,
            &[
                setup.name().to_owned(),
                format!("{micros:.1}"),
                format!("{over_plain:.1}"),
                format!("{:.2}", share.median),
                format!("{:.2}–{:.2}", share.low, share.high),
                thousands(over_plain_of(counts, *setup)),
                format!("{:.2}", share_of(counts, *setup)),
                thousands(filter),
            ],
        );
    }
    table
}

/// Returns the goals beside what was measured of a busy Envoy.
pub fn goals(costs: &[Cost], counts: &[Instructions]) -> String {
    let measured = |setup: Setup, measure: Measure| match measure {
        Measure::Time => {
            costs.iter().find(|cost| cost.setup == setup).map_or(f64::NAN, |cost| cost.share.median)
        }
        Measure::Instructions => share_of(counts, setup),
    };
    let mut table = table(&["busy", "share by", "goal", "measured", "", "JSON access log alone"]);
    for (setup, measure, goal) in GOALS {
        let share = measured(setup, measure);
        let by = match measure {
            Measure::Time => "time",
            Measure::Instructions => "instructions",
        };
        row(
            &mut table,
            &[
                setup.name().to_owned(),
                by.to_owned(),
                format!("{goal:.2}"),
                format!("{share:.2}"),
                verdict(share <= goal).to_owned(),
                format!("{:.2}", measured(Setup::JsonLog, measure)),
            ],
        );
    }
    table
}

/// Returns the memory of all set-ups.
pub fn memory(memory: &[Memory]) -> String {
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let plain = memory.iter().find(|memory| memory.setup == Setup::Plain).map_or(0, |memory| memory.resident);
    let mut table = table(&["", "resident, MB", "over plain, MB"]);
    for Memory { setup, resident } in memory {
        let over_plain = mb(*resident) - mb(plain);
        row(
            &mut table,
            &[setup.name().to_owned(), format!("{:.0}", mb(*resident)), format!("{over_plain:.0}")],
        );
    }
    table
}

/// Returns the sizes of files.
pub fn files(files: &[(&str, u64)]) -> String {
    let mut table = table(&["file", "bytes"]);
    for (name, bytes) in files {
        row(&mut table, &[format!("`{name}`"), thousands(*bytes as f64)]);
    }
    table
}

fn over_plain_of(counts: &[Instructions], setup: Setup) -> f64 {
    let all =
        |setup: Setup| counts.iter().find(|count| count.setup == setup).map_or(f64::NAN, |count| count.all);
    all(setup) - all(Setup::Plain)
}

fn share_of(counts: &[Instructions], setup: Setup) -> f64 {
    over_plain_of(counts, setup) / over_plain_of(counts, Setup::OpenTelemetry)
}

fn table(head: &[&str]) -> String {
    let mut table = String::new();
    row(&mut table, &head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    let _ = writeln!(table, "{}|", "|---".repeat(head.len()));
    table
}

fn row(table: &mut String, cells: &[String]) {
    let cells: String = cells.iter().map(|cell| format!(" {cell} |").replace("  |", " |")).collect();
    let _ = writeln!(table, "|{cells}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use logtracer_tables::spread::Spread;

    #[test]
    fn costs_are_a_table_of_markdown() {
        let setups = [Setup::Plain, NATIVE, Setup::OpenTelemetry];
        let cost = |(setup, over, share): (Setup, f64, f64)| Cost {
            setup,
            micros: 35. + over,
            over_plain: over,
            share: Spread { low: share - 0.01, median: share, high: share + 0.02 },
        };
        let all = [160_000., 205_000., 320_000.];
        let of = |(setup, all): (&Setup, f64)| Instructions { setup: *setup, all, filter: all / 10. };
        let counts: Vec<_> = setups.iter().zip(all).map(of).collect();
        let measured =
            [cost((Setup::Plain, 0., 0.)), cost((NATIVE, 10., 0.18)), cost((Setup::OpenTelemetry, 55., 1.))];
        let text = costs(&measured, &counts);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "|---|---|---|---|---|---|---|---|");
        assert_eq!(
            lines[3],
            "| native: context, line, span | 45.0 | 10.0 | 0.18 | 0.17–0.20 | 45,000 | 0.28 | 20,500 |"
        );
        let goals = goals(&measured, &counts);
        assert!(
            goals.contains("| native: context, line, span | time | 0.20 | 0.18 | met | NaN |"),
            "{goals}"
        );
        assert!(goals.contains("| wasm: context, line, span | time | 0.40 | NaN | not met |"), "{goals}");
    }

    #[test]
    fn memory_is_in_megabytes() {
        let of = |(setup, resident)| Memory { setup, resident };
        let table = memory(&[(Setup::Plain, 66_000_000), (WASM, 108_400_000)].map(of));
        assert!(table.contains("| wasm: context, line, span | 108 | 42 |"), "{table}");
        assert_eq!(
            files(&[("plugin.wasm", 331_998)]),
            "| file | bytes |\n|---|---|\n| `plugin.wasm` | 331,998 |\n"
        );
    }
}
