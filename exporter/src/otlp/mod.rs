//! OTLP for every stage of the exporter: the signals, requests as bytes, and the check that limits a request.
//!
//! ```text
//!  signal      spans or log records
//!  check       one pass over a request: its schema, its ids, its size when decoded
//!  envelope    a request as a list of items, which stay bytes
//!  any_value   attribute values as JSON and as text
//! ```
//!
//! Invariant: this module is the lowest layer; it imports no other module (`layers_import_only_downward`).

pub(crate) mod any_value;
pub(crate) mod check;
pub(crate) mod envelope;
mod signal;

pub(crate) use signal::{Items, Signal};
