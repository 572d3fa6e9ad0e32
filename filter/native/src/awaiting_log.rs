//! Hands a stream over from the HTTP filter to the access logger, which Envoy calls next on the same thread.
//!
//! Envoy logs some streams late, after the ends of others (HTTP/3). Filter and logger see the same header map, so the
//! address of its `:path` identifies the stream.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use logtracer_filter::Stream;

use crate::instance::{Instance, Worker};

/// A stream between the end of its filter and its line.
pub(crate) struct AwaitingLog {
    /// The address of the bytes of `:path`; 0 without headers.
    pub(crate) path: usize,
    /// When its filter was created, in nanoseconds since 1970.
    pub(crate) created_at: u64,
    pub(crate) stream: Stream,
    pub(crate) worker: Arc<Worker>,
    /// Keeps the root alive until the stream is logged.
    pub(crate) _instance: Arc<Instance>,
}

/// The maximum number of streams of a thread that wait. Without an access logger, none is ever taken.
const MAX_WAITING: usize = 256;

thread_local! {
    static WAITING: RefCell<VecDeque<AwaitingLog>> = const { RefCell::new(VecDeque::new()) };
}

/// Hands a stream over. Returns false if it replaces one that waits for too long.
pub(crate) fn put(added: AwaitingLog) -> bool {
    WAITING.with_borrow_mut(|waiting| {
        let is_full = waiting.len() >= MAX_WAITING;
        if is_full {
            waiting.pop_front();
        }
        waiting.push_back(added);
        !is_full
    })
}

/// Takes the stream with this path that started at this time, in nanoseconds since 1970.
///
/// The address of a path can be that of an earlier stream that was never taken, because Envoy did not log it. The filter of
/// that one was created before this stream started. Of several filters of a stream, the one that has seen its headers
/// counts, or else the first.
pub(crate) fn take(path: usize, started_at: u64) -> Option<AwaitingLog> {
    WAITING.with_borrow_mut(|waiting| {
        let is_it = |known: &AwaitingLog| known.path == path && known.created_at >= started_at;
        let with_headers = waiting.iter().rposition(|known| is_it(known) && known.stream.has_headers());
        let other =
            || if path == 0 { waiting.iter().rposition(is_it) } else { waiting.iter().position(is_it) };
        let index = with_headers.or_else(other)?;
        let taken = waiting.remove(index);
        if path != 0 {
            waiting.retain(|known| !is_it(known));
        }
        taken
    })
}
