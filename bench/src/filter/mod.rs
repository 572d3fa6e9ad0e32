//! What Envoy needs for a request, plain and with each of the features that are compared.
//!
//! ```text
//! h2load ──► Envoy (one for each set-up) ──► one Envoy as service and collector
//! ```
//!
//! - [`time`]: CPU time, in many short rounds;
//! - [`instructions`]: counted by callgrind, which is slow, but does not depend on other work of the machine;
//! - [`memory`]: resident memory after a load, and the sizes of the files;
//! - [`growth`]: how the cost grows with connections, workers and headers, as curves;
//! - [`report`]: the tables.
//!
//! Only ratios and numbers of instructions are comparable between machines. At the end each Envoy must have written its
//! lines and sent its spans.

mod cpu;
mod fleet;
pub mod growth;
pub mod instructions;
pub mod memcheck;
pub mod memory;
mod profile;
pub mod report;
pub(crate) mod setup;
pub mod time;

use std::path::PathBuf;

use crate::h2load::Load;
pub use setup::{Setup, Work};

/// The amount of load.
#[derive(Debug, Clone)]
pub struct Effort {
    /// Requests to each Envoy in each round.
    pub requests: u64,
    /// Rounds; a result is their median.
    pub rounds: usize,
    /// Requests to each Envoy while its instructions are counted.
    pub counted_requests: u64,
    /// The module of an empty filter.
    pub empty_filter: PathBuf,
}

/// A load of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// An Envoy that serves many requests at a time.
    Busy,
    /// An Envoy that is woken for each request.
    Idle,
}

impl Traffic {
    /// Every load.
    pub const ALL: [Traffic; 2] = [Traffic::Busy, Traffic::Idle];

    /// The number of connections, each of which has one request at a time.
    pub const fn connections(self) -> u16 {
        match self {
            Traffic::Busy => 16,
            Traffic::Idle => 1,
        }
    }

    pub(crate) const fn load(self) -> Load {
        Load::of(self.connections())
    }
}
