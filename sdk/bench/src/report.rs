//! The tables of docs/capacity.md and docs/comparison.md.

use std::fmt::Write as _;

use clap::ValueEnum as _;
use logtracer_tables::figures::{thousands, verdict};
use logtracer_tables::spread::Spread;

use crate::case::Case;
use crate::rounds::Rounds;
use crate::stacks::Stack;

/// The crate whose time is 1.00.
const REFERENCE: &str = "json-subscriber";

/// The reference of what only a crate for traces does.
const OTHER_REFERENCE: &str = "OpenTelemetry";

/// The goals of the SDK.
const LINE_ALLOCATIONS: f64 = 0.;
const SHARE_OF_LINE_IN_SPAN: f64 = 0.35;
const REQUEST_MICROS: f64 = 1.;

/// One table for each case, with all crates that have an answer to it.
pub(crate) fn cases(all: &[Rounds]) -> String {
    let tables = Case::value_variants().iter().filter_map(|case| Some((case, case.title()?)));
    tables.map(|(case, title)| format!("{title}:\n\n{}", table(all, *case))).collect::<Vec<_>>().join("\n")
}

fn table(all: &[Rounds], case: Case) -> String {
    let reference = reference(all, case);
    let mut text = format!(
        "| | ns | quartiles | of {}'s time | quartiles | allocations | instructions | bytes of the line |\n\
         |---|---|---|---|---|---|---|---|\n",
        reference.map_or("", |one| one.stack.title())
    );
    for one in all.iter().filter(|one| one.cases().contains(&case)) {
        let Spread { low, median, high } = one.nanos(case);
        let shares = reference.map(|reference| one.share_of(reference, case));
        let (share, quartiles) = shares.map_or_else(Default::default, |share| {
            (format!("{:.2}", share.median), format!("{:.2}–{:.2}", share.low, share.high))
        });
        let instructions = one.instructions(case).map(thousands).unwrap_or_default();
        let bytes = if case.lines() > 0 { thousands(one.bytes(case)) } else { String::new() };
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {}–{} | {share} | {quartiles} | {} | {instructions} | {bytes} |",
            one.stack.title(),
            nanos(median),
            nanos(low),
            nanos(high),
            allocations(one, case),
        );
    }
    text
}

/// The figures of the SDK beside its goals.
pub(crate) fn goals(all: &[Rounds]) -> String {
    let mut text = String::from("| | goal | measured | |\n|---|---|---|---|\n");
    let Some(sdk) = all.iter().find(|one| one.stack == Stack::Logtracer) else { return text };
    let mut row = |what: &str, goal: String, measured: String, is_met: bool| {
        let _ = writeln!(text, "| {what} | {goal} | {measured} | {} |", verdict(is_met));
    };
    for case in [Case::Line, Case::LineInSpan] {
        let allocations = sdk.allocations(case);
        let what = format!("allocations of {}", lower(case));
        row(&what, LINE_ALLOCATIONS.to_string(), allocations.to_string(), allocations <= LINE_ALLOCATIONS);
    }
    let named = |name: &str| all.iter().find(|one| one.stack.title() == name);
    if let Some(reference) = named(REFERENCE) {
        let share = sdk.share_of(reference, Case::LineInSpan).median;
        let what = format!("{}, of {REFERENCE}'s time", lower(Case::LineInSpan));
        let goal = format!("{SHARE_OF_LINE_IN_SPAN:.2}");
        row(&what, goal, format!("{share:.2}"), share <= SHARE_OF_LINE_IN_SPAN);
    }
    let micros = sdk.nanos(Case::Request).median / 1000.;
    // A share depends less on the machine.
    let share = named(REFERENCE).map(|reference| sdk.share_of(reference, Case::Request).median);
    let share = share.map(|share| format!(", {share:.2} of {REFERENCE}'s time")).unwrap_or_default();
    let (goal, measured) = (format!("{REQUEST_MICROS:.2} µs"), format!("{micros:.2} µs{share}"));
    row(&lower(Case::Request), goal, measured, micros <= REQUEST_MICROS);
    text
}

/// The times and allocations of all crates, in one table.
pub(crate) fn comparison(all: &[Rounds]) -> String {
    let head: String = all.iter().map(|one| format!(" {} |", one.stack.title())).collect();
    let rule = "---|".repeat(all.len());
    let mut text = format!("| |{head}\n|---|{rule}\n");
    for case in [Case::Line, Case::LineInSpan, Case::Request, Case::Call, Case::CurrentIds] {
        let cell = |one: &Rounds| {
            if !one.cases().contains(&case) {
                return " |".to_owned();
            }
            format!(" {} ns, {} allocations |", nanos(one.nanos(case).median), allocations(one, case))
        };
        let cells: String = all.iter().map(cell).collect();
        let _ = writeln!(text, "| {} |{cells}", lower(case));
    }
    text
}

/// Returns the crate that the others are compared with, if there are others.
fn reference(all: &[Rounds], case: Case) -> Option<&Rounds> {
    let named = |name| all.iter().find(|one| one.stack.title() == name && one.cases().contains(&case));
    named(REFERENCE).or_else(|| named(OTHER_REFERENCE))
}

/// The title of a case within a sentence.
fn lower(case: Case) -> String {
    let title = case.title().unwrap_or_default();
    let mut chars = title.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// Formats the allocations of one run. A buffer that grows now and then adds less than a tenth.
fn allocations(one: &Rounds, case: Case) -> String {
    ((one.allocations(case) * 10.).round() / 10.).to_string()
}

/// Formats nanoseconds: with a decimal place if they are few.
fn nanos(number: f64) -> String {
    if number < 10. { format!("{number:.1}") } else { thousands(number) }
}
