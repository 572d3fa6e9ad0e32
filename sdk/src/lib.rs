//! The current trace of a request anywhere in a Rust service, and JSON logs that carry it.
//!
//! ```text
//!  sidecar ──► server::TraceLayer ──► your handler ──► client: .with_trace() ──► sidecar ──► next service
//!  (headers)   current on every poll      │                (headers)
//!                                         ├── current_trace()
//!                                         └── tracing::info!(…) ──► Logging ──► one JSON line on stdout
//! ```
//!
//! The proxy in front of a service (Envoy with logtracer's filter) starts the trace and records its spans. This crate
//! keeps the trace current while the request is served, adds it to every log line, and passes it to the next hop.
//! It needs neither the filter nor OpenTelemetry: if a request has no trace, it starts one.
//!
#![cfg_attr(all(feature = "axum", feature = "logging", feature = "reqwest"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "axum", feature = "logging", feature = "reqwest")), doc = "```ignore")]
//! use axum::{Router, routing::get};
//! use logtracer_sdk::prelude::*;
//! use logtracer_sdk::server::{RequestLog, TraceLayer};
//! use logtracer_sdk::{Logging, Project};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     Logging::new(Project::from_env(), "shop").log_panics(true).install()?;
//!
//!     let client = reqwest::Client::new();
//!     let order = async move || {
//!         tracing::info!(items = 3, "order opened"); // this line has the trace
//!         let stock = client.get("http://127.0.0.1:8081/").with_trace().send().await; // and this request
//!         format!("in stock: {}", stock.is_ok())
//!     };
//!     let app = Router::new()
//!         .route("/order", get(order))
//!         .layer(TraceLayer::new().requests(RequestLog::Single)); // joins a trace or starts one
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     Ok(axum::serve(listener, app).await?)
//! }
//! ```
//!
//! What a line has:
//!
#![cfg_attr(feature = "logging", doc = "```")]
#![cfg_attr(not(feature = "logging"), doc = "```ignore")]
//! use std::sync::{Arc, Mutex};
//! use logtracer_sdk::prelude::*;
//! use logtracer_sdk::{Format, Logging, TraceContext, current_trace};
//!
//! let lines = Arc::new(Mutex::new(Vec::new()));
//! let sink = Arc::clone(&lines);
//! Logging::new("my-project", "shop")
//!     .format(Format::Local)
//!     .output(move |line| sink.lock().unwrap().extend_from_slice(line)) // default: stdout
//!     .install()?;
//!
//! // In a service `server::TraceLayer` does this for each request.
//! let context = TraceContext::new_root();
//! context.run(|| {
//!     assert_eq!(current_trace(), Some(context));
//!     tracing::info!(items = 3, "basket opened");
//! });
//!
//! let line: serde_json::Value = serde_json::from_slice(&lines.lock().unwrap())?;
//! assert_eq!(line["message"], "shop - basket opened");
//! assert_eq!(line["trace"], context.trace_id.to_string());
//! assert_eq!(line["items"], 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The [examples](https://github.com/logtracer/logtracer/tree/main/sdk/examples) for axum, tonic, both, a worker and a queue
//! each run with one command, and show the lines and spans of several services.
//! For bbc/logtracer, tracing-stackdriver and OpenTelemetry there is a migration guide:
//! [docs/migrating.md](https://github.com/logtracer/logtracer/blob/main/docs/migrating.md).
//!
//! # How the trace follows the code
//!
//! | code | what keeps the trace current |
//! |---|---|
//! | `.await` | [`server::TraceLayer`], on every poll of the handler and of the response body |
//! | `tokio::spawn(work().instrument(span))` | the span, see [`carry_traces`] |
//! | other tasks | [`spawn`], [`spawn_blocking`], [`FutureExt::in_current_trace`] |
//! | messages of a queue | [`messaging`] |
//! | cron jobs | [`job`], a new trace for each run |
//! | threads | [`TraceContextExt::run`] with the [`current_trace()`] of the parent thread |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `logging` (default) | [`Logging`], [`carry_traces`] |
//! | `log` (default) | records of the `log` crate in the same log |
//! | `log-errors` | the causes of errors as key-values of `log`: `err:err = error` |
//! | `log-serde` | nested JSON for key-values of `log` with a structure: `user:serde = user`, `user:sval = user` |
//! | `valuable` | nested JSON for values of `valuable`; needs `--cfg tracing_unstable` in `RUSTFLAGS`, as `tracing` does |
//! | `server` | [`server::TraceLayer`] for hyper, tonic and every other tower server |
//! | `hyper` | `server` and `client`, and the causes of hyper's errors |
//! | `axum` | `server`, and the route that axum matched in request lines and spans |
//! | `actix` | `server`, and [`server::TraceLayer`] as a middleware of Actix |
//! | `tonic` | `server` and `client`, the causes of tonic's errors, and redacted request messages in request lines |
//! | `client` | [`client::TraceLayer`] for hyper and tonic, [`trace_headers`] for all others |
//! | `reqwest`, `reqwest-middleware` | `.with_trace()` and `.send_traced()`; [`client::TraceLayer`] as a middleware |
//! | `tokio` | [`spawn`], [`spawn_blocking`] |
//! | `spans` | [`spans`]: the application's own spans, exported to logtracer's exporter or any receiver of OTLP over HTTP |
//! | `spans-tls` | `spans`, and endpoints with `https`: rustls with ring; `spans-tls-aws-lc`: with aws-lc |
//! | `opentelemetry` | [`opentelemetry`]: one trace with OpenTelemetry spans in the same process |
//! | `testing` | [`testing`]: log lines captured as JSON |
//!
//! Requires Rust 1.85. Only `spans`, `tokio`, `axum`, `hyper`, `tonic`, `reqwest` and `actix` depend on tokio.

