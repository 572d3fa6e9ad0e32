//! OTLP as every stage of the exporter uses it: signals, requests as bytes, and the check that a request is bounded.
//!
//! ```text
//!  signal      spans or log records
//!  check       one pass over a request: its shape, its ids, its size when decoded
//!  envelope    a request down to its items, which stay bytes
//!  any_value   attribute values as JSON and as text
//! ```
//!
//! Invariant: this module is the lowest layer; it imports no other stage (`layers_import_only_downward`).

pub(crate) mod any_value;
pub(crate) mod check;
pub(crate) mod envelope;
mod signal;

pub(crate) use signal::{Items, Signal};
