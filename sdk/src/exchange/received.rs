//! [`Received`]: the message of a gRPC request, between the one who reads it and the lines that tell it.

use std::sync::OnceLock;

use super::{RequestLog, lines};
use crate::current::Scope;
use crate::targets;

/// What a gRPC call has brought; set once, by whoever knows first that there is a message or that there will be none.
#[derive(Debug)]
#[cfg_attr(not(feature = "tonic"), allow(dead_code))]
pub(crate) struct Received {
    requests: RequestLog,
    /// Of the request: its body may be read in another task.
    scope: Scope,
    path: String,
    message: OnceLock<Option<String>>,
}

#[cfg_attr(not(feature = "tonic"), allow(dead_code))]
impl Received {
    pub(crate) fn new(requests: RequestLog, scope: Scope, path: &str) -> Self {
        Self { requests, scope, path: path.to_owned(), message: OnceLock::new() }
    }

    /// False where no line would tell the message.
    pub(crate) fn is_wanted(&self) -> bool {
        match self.requests {
            RequestLog::Pair => tracing::enabled!(target: targets::SERVER, tracing::Level::INFO),
            // The level of the one line is known when the call is over.
            _ => tracing::enabled!(target: targets::SERVER, tracing::Level::ERROR),
        }
    }

    /// Says what the message is; the first of the two lines of a call is written now.
    pub(crate) fn tell(&self, message: Option<String>) {
        if self.message.set(message).is_ok() && self.requests == RequestLog::Pair {
            self.scope.clone().entered(|| lines::received(&self.path, self.message()));
        }
    }

    pub(super) fn message(&self) -> Option<&str> {
        self.message.get().and_then(Option::as_deref)
    }
}