#![cfg_attr(docsrs, feature(doc_cfg))]
// Items of a disabled feature cannot be linked to. The links are checked with all features.
#![cfg_attr(
    not(all(
        feature = "actix",
        feature = "axum",
        feature = "hyper",
        feature = "log",
        feature = "opentelemetry",
        feature = "reqwest-middleware",
        feature = "spans",
        feature = "spans-tls",
        feature = "testing",
        feature = "tokio",
        feature = "tonic"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../docs/sdk.md")]
struct Guide;

#[cfg(doctest)]
#[doc = include_str!("../../docs/migrating.md")]
struct Migrating;

#[cfg(feature = "client")]
pub mod client;
mod current;
#[cfg(any(feature = "logging", feature = "server", feature = "client", feature = "spans"))]
mod errors;
#[cfg(any(feature = "server", feature = "client"))]
mod events;
mod future;
mod job;
#[cfg(feature = "logging")]
pub mod logging;
pub mod messaging;
#[cfg(feature = "opentelemetry")]
pub mod opentelemetry;
mod random_id;
#[cfg(any(feature = "server", feature = "client"))]
mod request;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "logging")]
mod span_carrier;
#[cfg(feature = "spans")]
pub mod spans;
mod system;
#[cfg(any(feature = "logging", feature = "server", feature = "client", feature = "spans"))]
mod targets;
#[cfg(feature = "tokio")]
mod task;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "client")]
pub use client::trace_headers;
pub use current::{TraceContextExt, TraceGuard, current_trace};
pub use future::{FutureExt, InTrace};
pub use job::job;
#[cfg(feature = "logging")]
pub use logging::{FormatExt, Logging, LoggingError, LoggingHandle, Project};
#[doc(inline)]
pub use logtracer_core::line::{Format, FormatError};
#[doc(inline)]
pub use logtracer_core::{
    HexError, RemoteContext, Sampling, SpanId, TraceContext, TraceId, TraceparentError, propagation,
};
pub use random_id::RandomId;
#[cfg(feature = "logging")]
pub use span_carrier::carry_traces;
#[cfg(feature = "spans")]
pub use spans::span;
#[cfg(feature = "tokio")]
pub use task::{spawn, spawn_blocking};

/// The extension traits of this crate.
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::{TraceContext, current_trace};
///
/// let context = TraceContext::new_root();
/// assert_eq!(context.run(current_trace), Some(context));
/// ```
pub mod prelude {
    pub use crate::current::TraceContextExt;
    pub use crate::future::FutureExt;
    pub use crate::random_id::RandomId;

    #[cfg(feature = "reqwest")]
    pub use crate::client::WithTrace;
    #[cfg(feature = "logging")]
    pub use crate::logging::FormatExt;
}
