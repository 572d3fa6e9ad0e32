//! The vocabulary of logtracer: trace contexts, spans and log lines, and how each is read and written.
//!
//! ```text
//!  request headers ──► propagation::TraceHeaders ──► propagation::Extracted ──► TraceContext
//!                                                                                     │
//!  headers of the next hop ◄── propagation::Propagator::inject ◄──────────────────────┤
//!  request to the exporter ◄── span_buffer::SpanBuffer ◄── otlp ◄── span::Span ◄──────┤
//!  one JSON object ◄── line::Line ◄───────────────────────────────────────────────────┘
//! ```
//!
//! The filter, the exporter and the SDK depend on this crate.
//! It does no I/O, reads no clock, draws no random number and spawns nothing: time and randomness are arguments.
//!
//! The comments cite the rules of `docs/behaviours.md` by their numbers.
//!
//! ```
//! use logtracer_core::propagation::{Propagator, TraceHeaders};
//! use logtracer_core::SpanId;
//!
//! let headers = TraceHeaders::collect([("b3", "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1")]);
//! let extracted = Propagator::default().extract(&headers);
//! let parent = extracted.parent.expect("a valid b3 header");
//!
//! // The span of this hop is a child of the caller's span.
//! let context = parent.child(SpanId::new(0x1234).expect("not zero"));
//! assert_eq!(context.trace_id.to_string(), "463ac35c9f6413ad48485a3953bb6124");
//! assert_eq!(context.parent_span_id.map(|id| id.to_string()).as_deref(), Some("00f067aa0ba902b7"));
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod backoff;
mod context;
mod decimal;
mod hex;
mod id;
pub mod line;
mod lossy;
pub mod otlp;
pub mod propagation;
pub mod request;
pub mod sampling;
mod shard;
pub mod span;
pub mod span_buffer;
mod traceparent;
mod truncate;

pub use backoff::Backoff;
pub use context::{RemoteContext, Sampling, TraceContext};
pub use hex::HexError;
pub use id::{SpanId, TraceId};
pub use shard::shard_of;
pub use traceparent::TraceparentError;
pub use truncate::truncate;
