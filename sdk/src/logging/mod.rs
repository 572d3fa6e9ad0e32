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
//! | `http_request.cache_hit`, `.cache_lookup`, `.cache_validated_with_origin_server`, `.cache_fill_bytes` | the same |
//! | `labels.team`, also in a span | a label of the entry |
//! | `logtracer.severity = "NOTICE"` | a severity without a level in `tracing` |
//! | `logtracer.insert_id` | `insertId`: of several entries with the same time and id, Cloud Logging keeps one |
//! | `logtracer.operation.id`, `.producer` (also in a span), `.first`, `.last` | `operation` |
//! | `error = &error as &dyn std::error::Error` | the error with its causes, each once: `outer: inner` |
//! | `error = ?error` of `anyhow` and similar crates | the error; its backtrace becomes `stack_trace` |
//! | `backtrace = %std::backtrace::Backtrace::capture()` | `stack_trace`, or nothing if it is not captured |
//!
//! - A field with such a name that has no such meaning, or a value that cannot have it, is an ordinary field:
//!   `http_request.status = "many"`.
//! - An event without a message has the text of its field `error` or `err` as the message. `#[instrument(err)]` logs
//!   such events.
//! - Of two fields with the same name, the first one counts. A second `message` is the field `fields.message`.
//! - Text in a field is cut after 16 KiB, and ends in `[N bytes cut]…`; a message is cut after 64 KiB and a label after
//!   1 KiB, and end in `…`. A line has at most 192 KiB; a field that exceeds it is dropped.
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
mod callsite;
mod caught_panic;
mod entry_fields;
mod environment;
mod error;
mod error_text;
mod event_fields;
mod field_value;
mod handle;
mod http_request;
mod install;
mod json_layer;
// Of records of `log`, and of requests.
#[cfg_attr(not(any(feature = "log", feature = "server")), allow(dead_code))]
mod key_values;
mod known_fields;
mod labels;
mod level_error;
mod level_names;
mod levels;
#[cfg(feature = "log")]
mod log_bridge;
#[cfg(feature = "log")]
mod log_record;
mod losses;
#[cfg(feature = "spans")]
mod metadata_server;
#[cfg(any(feature = "log-serde", all(tracing_unstable, feature = "valuable")))]
mod nested;
mod output;
pub(crate) mod panic;
mod project;
pub(crate) mod request_fields;
#[cfg(feature = "log-serde")]
mod serde_value;
mod service;
mod span_fields;
#[cfg(all(tracing_unstable, feature = "valuable"))]
mod valuable_value;

pub use builder::Logging;
pub use environment::FormatExt;
pub use error::LoggingError;
pub use handle::LoggingHandle;
use json_layer::JsonLayer;
pub use level_error::LevelError;
pub use project::Project;
pub use service::LoggerNames;
