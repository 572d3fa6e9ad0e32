//! The shared harness of the end-to-end tests, the demo and the benches: real processes on loopback.
//!
//! ```text
//! caller ──► Envoy (plugin.wasm) ──► service        process    one program: start, stdout file, stop
//!              │ stdout │ OTLP                      envoy      Envoy and its admin interface
//!              ▼        ▼                           exporter   the exporter; store: its JSON API
//!            lines    exporter ──► store            echo       a service that returns its request headers
//!                                                   rotel      another OpenTelemetry collector
//!                                                   prometheus scrapes them and evaluates rules
//!                                                   webdriver  a Chromium that opens the exporter's pages
//! ```
//!
//! For tables of cases there is [`hop`], one Envoy in front of the echo service, and [`proxy`], one Envoy with many
//! listeners between an [`origin`] that responds by path and a [`collector`] that responds by script. [`wire`] and
//! [`http2`] are clients that can send what HTTP libraries refuse to send; [`cases`] is the table of trace headers.
//!
//! Invariant: no process outlives its owner. A program is stopped when its value is dropped, and killed by the kernel
//! if the process that started it is killed.

mod error;
mod os;
mod routes;

pub mod cases;
pub mod collector;
pub mod echo;
pub mod envoy;
pub mod exporter;
pub mod hop;
pub mod http2;
pub mod lines;
pub mod origin;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod rotel;
pub mod shell;
pub mod signals;
pub mod store;
pub mod wait;
pub mod webdriver;
pub mod wire;

pub use error::{Error, Result};
pub use reqwest::blocking::Client as HttpClient;
