//! End to end, on a real Envoy with the real filter, exporter and SDK. One file for each story.

mod configuration;
mod demo;
mod documents;
mod image;
mod keys;
mod lines;
mod lives;
mod manifests;
mod propagation;
mod reference;
mod sinks;
mod spans;
mod trouble;
mod w3c;
mod workers;
mod workflows;

use logtracer_tests::cases::values;
use serde_json::Value;

/// The trace and the span of a caller that has some.
const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
const CALLER: &str = "00f067aa0ba902b7";

/// The id of a trace of its own for each number.
fn trace(number: u128) -> String {
    format!("{:032x}", 0x7000_0000_0000_0000_0000_0000_0000_u128 + number)
}

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
