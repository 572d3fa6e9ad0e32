//! A bounded queue in front of a writer that may block.
//!
//! ```text
//!  write ───────────┐
//!  write_then ──────┼──► bounded queue ──► thread ──► writer
//!  write_and_wait ──┘      │ if full: dropped, counted  ▲
//!                          └──── number of drops ───────┘ at most once a second under load
//! ```
//!
//! Invariant: only [`QueuedWriter::write_and_wait`] and [`QueuedWriter::flush`] wait, and never longer than their
//! timeout.
//!
//! Invariant: every dropped line is reported by a later line, unless the process ends before or the writer never works
//! again.
//!
//! Invariant: [`stdout`] never leaves half of a line between two others: it continues a line where the last write
//! stopped, or drops it whole.
//!
//! ```
//! use std::sync::mpsc::channel;
//! use std::time::Duration;
//!
//! use logtracer_output::QueuedWriter;
//!
//! let (lines, written) = channel();
//! let writer = QueuedWriter::start(
//!     "log",
//!     1000,
//!     move |line| lines.send(line.to_vec()).map_err(std::io::Error::other),
//!     |dropped| format!("dropped log lines: {dropped}\n").into_bytes(),
//! )?;
//! writer.write(b"ready\n".to_vec());
//! assert!(writer.flush(Duration::from_secs(10)));
//! assert_eq!(written.recv().unwrap(), b"ready\n");
//! # Ok::<(), std::io::Error>(())
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod queue;
pub mod stdout;
mod whole_batches;
mod whole_lines;

pub use queue::{QueuedWriter, WaitError};
pub use whole_batches::WholeBatches;
pub use whole_lines::{WholeLines, WriteError};
