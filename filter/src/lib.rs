//! The filter for Envoy and Istio: one trace context, one log line and one span for each request.
//!
//! ```text
//!  request headers ─► stream ─► request ─► decision ─► propagation (counts, headers of the next hop) ─► the service
//!
//!  end of request ──► stream ─► completed ─► access_log ─► the host prints it
//!                                        └─► span ─► plugin (buffer) ─► reporter (callout) ─► exporter
//! ```
//!
//! [`logtracer_core`] defines contexts, lines and spans. This crate is the filter's logic. It knows no proxy: what it needs
//! of one is in [`host`], and two shells provide it, `filter/wasm` (proxy-wasm) and `filter/native` (Envoy's dynamic
//! modules). A [`Root`] exists for each configuration and worker and sends the spans; a [`Stream`] exists for each
//! request. The roots of a process share what they know of an exporter: `recovery`, and the spans of a root that ends,
//! `handover`.
//!
//! The comments cite the rules of `docs/behaviours.md` by their numbers.
//!
//! Invariant: no header, configuration or result of a host call makes the filter panic, because a panic ends the
//! VM of a worker. No request waits for telemetry.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod access_log;
mod batch_limits;
mod captured_headers;
mod code_details;
mod completed;
pub mod config;
mod decision;
mod destination;
mod dropped_log;
#[cfg(test)]
mod fake_host;
mod grpc_status;
mod handover;
pub mod host;
mod ids;
mod kept_head;
mod live;
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
mod response_header;
mod root;
mod shared;
mod span;
mod stream;
#[cfg(test)]
mod tests;

pub use live::ConfigId;
pub use metrics::{Metric, MetricType};
pub use node::Node;
pub use plugin::Plugin;
pub use properties::Properties;
pub use root::Root;
pub use stream::Stream;
