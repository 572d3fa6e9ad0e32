//! The proxy-wasm filter for Envoy and Istio: one trace context, one log line and one span for each request.
//!
//! ```text
//!  request headers ─► stream ─► request ─► decision ─► propagation (counts, headers of the next hop) ─► the service
//!
//!  end of request ──► stream ─► completed ─► access_log ─► filter state ─► Envoy's access log ─► stdout
//!                                        └─► span ─► plugin (buffer) ─► reporter (callout) ─► exporter
//! ```
//!
//! [`logtracer_core`] defines contexts, lines and spans. This crate connects them to Envoy: `dispatcher` has the
//! callbacks that Envoy calls, `hostcalls` the functions that the filter calls. A `root` exists for each plugin
//! configuration and worker and sends the spans; a `stream` exists for each request. The roots of a worker share what they
//! know of an exporter: `recovery`, and the spans of a root that ends, `handover`.
//!
//! The comments cite the rules of `docs/behaviours.md` by their numbers.
//!
//! Invariant: no header, configuration or result of a host call makes the filter panic, because a panic ends the
//! VM of a worker. No request waits for telemetry.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod access_log;
mod batch_limits;
mod captured_headers;
mod completed;
pub mod config;
mod decision;
mod dispatcher;
mod dropped_log;
mod grpc_status;
mod handover;
pub mod header_map;
mod hostcalls;
mod ids;

mod metrics;
mod node;
mod plugin;
mod propagation;
mod properties;
mod recovery;
mod reporter;
mod request;
mod request_head;
mod response_flags;
mod root;
mod shared;
mod span;
mod stream;
