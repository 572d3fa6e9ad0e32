//! Where spans and log records go: each sink is a folder here, and all that [`crate::deliver`] knows of it is this trait.

pub(crate) mod store;

use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use crate::outbox::{Batch, Subscription};

/// A destination of spans.
pub(crate) trait Sink: Send + 'static {
    /// Hands batches over, in order; `Ok` means that the sink has all of them.
    ///
    /// The same batch can come again (after a crash, or when only a part was accepted): a sink dedups or tolerates
    /// that. The future may be dropped at shutdown, which counts as not accepted.
    fn deliver(&mut self, batches: &[Batch]) -> impl Future<Output = Result<(), DeliveryError>> + Send;
}

/// Why a sink did not take batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeliveryError {
    /// Later may be better; not before `after`, if the sink said so.
    Retry { reason: String, after: Option<Duration> },
    /// These batches, as they are, will never be accepted.
    Refused { reason: String },
}

/// The value of `--sink`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkName {
    /// The embedded store, which the viewer shows.
    Store,
}

impl SinkName {
    /// The name in options, metrics and the outbox.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Store => "store",
        }
    }

    /// What the sink wants of the outbox.
    pub(crate) fn subscription(&self) -> Subscription {
        let takes_logs = match self {
            Self::Store => true,
        };
        Subscription { sink: self.as_str().to_owned(), takes_logs }
    }
}

impl FromStr for SinkName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "store" => Ok(Self::Store),
            _ => Err(format!("there is no sink {text:?}; what exists: store")),
        }
    }
}
