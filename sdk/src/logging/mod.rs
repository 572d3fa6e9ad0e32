//! Log lines: JSON objects with the trace of their request.
//!
//! ```text
//!  log records ──► log_bridge ──┐
//!  tracing events ──────────────┴─► JsonLayer: event_fields, span_fields, current_trace() ──► core's Line ──► Output
//!     └── levels: which events become lines, which spans exist                                one write, now or queued
//! ```
//!
//! # Fields with a meaning
//!
//! | field of an event, or key-value of a record of `log` | part of the line |
//! |---|---|
//! | `http_request.request_method`, `.request_url`, `.status`, `.latency` … | `httpRequest` of the entry |
//! | `labels.team`, also in a span | a label of the entry |
//! | `logtracer.severity = "NOTICE"` | a severity without a level in `tracing` |
//! | `error = &error as &dyn std::error::Error` | the error with its causes: `outer: inner` |
//!
#![cfg_attr(feature = "testing", doc = "```")]
#![cfg_attr(not(feature = "testing"), doc = "```ignore")]
//! use logtracer_sdk::{Format, testing::capture_with};
//! use std::time::Duration;
//!
//! let lines = capture_with(|logging| logging.format(Format::Local), || {
//!     tracing::info!(
//!         http_request.request_method = "GET",
//!         http_request.status = 200,
//!         http_request.latency = ?Duration::from_millis(12),
//!         labels.team = "data",
//!         logtracer.severity = "NOTICE",
//!         "fetched",
//!     );
//! });
//! assert_eq!(lines[0]["httpRequest"]["latency"], "0.012s");
//! assert_eq!(lines[0]["labels"]["team"], "data");
//! assert_eq!(lines[0]["severity"], "NOTICE");
//! ```

mod builder;
mod caught_panic;
mod environment;
mod error;
mod event_fields;
mod field_value;
mod handle;
mod http_request;
mod install;
mod json_layer;
#[cfg_attr(not(any(feature = "log", feature = "server")), allow(dead_code))]
// of records of `log`, and of requests
mod key_values;
mod known_fields;
mod labels;
mod level_names;
mod levels;
#[cfg(feature = "log")]
mod log_bridge;
#[cfg(feature = "log")]
mod log_record;
mod output;
pub(crate) mod panic;
mod project;
pub(crate) mod request_fields;
mod service;
mod span_fields;

pub use builder::Logging;
pub use environment::FormatExt;
pub use error::LoggingError;
pub use handle::LoggingHandle;
use json_layer::JsonLayer;
pub use project::Project;
pub use service::LoggerNames;
