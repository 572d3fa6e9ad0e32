//! [`RequestMessage`]: the message of a gRPC request, shared between the body that reads it and the log lines.

use std::sync::OnceLock;

use super::{RequestLog, lines};
use crate::current::Scope;
use crate::targets;

/// The first message of a gRPC request; set once, to `None` if there is none.
#[derive(Debug)]
#[cfg_attr(not(feature = "tonic"), allow(dead_code))]
pub(crate) struct RequestMessage {
    requests: RequestLog,
    /// The trace of the request: another task may read its body.
    scope: Scope,
    path: String,
    text: OnceLock<Option<String>>,
}

#[cfg_attr(not(feature = "tonic"), allow(dead_code))]
impl RequestMessage {
    pub(crate) fn new(requests: RequestLog, scope: Scope, path: &str) -> Self {
        Self { requests, scope, path: path.to_owned(), text: OnceLock::new() }
    }

    /// Returns false if no line with the message can be enabled.
    pub(crate) fn is_logged(&self) -> bool {
        match self.requests {
            RequestLog::Pair => tracing::enabled!(target: targets::SERVER, tracing::Level::INFO),
            // The level of the single line depends on the outcome of the call.
            _ => tracing::enabled!(target: targets::SERVER, tracing::Level::ERROR),
        }
    }

    /// Sets the text of the message if it is not set, and logs the first line of a [`RequestLog::Pair`].
    pub(crate) fn set(&self, text: Option<String>) {
        if self.text.set(text).is_ok() && self.requests == RequestLog::Pair {
            self.scope.clone().run(|| lines::received(&self.path, self.text()));
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.text.get().and_then(Option::as_deref)
    }
}
