//! `logtracer-exporter`: the command line; everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use logtracer_exporter::{Config, run};

fn main() -> ExitCode {
    match run(Config::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("logtracer-exporter: {error:#}");
            ExitCode::FAILURE
        }
    }
}
