//! Names of traces and services, which are truncated.

use std::borrow::Cow;

/// Longer names of traces and services are truncated.
const MAX_NAME_CHARS: usize = 200;

/// Truncates a name of a trace or a service. A truncated one ends with an ellipsis.
pub(super) fn short(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(MAX_NAME_CHARS).and_then(|(end, _)| name.get(..end)) {
        Some(start) => format!("{start}…").into(),
        None => name.into(),
    }
}
