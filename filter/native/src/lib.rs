//! The shell of the filter for Envoy's dynamic modules: it connects [`logtracer_filter`] to the HTTP filter and to the
//! access logger that Envoy calls in this library.
//!
//! ```text
//!  worker thread   filter_hooks ─► Stream ─► awaiting_log (from its end) ─► logger_hooks ─► lines ─► stdout
//!                                                                                        └─► buffer of the worker's Root
//!  main thread     filter_hooks (scheduled, response) ─► process ─► Root ─► callout to the exporter
//!                        ▲
//!  ticker thread ────────┘ when a root is due
//! ```
//!
//! `bootstrap_hooks` delays the exit of Envoy until the spans are delivered.
//!
//! Envoy calls the access logger directly after the filter's `stream_complete`, and only the logger sees everything that
//! Envoy measured. `abi` declares Envoy's functions, `guard` catches panics before they reach Envoy, and `instance` has
//! what equal configurations share.
//!
//! Invariant: no panic crosses the boundary to Envoy, and no worker waits for stdout or for the exporter.

#![allow(unsafe_code, reason = "the ABI of the host is C; a comment at each block explains why it is sound")]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod abi;
mod awaiting_log;
mod bootstrap_hooks;
mod buffers;
mod clock;
mod filter_hooks;
mod filter_host;
mod guard;
mod instance;
mod lines;
mod logger_hooks;
mod logger_host;
mod main_host;
mod main_thread;
mod metrics;
#[cfg(feature = "panic-test")]
mod panic_test;
mod process;
mod sync;
mod ticker;
