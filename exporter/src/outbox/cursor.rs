//! Where one sink stands in the outbox.

use tokio::sync::oneshot;

use super::Outbox;
use super::batch::{Signal, Subscription};
use super::writer::Command;
use crate::metrics::Tally;

/// The cursor of one sink, to be moved on as the sink gets ahead.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    outbox: Outbox,
    sink: usize,
    subscription: Subscription,
}

/// Items of one batch that have met their fate.
#[derive(Debug, Clone)]
pub(crate) struct Passed {
    /// Of the batch.
    pub(crate) id: i64,
    pub(crate) signal: Signal,
    pub(crate) items: u64,
    /// What counts them.
    pub(crate) tally: Tally,
}

impl Cursor {
    pub(super) fn new(outbox: Outbox, sink: usize, subscription: Subscription) -> Self {
        Self { outbox, sink, subscription }
    }

    /// Whether the sink takes batches of this signal; others it passes over.
    pub(crate) fn takes(&self, signal: Signal) -> bool {
        self.subscription.takes(signal)
    }

    /// The id of the last batch that the sink has passed.
    pub(crate) fn position(&self) -> i64 {
        self.outbox.state.cursors.borrow().get(self.sink).copied().unwrap_or(0)
    }

    /// Notes that the sink has passed the batches up to this id, and counts what has become of them.
    ///
    /// What the outbox has given up in the meantime is counted as that, and not here.
    pub(crate) async fn advance(&self, to: i64, passed: Vec<Passed>) -> Result<(), String> {
        let closed = |_| "the outbox is closed".to_owned();
        let (reply, done) = oneshot::channel();
        let command = Command::Advance { sink: self.sink, to, passed, reply };
        self.outbox.commands.send(command).await.map_err(|_| closed(()))?;
        done.await.map_err(|_| closed(()))?
    }
}
