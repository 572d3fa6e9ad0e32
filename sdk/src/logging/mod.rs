//! Log lines: one JSON object each, with the trace of the request that they belong to.
//!
//! ```text
//!  Logging (builder) ──► JsonLayer: event, span fields, current_trace() ──► core's Line ──► Output, one write
//!     └── levels: which events become lines, which spans are kept
//! ```

mod builder;
mod error;
mod fields;
mod json_layer;
mod levels;
mod output;

pub use builder::{Logging, Project, format_from_env};
pub use error::LoggingError;
pub use json_layer::JsonLayer;
