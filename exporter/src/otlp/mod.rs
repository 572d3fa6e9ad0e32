//! OTLP for every stage of the exporter: the signals, requests as bytes, and the check that limits a request.
//!
//! ```text
//!  signal      spans or log records
//!  schema      the messages: the name, the number and the type of each field
//!  check       one pass over a request: its schema, its ids, its size when decoded
//!  mend        a request without the parts that the check rejects
//!  json        a request in JSON to protobuf
//!  merge       fields that occur twice, as protobuf merges them
//!  arrival     the time of spans and log records that have none
//!  left_out    what mend and json left out, by reason
//!  envelope    a request as a list of items, which stay bytes
//!  retain      a request with some of its items, without decoding it
//!  any_value   attribute values as JSON and as text
//!  in_place    stored spans without decoding them
//!  probability the sampling probability of a span, in its tracestate
//!  severity    severity numbers and names to Cloud Logging's severities
//!  shared_span the id of the server's half of a span of Zipkin
//!  span_parts  a span that was sent in several parts
//!  text        doubles and bytes as text
//! ```
//!
//! Invariant: this module is the lowest layer; it imports no other module (`layers_import_only_downward`).

pub(crate) mod any_value;
pub(crate) mod arrival;
pub(crate) mod check;
pub(crate) mod envelope;
mod ids;
pub(crate) mod in_place;
pub(crate) mod json;
pub(crate) mod left_out;
pub(crate) mod mend;
pub(crate) mod merge;
mod output;
pub(crate) mod probability;
pub(crate) mod retain;
mod schema;
pub(crate) mod severity;
pub(crate) mod shared_span;
mod signal;
pub(crate) mod span_parts;
pub(crate) mod text;
mod times;
pub(crate) mod wire;

pub(crate) use signal::{Items, Signal};
