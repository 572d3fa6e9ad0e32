//! Checks a configuration of the filter without Envoy.

use std::ffi::OsString;
use std::io::Read;
use std::process::ExitCode;

use logtracer_filter::Node;
use logtracer_filter::config::{Config, ConfigError, Direction};

const USAGE: &str = "usage: logtracer-check-config [--native[=VERSION]] FILE

FILE                 JSON as in pluginConfig; - for stdin
--native             also demand what the native module demands, in every Envoy that it supports
--native=VERSION     the same for this Envoy and newer ones, for example 1.40

With --native, OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are read as from Envoy's environment.";

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let option = arguments.first().and_then(|first| first.to_str()?.strip_prefix("--native"));
    let native = option.map(direction);
    if native.is_some() {
        arguments.remove(0);
    }
    let ([file], None | Some(Some(_))) = (&arguments[..], native) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let name = file.to_string_lossy().into_owned();
    let json = if file == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    let result = json
        .map_err(|error| error.to_string())
        .and_then(|json| check(&json, native.flatten()).map_err(|error| error.to_string()));
    match result {
        Ok(()) => {
            eprintln!("{name}: the configuration is valid");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns what the native module knows in an Envoy, of the rest of the option; `None` if it is malformed.
fn direction(rest: &str) -> Option<Direction> {
    if rest.is_empty() {
        return Some(Direction::Unknown);
    }
    let minor = rest.strip_prefix("=1.")?.split('.').next()?;
    let minor: u32 = minor.parse().ok()?;
    Some(if minor < 40 { Direction::Unknown } else { Direction::Known })
}

fn check(json: &[u8], native: Option<Direction>) -> Result<(), ConfigError> {
    let config = Config::parse(json)?;
    let variable = |name| std::env::var(name).ok();
    let (name, attributes) = (variable("OTEL_SERVICE_NAME"), variable("OTEL_RESOURCE_ATTRIBUTES"));
    let node = Node::from_environment(name.as_deref(), attributes.as_deref());
    native.map_or(Ok(()), |direction| config.check_native(direction, &node))
}
