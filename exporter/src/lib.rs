//! The service behind the filter: it receives spans and log records, commits them to disk, and delivers them to each sink.
//!
//! ```text
//!  OTLP, Zipkin ──► receive ──► outbox (SQLite, one writer) ──► deliver ──► sink ──► backends
//!                      ▲           │                 one task and one cursor  │
//!                      └── 200 ◄───┘ committed       for each sink            ▼
//!                                                  log files ──► tail ──► store ──► view (pages, JSON API, metrics)
//! ```
//!
//! `keep` decides which traces the sinks with rules get, before `deliver` reads them.
//!
//! Invariant: a request gets a success response only after its items are committed to the outbox
//! (`kill_after_acknowledgement_loses_nothing` in `tests/it/`).
//!
//! Invariant: imports point downward, from `service` to `sink`, `deliver`, `outbox` and `store`, and `otlp`
//! (`layers_import_only_downward`).
//!
//! The crate is the program `logtracer-exporter`: [`Config`] has its options, [`run`] runs it.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![forbid(unsafe_code)]

mod clock;
mod config;
mod deliver;
mod error_chain;
mod file_watch;
mod health;
mod keep;
mod listen;
mod log;
mod maintenance;
mod metrics;
mod module;
mod otlp;
mod outbox;
mod receive;
mod reload;
mod service;
mod shutdown;
mod sink;
mod storage;
mod store;
mod tail;
mod terminal;
mod truncate;
mod view;

pub use config::{Command, Config, SinkPart, SinkSignal, SinkSpec};
pub use deliver::dead_letters::command::{DeadLettersCommand, Which};
pub use keep::{Rule, RuleList};
pub use service::run;
pub use sink::google::{Auth, ProjectId};
pub use terminal::{LogsOptions, OpenOptions, Output, TraceOptions, TracesOptions};
