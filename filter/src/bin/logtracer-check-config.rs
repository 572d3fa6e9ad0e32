//! Checks a configuration of the filter without Envoy.

use std::io::Read;
use std::process::ExitCode;

use logtracer_filter::config::Config;

const USAGE: &str = "usage: logtracer-check-config FILE    (JSON as in pluginConfig; - for stdin)";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(file), None) = (arguments.next(), arguments.next()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let name = file.to_string_lossy().into_owned();
    let json = if file == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(&file)
    };
    let result = json
        .map_err(|error| error.to_string())
        .and_then(|json| Config::parse(&json).map_err(|error| error.to_string()));
    match result {
        Ok(_) => {
            eprintln!("{name}: the configuration is valid");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
