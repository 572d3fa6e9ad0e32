//! Periodic maintenance: keeps the outbox and the store within their limits, and logs growing backlogs of sinks.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::clock::unix_millis;
use crate::log::{self, Value};
use crate::outbox::Outbox;
use crate::shutdown::Shutdown;
use crate::storage::DiskReserve;
use crate::store::{Retention, Store};

const INTERVAL: Duration = Duration::from_secs(10);

/// On a full disk, the outbox looks more often for space that it can free.
const DISK_FULL_INTERVAL: Duration = Duration::from_secs(1);

/// The minimum backlog, in batches, that is logged.
const MIN_BACKLOG_BATCHES: i64 = 100;

/// The periodic maintenance task.
pub(crate) struct Maintenance {
    pub(crate) outbox: Outbox,
    pub(crate) sinks: Arc<[String]>,
    pub(crate) store: Store,
    pub(crate) retention: Retention,
    pub(crate) reserve: DiskReserve,
}

impl Maintenance {
    /// Runs until the shutdown.
    pub(crate) async fn run(self, mut stop: Shutdown) {
        tokio::select! {
            () = stop.begun() => {}
            () = self.run_forever() => {}
        }
    }

    async fn run_forever(&self) {
        let mut interval = tokio::time::interval(INTERVAL);
        let mut backlogs = Backlogs::default();
        loop {
            while timeout(DISK_FULL_INTERVAL, interval.tick()).await.is_err() {
                if self.reserve.is_full() {
                    self.outbox.drop_expired(unix_millis()).await;
                }
            }
            // An error other than a full disk may have prevented the reserve, and may be gone now.
            let reserve = self.reserve.clone();
            // A panic in it is logged, and the next round tries again.
            let _ = tokio::task::spawn_blocking(move || reserve.try_restore()).await;
            self.outbox.drop_expired(unix_millis()).await;
            self.log_growing_backlogs(&mut backlogs);
            let (store, retention) = (self.store.clone(), self.retention);
            let evicted = tokio::task::spawn_blocking(move || store.evict(&retention, unix_millis()));
            if let Ok(Err(error)) = evicted.await {
                log::warn("failed to shrink the store", &[("error", Value::Str(&error.to_string()))]);
            }
        }
    }

    fn log_growing_backlogs(&self, backlogs: &mut Backlogs) {
        let oldest_ms = self.outbox.oldest_ms().map_or(0, |oldest| (unix_millis() - oldest).max(0));
        for (sink, batches) in backlogs.update(self.outbox.lags()) {
            let sink = self.sinks.get(sink).map(String::as_str).unwrap_or_default();
            let fields = [
                ("sink", Value::Str(sink)),
                ("batches", Value::I64(batches)),
                ("oldest_seconds", Value::I64(oldest_ms / 1000)),
            ];
            log::warn("sink backlog is growing", &fields);
        }
    }
}

/// The backlog of each sink at the last check.
#[derive(Debug, Default)]
struct Backlogs(Vec<i64>);

impl Backlogs {
    /// Replaces the backlogs. Returns the sinks whose backlog is large and has grown, and their backlogs.
    fn update(&mut self, now: Vec<i64>) -> Vec<(usize, i64)> {
        let last = std::mem::replace(&mut self.0, now);
        let pairs = last.into_iter().zip(&self.0).enumerate();
        pairs
            .filter(|(_, (last, now))| **now >= MIN_BACKLOG_BATCHES && *now > last)
            .map(|(sink, (_, now))| (sink, *now))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_reported_while_it_grows() {
        let mut backlogs = Backlogs::default();
        for (now, growing) in
            [([500, 0], &[][..]), ([501, 99], &[(0, 501)]), ([501, 100], &[(1, 100)]), ([400, 100], &[])]
        {
            assert_eq!(backlogs.update(now.to_vec()), growing, "{now:?}");
        }
    }
}
