//! End-to-end tests with a real Envoy, the filter, the exporter and the SDK. Each module is a story.

mod charts;
mod config_keys;
mod configuration;
mod demo;
mod documents;
mod fallback;
mod features;
mod image;
mod lifecycle;
mod line_break;
mod lines;
mod manifests;
mod module;
mod monitoring;
mod native;
mod native_panics;
mod propagation;
mod reference;
mod services;
mod shards;
mod sinks;
mod span_export;
mod spans;
mod w3c;
mod workers;
mod workflows;

use logtracer_harness::cases::values;
use serde_json::Value;

/// The trace id and the span id of a caller.
const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
const CALLER: &str = "00f067aa0ba902b7";

/// Returns a distinct trace id for each number.
fn trace(number: u128) -> String {
    format!("{:032x}", 0x7000_0000_0000_0000_0000_0000_0000_u128 + number)
}

/// Returns a header for [`logtracer_harness::hop::Hop`].
fn header<'a>(name: &'a str, value: &'a str) -> (&'a str, &'a [u8]) {
    (name, value.as_bytes())
}

/// Headers as a table of cases writes them.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// A request without a trace header.
const NONE: [(&str, &[u8]); 0] = [];

/// Returns a text of a line by JSON pointer.
#[track_caller]
fn text<'a>(line: &'a Value, pointer: &str) -> &'a str {
    line.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer} of {line}"))
}
