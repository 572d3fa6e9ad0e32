//! The table of the services.

use std::fmt::Write as _;

use logtracer_tables::figures::verdict;
use logtracer_tables::spread::Spread;

use crate::build::Build;
use crate::{Kind, Service};

/// The service whose time to compile is 1.00.
const REFERENCE: &str = "json-subscriber";

/// The service that has to have the fewest crates and the smallest binary of its kind.
const OWN: &str = "logtracer";

/// One row for each service, and the goals.
pub(crate) fn table(builds: &[(Service, Vec<Build>)]) -> String {
    let mut text = String::from(
        "| | crates | binary, MB | time to compile, of json-subscriber's | CPU time of it |\n|---|---|---|---|---|\n",
    );
    for (service, done) in builds {
        let Some(build) = done.first() else { continue };
        let share = |value: fn(&Build) -> f64| {
            let reference = builds.iter().find(|(service, _)| service.name == REFERENCE);
            let others = reference.map(|(_, others)| others.as_slice()).unwrap_or_default();
            Spread::of(done.iter().zip(others).map(|(own, other)| value(own) / value(other))).median
        };
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "| {} | {}{} | {:.2}{} | {:.2} | {:.2} |",
            service.title,
            build.crates,
            goal(builds, *service, |build| build.crates as u64),
            build.bytes as f64 / 1e6,
            goal(builds, *service, |build| build.bytes),
            share(|build| build.time.as_secs_f64()),
            share(|build| build.cpu.as_secs_f64()),
        );
    }
    text
}

/// Whether no other service that does the same has less; empty for those of others.
fn goal(builds: &[(Service, Vec<Build>)], service: Service, value: fn(&Build) -> u64) -> String {
    if !service.name.starts_with(OWN) || service.kind == Kind::Bare {
        return String::new();
    }
    let of = |wanted: &dyn Fn(Service) -> bool| {
        let alike = builds.iter().filter(|(other, _)| other.kind == service.kind && wanted(*other));
        alike.filter_map(|(_, done)| done.first().map(value)).min()
    };
    let (own, others) = (of(&|other| other == service), of(&|other| other != service));
    format!(" (goal: least), {}", verdict(own <= others))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::SERVICES;

    #[test]
    fn goals_are_judged_among_services_that_do_the_same() {
        let build = |crates, bytes, seconds| {
            let time = Duration::from_secs(seconds);
            vec![Build { crates, bytes, time, cpu: 2 * time }]
        };
        let figures = [(50, 2_000_000, 9), (66, 3_370_000, 15), (65, 3_400_000, 18), (68, 3_890_000, 20)];
        let builds: Vec<_> = SERVICES
            .into_iter()
            .zip(figures)
            .map(|(service, (crates, bytes, seconds))| (service, build(crates, bytes, seconds)))
            .collect();
        let expected = "\
| | crates | binary, MB | time to compile, of json-subscriber's | CPU time of it |
|---|---|---|---|---|
| axum alone | 50 | 2.00 | 0.45 | 0.45 |
| logtracer-sdk | 66 (goal: least), not met | 3.37 (goal: least), met | 0.75 | 0.75 |
| tracing-subscriber's json, trace by hand | 65 | 3.40 | 0.90 | 0.90 |
| json-subscriber, trace by hand | 68 | 3.89 | 1.00 | 1.00 |
";
        assert_eq!(table(&builds), expected);
    }
}
