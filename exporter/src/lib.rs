//! The service behind the filter: it takes spans and log records, commits them to disk, and delivers them to each sink.
//!
//! ```text
//!  OTLP, Zipkin ──► receive ──► outbox (SQLite, one writer) ──► deliver ──► sink/store ◄── tail ◄── log files
//!                      ▲           │                        one task for each sink, │
//!                      └── 200 ◄───┘ committed              its own cursor          ▼
//!                                                                                  view (pages, JSON API, metrics)
//! ```
//!
//! Invariant: a request is answered with success only after its spans are committed to the outbox
//! (held by `kill_after_acknowledgement_loses_nothing` in `tests/it/`).
//!
//! The crate is the program `logtracer-exporter`; [`Config`] are its options and [`run`] is all that it does.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![forbid(unsafe_code)]

mod clock;
mod config;
mod deliver;
mod error_chain;
mod health;
mod listen;
mod log;
mod maintenance;
mod metrics;
mod otlp;
mod outbox;
mod receive;
mod reload;
mod service;
mod shutdown;
mod sink;
mod stdout;
mod storage;
mod store;
mod tail;
mod truncate;
mod view;

pub use config::{Command, Config, SinkSpec};
pub use deliver::dead_letters::command::{DeadLetters, Which};
pub use service::run;
pub use sink::google::{Auth, ProjectId};
