//! `make demo`: two services with their sidecars, a few requests, and the trace of one of them.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use logtracer_demo::Ending;

/// Runs two services behind Envoy with logtracer, sends requests, and shows the lines and spans of one
#[derive(Parser)]
struct Options {
    /// Show one trace and exit
    #[arg(long)]
    once: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let ending = if options.once { Ending::AfterTrace } else { Ending::OnSignal };
    let mut stdout = std::io::stdout();
    let colours = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match logtracer_demo::run(ending, &mut stdout, colours) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("logtracer-demo: {cause}");
            ExitCode::FAILURE
        }
    }
}
