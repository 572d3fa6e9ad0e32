//! The destinations of spans and log records: each sink is a file or a folder here, and implements [`crate::deliver::Sink`].
//!
//! ```text
//!  deliver ──► Chunk ──► store        rows of the embedded store
//!                    ├─► stdout       lines of JSON
//!                    ├─► otlp         http or grpc, unchanged
//!                    ├─► zipkin       span: a span of Zipkin ──► http
//!                    ├─► cloud_trace  span, labels, text: a span of Cloud Trace ──► http, with a token
//!                    ├─► cloud_logging  record: an entry of Cloud Logging ──► http, with a token
//!                    └─► telemetry    resource: the project ──► http, with a token
//! ```
//!
//! `body` bounds the memory of what is made from the chunks, and `json_body` the size of JSON. `limits` truncates
//! spans and log records, and `time_limits` sets apart those that are too old or too new.

mod body;
mod cloud_logging;
mod cloud_trace;
pub(crate) mod google;
mod http;
mod json_body;
mod limits;
pub(crate) mod otlp;
mod stdout;
mod store;
mod telemetry;
mod time_limits;
mod zipkin;

#[cfg(test)]
mod tests;

pub(crate) use cloud_logging::CloudLogging;
pub(crate) use cloud_trace::CloudTrace;
pub(crate) use otlp::Otlp;
pub(crate) use stdout::Stdout;
pub(crate) use telemetry::Telemetry;
pub(crate) use zipkin::Zipkin;
