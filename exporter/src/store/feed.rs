//! What was stored last, for live views.
//!
//! ```text
//!  a transaction commits ──► Feed, a bounded buffer ──► Subscription of each live view
//! ```
//!
//! Nothing is noted and buffered while nobody has subscribed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::query::LineCursor;

/// What a transaction has stored.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The traces with new spans or lines.
    pub(super) traces: Vec<i64>,
    pub(super) lines: Vec<LineCursor>,
}

/// A change of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The trace with this number has new spans or lines.
    Trace(i64),
    Line(LineCursor),
}

/// The newest changes. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    subscribers: AtomicUsize,
    changes: Mutex<Changes>,
    /// The number of changes so far.
    count: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Changes {
    newest: VecDeque<Change>,
    count: u64,
}

/// Earlier changes are forgotten.
const MAX_CHANGES: usize = 8192;

impl Feed {
    pub(super) fn new() -> Self {
        let changes = Mutex::default();
        Self(Arc::new(Shared { subscribers: AtomicUsize::new(0), changes, count: watch::Sender::new(0) }))
    }

    /// Returns where a transaction notes what it stores, if somebody has subscribed.
    pub(super) fn notes(&self) -> Option<Written> {
        (self.0.subscribers.load(Ordering::Relaxed) > 0).then(Written::default)
    }

    /// Publishes what was committed. `None` means that it is unknown.
    pub(super) fn publish(&self, written: Option<Written>) {
        if self.0.subscribers.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut changes = self.lock();
        let Some(Written { traces, lines }) = written else {
            // Somebody has subscribed since the transaction began, and misses this change.
            changes.newest.clear();
            changes.count += 1;
            let count = changes.count;
            drop(changes);
            self.0.count.send_replace(count);
            return;
        };
        if traces.is_empty() && lines.is_empty() {
            return;
        }
        let new = traces.into_iter().map(Change::Trace).chain(lines.into_iter().map(Change::Line));
        for change in new {
            if changes.newest.len() >= MAX_CHANGES {
                changes.newest.pop_front();
            }
            changes.newest.push_back(change);
            changes.count += 1;
        }
        let count = changes.count;
        drop(changes);
        self.0.count.send_replace(count);
    }

    pub(super) fn subscribe(&self) -> Subscription {
        self.0.subscribers.fetch_add(1, Ordering::Relaxed);
        let position = self.lock().count;
        Subscription { feed: self.clone(), position, count: self.0.count.subscribe() }
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.0.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The changes since it began. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Subscription {
    feed: Feed,
    position: u64,
    count: watch::Receiver<u64>,
}

impl Subscription {
    /// Waits for a change that [`Self::take`] has not returned.
    pub(crate) async fn changed(&mut self) {
        let position = self.position;
        // The feed has the sender, so it is not closed.
        let _ = self.count.wait_for(|count| *count > position).await;
    }

    /// Returns the changes since the last call, each once, and whether some of them were forgotten.
    pub(crate) fn take(&mut self) -> (Vec<Change>, bool) {
        let changes = self.feed.lock();
        let new = changes.count.saturating_sub(self.position);
        let known = usize::try_from(new).unwrap_or(usize::MAX).min(changes.newest.len());
        let mut taken: Vec<Change> = Vec::with_capacity(known);
        let mut traces = std::collections::HashSet::new();
        for change in changes.newest.iter().skip(changes.newest.len() - known) {
            match change {
                Change::Trace(seq) if !traces.insert(*seq) => {}
                _ => taken.push(*change),
            }
        }
        self.position = changes.count;
        (taken, new > known as u64)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.feed.0.subscribers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.feed.lock().newest.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(traces: impl IntoIterator<Item = i64>) -> Option<Written> {
        Some(Written { traces: traces.into_iter().collect(), lines: Vec::new() })
    }

    #[tokio::test]
    async fn a_subscription_has_the_changes_since_it_began() {
        let feed = Feed::new();
        assert!(feed.notes().is_none());
        feed.publish(traces([1]));
        let mut first = feed.subscribe();
        feed.publish(traces([2, 3]));
        let mut second = feed.subscribe();
        feed.publish(traces([2]));
        first.changed().await;
        assert_eq!(first.take(), (vec![Change::Trace(2), Change::Trace(3)], false));
        assert_eq!(second.take(), (vec![Change::Trace(2)], false));
        assert_eq!(second.take(), (vec![], false));
        drop((first, second));
        assert!(feed.notes().is_none() && feed.lock().newest.is_empty());
    }

    #[tokio::test]
    async fn a_subscription_that_began_during_a_transaction_misses_its_changes_knowingly() {
        let feed = Feed::new();
        let notes = feed.notes();
        let mut subscription = feed.subscribe();
        feed.publish(notes);
        subscription.changed().await;
        assert_eq!(subscription.take(), (vec![], true));
        assert!(feed.notes().is_some());
        feed.publish(traces([1]));
        assert_eq!(subscription.take(), (vec![Change::Trace(1)], false));
    }

    #[test]
    fn the_number_of_changes_is_bounded() {
        let feed = Feed::new();
        let mut slow = feed.subscribe();
        (0..10).for_each(|n| feed.publish(traces(n * 1000..(n + 1) * 1000)));
        let (taken, is_incomplete) = slow.take();
        assert_eq!((taken.len(), is_incomplete), (MAX_CHANGES, true));
        assert_eq!(taken.last(), Some(&Change::Trace(9999)));
        assert_eq!(slow.take(), (vec![], false));
    }
}
