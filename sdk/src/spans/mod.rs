//! Spans of the application, for work within a request.
//!
//! ```text
//!  span(name).enter(), fut.in_span(name), server and client layers
//!        │ at the end: OTLP bytes
//!        ▼
//!  queue: bounded, drops the oldest ──► sender: a thread, batches, retries ──► transport: POST /v1/traces
//!        │                                  ▲                                        │
//!        └──────► losses ◄──────────────────┴──────────────── response ◄─────────────┘
//!                   └──► counters, flush(), one log line a minute
//! ```
//!
//! The spans go to logtracer's exporter, which stores and delivers them. The end of a span waits for nothing.
//!
//! Invariant: no span is lost silently: each one that is dropped is counted by its [`DropReason`].
//!
//! Without [`SpanExport::install`], and in requests that are not sampled, there is no span: the context stays that of
//! the sidecar, so that no log line and no span has a parent that is never recorded.
//!
//! ```
//! use logtracer_sdk::prelude::*;
//! use logtracer_sdk::current_trace;
//! use logtracer_sdk::spans::{SpanExport, span};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
//! {
//!     let _span = span("load-config").enter();
//! }
//! let prices = async { current_trace() }.in_span("prices").await;
//! assert!(prices.is_some_and(|trace| trace.sampling.is_sampled()));
//! // At the end of `main` the exporter is dropped, which sends the remaining spans.
//! # std::mem::forget(exporter); // nothing listens there
//! # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
//! # }).unwrap();
//! ```

mod attribute;
mod call;
mod connect;
mod credentials;
mod details;
mod dropped;
mod endpoint;
mod environment;
mod error;
mod export;
mod exporter;
mod flush;
pub(crate) mod http1;
mod loss_log;
mod open;
mod queue;
#[cfg(any(feature = "server", feature = "client"))]
mod request;
mod resource;
mod response;
mod sampler;
mod sender;
#[cfg(test)]
mod sender_tests;
mod span;
#[cfg(test)]
mod test_receiver;
mod text;
#[cfg(feature = "_spans-rustls")]
mod tls;
#[cfg(all(test, feature = "spans-tls"))]
mod tls_tests;
mod transport;

pub use attribute::AttributeValue;
#[cfg(feature = "client")]
pub(crate) use call::CallEnd;
pub use details::{SpanEvent, SpanLink};
pub use dropped::{DropReason, DroppedSpans};
pub use error::SpanExportError;
pub use export::SpanExport;
pub use exporter::SpanExporter;
pub use flush::FlushError;
pub use logtracer_core::span::SpanKind;
pub use open::{CurrentSpan, current_span};
#[cfg(any(feature = "server", feature = "client"))]
pub(crate) use request::RequestSpan;
pub use sampler::Sampler;
pub use span::{InSpan, SpanBuilder, SpanGuard, span};
