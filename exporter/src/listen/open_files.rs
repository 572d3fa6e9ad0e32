//! The limit of open files, which bounds the number of connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::log::{self, Value};

/// The open files that are not connections: databases, files of lines, and the connections of sinks.
const OTHER_FILES: usize = 512;

/// Below this number, the limit of open files is reached before that of memory.
const ENOUGH: usize = 10_000 + OTHER_FILES;

/// Raises the soft limit of this process to the hard one. Returns the number of connections that fit in it.
pub(super) fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = if raised.is_ok() { limit.maximum } else { limit.current };
    let files = now.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    if files < ENOUGH {
        log::warn(
            "the limit of open files bounds the number of connections: raise its hard limit (ulimit -Hn)",
            &[("open_files", Value::U64(files as u64))],
        );
    }
    files.saturating_sub(OTHER_FILES).max(files / 2)
}
