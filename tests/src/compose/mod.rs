//! `make envoy-test`: the stack of `envoy/docker-compose.yaml` in containers, what goes through it, and what becomes of
//! spans when a part of it goes away.

mod docker;
mod load;
mod losses;
mod scenarios;
mod stack;

use std::io::Write;
use std::time::Instant;

use crate::demo::signals;
use crate::{Error, Result};
use stack::Stack;

/// What a check says when all is well, in a few words.
type Said = Result<String>;

struct Check {
    name: &'static str,
    what: &'static str,
    run: fn(&Stack) -> Said,
}

const CHECKS: &[Check] = &[
    Check {
        name: "containers",
        what: "healthy, not root, without rights, nothing to write to",
        run: scenarios::containers,
    },
    Check { name: "spans", what: "four callers, the spans of each linked", run: scenarios::spans },
    Check {
        name: "page",
        what: "the page lists the traces, and shows the spans and lines of each",
        run: scenarios::page,
    },
    Check {
        name: "headers",
        what: "the tables of headers, as the service gets them",
        run: scenarios::headers,
    },
    Check {
        name: "exporter stopped",
        what: "and started under load, no span is lost",
        run: losses::exporter_stopped,
    },
    Check {
        name: "exporter killed",
        what: "and started under load, no span is lost",
        run: losses::exporter_killed,
    },
    Check {
        name: "network cut",
        what: "between Envoy and exporter, no request waits",
        run: losses::network_cut,
    },
    Check {
        name: "service killed",
        what: "under load: requests tell of it, and go on after it",
        run: losses::service_killed,
    },
    Check {
        name: "cloud trace",
        what: "has every span of the callers, refuses nothing",
        run: scenarios::cloud_trace,
    },
    Check {
        name: "page log",
        what: "the file of lines for the page does not grow for ever",
        run: scenarios::page_log,
    },
    Check { name: "lines", what: "all that was printed, each one JSON object", run: scenarios::lines },
];

/// Brings the stack up, checks it, prints a table of what was checked, and takes everything down. An error says how
/// many checks failed.
pub fn run(out: &mut dyn Write) -> Result<()> {
    let _ended = signals::listen()?;
    let mut say = |text: &str| writeln!(out, "{text}").map_err(Error::when("stdout"));

    say("envoy-test: bringing the stack up")?;
    let stack = Stack::start()?;
    let mut failed = 0;
    let mut table = format!("\n  {:<16}  {:<6}  {:>7}  what was seen\n", "check", "", "seconds");
    for check in CHECKS {
        say(&format!("envoy-test: {}: {}", check.name, check.what))?;
        let start = Instant::now();
        let (word, said) = match (check.run)(&stack) {
            Ok(said) => ("ok", said),
            Err(cause) => {
                failed += 1;
                ("FAILED", cause.to_string())
            }
        };
        let took = start.elapsed().as_secs_f64();
        table.push_str(&format!("  {:<16}  {word:<6}  {took:>7.1}  {said}\n", check.name));
    }
    say(&table)?;
    if failed == 0 {
        return say(&format!("envoy-test: {} checks passed", CHECKS.len()));
    }
    say(&stack.tail())?;
    Err(Error::new(format!("{failed} of {} checks failed", CHECKS.len())))
}
