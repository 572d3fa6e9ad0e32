//! What the end-to-end tests and the demo stand on: real processes on loopback, and what they leave behind.
//!
//! ```text
//! caller ──► Envoy (plugin.wasm) ──► service        process   one program: start, stdout file, end
//!              │ stdout │ OTLP                      envoy     Envoy, filled-in configurations
//!              ▼        ▼                           exporter  the exporter; store: what it answers
//!            lines    exporter ──► store            service   an echo in this process; the demo's service
//!                                                   cases     the table of headers, as both ends see it
//!                                                   hop       one Envoy in front of the echo
//!                                                   mesh      two services with their sidecars
//!                                                   compose   the same in containers
//!                                                   image     the module as an image, bills of materials
//!                                                   proxy     one Envoy, many listeners, for tables of cases,
//!                                                             between an origin that behaves by path and a
//!                                                             collector that answers as it is told (wire: HTTP
//!                                                             by hand)
//! ```
//!
//! Nothing here outlives its owner: each program is ended when its value is dropped, and by the kernel when
//! the process that started it is killed.

mod error;
mod os;

pub mod bench;
pub mod cases;
pub mod collector;
pub mod compose;
pub mod delivery;
pub mod demo;
pub mod envoy;
pub mod exporter;
pub mod figures;
pub mod hop;
pub mod http2;
pub mod image;
pub mod ingest;
pub mod lines;
pub mod mesh;
pub mod origin;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod rotel;
pub mod service;
pub mod store;
pub mod w3c;
pub mod wait;
pub mod wire;

pub use error::{Error, Result};
