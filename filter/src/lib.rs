//! The proxy-wasm filter for Envoy and Istio: one trace context, one log line and one span for each request.
//!
//! ```text
//!  request headers ─► stream (extract ─► context ─► inject) ─► the service
//!                        │
//!  the request is over ─► observed ─► line ─► filter state ─► Envoy's access log ─► stdout
//!                                  └► span ─► batch ─► reporter (callout, from the root's tick) ─► exporter
//! ```
//!
//! What a context, a line and a span are stands in [`logtracer_core`]; here is what Envoy adds: `host` (what is
//! called of it), `vm` (what it calls), `root` (one per plugin configuration and worker) and `stream` (one per
//! request).
//!
//! Invariant: no header, no configuration and no answer of a host call makes the filter panic, for a panic ends
//! the whole VM of a worker; and no request ever waits for telemetry.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod batch;
pub mod config;
mod decision;
mod flags;
mod grpc_status;
mod host;
mod ids;
mod kept;
mod losses;
mod metrics;
mod node;
mod observed;
pub mod pairs;
mod properties;
mod recorded;
mod reporter;
mod root;
mod stream;
mod vm;
