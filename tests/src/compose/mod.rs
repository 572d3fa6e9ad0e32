//! `make envoy-test`: checks the stack of `envoy/docker-compose.yaml` in containers, also while a part of it is down.

mod docker;
mod load;
mod log_check;
mod outages;
mod scenarios;
mod stack;

use std::io::Write;
use std::time::Instant;

use logtracer_harness::{Error, Result, signals};

use stack::Stack;

/// The result of a check: a summary of a few words if it passed.
type Summary = Result<String>;

struct Check {
    name: &'static str,
    what: &'static str,
    run: fn(&Stack) -> Summary,
}

const CHECKS: &[Check] = &[
    Check {
        name: "containers",
        what: "healthy, not root, no capabilities, read-only file system",
        run: scenarios::containers,
    },
    Check { name: "spans", what: "the spans of four callers are linked", run: scenarios::spans },
    Check {
        name: "page",
        what: "lists the traces, and shows the spans and lines of each",
        run: scenarios::page,
    },
    Check {
        name: "headers",
        what: "the service receives the headers of the shared tables",
        run: scenarios::headers,
    },
    Check {
        name: "exporter stopped",
        what: "and restarted under load: no span is lost",
        run: outages::exporter_stopped,
    },
    Check {
        name: "exporter killed",
        what: "and restarted under load: no span is lost",
        run: outages::exporter_killed,
    },
    Check {
        name: "network cut",
        what: "between Envoy and exporter: no request waits",
        run: outages::network_cut,
    },
    Check {
        name: "service killed",
        what: "under load: traces show it, and requests succeed afterwards",
        run: outages::service_killed,
    },
    Check {
        name: "cloud trace",
        what: "has every span of the callers, rejects nothing",
        run: scenarios::cloud_trace,
    },
    Check {
        name: "page log",
        what: "the file of lines for the page stays below its limit",
        run: scenarios::page_log,
    },
    Check {
        name: "lines",
        what: "every line of every container is one JSON object, and none reports a fault",
        run: scenarios::lines,
    },
];

/// Starts the stack, runs all checks, prints a table of the results and removes the stack. The error has the number of
/// failed checks.
pub fn run(out: &mut dyn Write) -> Result<()> {
    let _signal = signals::listen()?;
    let mut print = |text: &str| writeln!(out, "{text}").map_err(Error::when("stdout"));

    print("envoy-test: starting the stack")?;
    let stack = Stack::start()?;
    let mut failed = 0;
    let mut table = format!("\n  {:<16}  {:<6}  {:>7}  what was seen\n", "check", "", "seconds");
    for check in CHECKS {
        print(&format!("envoy-test: {}: {}", check.name, check.what))?;
        let start = Instant::now();
        let (word, summary) = match (check.run)(&stack) {
            Ok(summary) => ("ok", summary),
            Err(cause) => {
                failed += 1;
                ("FAILED", cause.to_string())
            }
        };
        let took = start.elapsed().as_secs_f64();
        table.push_str(&format!("  {:<16}  {word:<6}  {took:>7.1}  {summary}\n", check.name));
    }
    print(&table)?;
    if failed == 0 {
        return print(&format!("envoy-test: {} checks passed", CHECKS.len()));
    }
    print(&stack.tail())?;
    Err(Error::new(format!("{failed} of {} checks failed", CHECKS.len())))
}
