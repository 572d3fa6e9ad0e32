//! The shell of the filter for proxy-wasm: it connects [`logtracer_filter`] to Envoy's WebAssembly extension.
//!
//! `dispatcher` has the callbacks that Envoy calls, `hostcalls` the functions that the filter calls, and `host` implements
//! the traits of [`logtracer_filter::host`] with them.
//!
//! Invariant: nothing here panics, because a panic ends the VM of a worker.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(any(target_arch = "wasm32", test))]
mod allocator;
mod dispatcher;
pub mod header_map;
mod host;
mod hostcalls;
mod metric_ids;
mod properties;
mod roots;
