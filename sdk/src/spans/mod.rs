//! Spans of the application's own, for work inside of a request that deserves a bar in the waterfall.
//!
//! ```text
//!  span(name).enter(), fut.in_span(name), server and client layers
//!        │ when it ends: OTLP bytes
//!        ▼
//!  queue: bounded, drops the oldest ──► sender: a thread of its own, batches, retries ──► POST /v1/traces
//! ```
//!
//! The spans go to logtracer's exporter, which keeps and delivers them; whoever ends a span waits for nothing.
//! Without [`SpanExport::install`], and for requests that are not sampled, there is no span: the context stays that
//! of the sidecar, so that no line and no other span hangs under one that nobody has.
//!
//! ```no_run
//! use logtracer_sdk::prelude::*;
//! use logtracer_sdk::spans::{SpanExport, span};
//!
//! # async fn prices() {}
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
//! {
//!     let _span = span("load-config").enter();
//! }
//! prices().in_span("prices").await;
//! drop(exporter); // at the end of `main`: sends what is left
//! # Ok(())
//! # }
//! ```

mod export;
mod queue;
#[cfg(any(feature = "server", feature = "client"))]
mod request;
mod sender;
mod span;

pub use export::{SpanExport, SpanExportError, SpanExporter};
#[cfg(any(feature = "server", feature = "client"))]
pub(crate) use request::RequestSpan;
pub use span::{InSpan, SpanBuilder, SpanGuard, span};
