//! `logtracer-exporter`: parses the command line. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use logtracer_exporter::{Config, run};

fn main() -> ExitCode {
    run(Config::parse())
}
