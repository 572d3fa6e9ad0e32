//! End to end, on a real Envoy with the real filter, exporter and SDK. One file for each story.

mod configuration;
mod demo;
mod documents;
mod exporter_down;
mod keys;
mod lines;
mod lives;
mod manifests;
mod propagation;
mod sinks;
mod spans;
mod trouble;
mod w3c;
mod workers;

use logtracer_tests::cases::values;
use serde_json::Value;

/// A header as [`logtracer_tests::hop::Hop`] sends it.
fn header<'a>(name: &'a str, value: &'a str) -> (&'a str, &'a [u8]) {
    (name, value.as_bytes())
}

/// Headers as a table of cases writes them.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// A request without a trace header.
const NONE: [(&str, &[u8]); 0] = [];

/// A value inside a line, by JSON pointer.
#[track_caller]
fn text<'a>(line: &'a Value, pointer: &str) -> &'a str {
    line.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer} of {line}"))
}
