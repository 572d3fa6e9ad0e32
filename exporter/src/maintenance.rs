//! What is to be done again and again beside receiving and delivering: holding the outbox and the store to their bounds,
//! and telling of sinks that lag behind.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::clock::unix_millis;
use crate::log::{self, Severity, Value};
use crate::outbox::Outbox;
use crate::shutdown::Shutdown;
use crate::storage::DiskReserve;
use crate::store::{Retention, Store};

const INTERVAL: Duration = Duration::from_secs(10);

/// On a full disk the outbox looks more often for what it can give back.
const INTERVAL_WITHOUT_ROOM: Duration = Duration::from_secs(1);

/// A sink lags behind when it has so many batches to go, and more each time.
const LAG_BATCHES: i64 = 100;

/// What is kept in order.
pub(crate) struct Maintenance {
    pub(crate) outbox: Outbox,
    pub(crate) sinks: Arc<[String]>,
    pub(crate) store: Store,
    pub(crate) retention: Retention,
    pub(crate) reserve: DiskReserve,
}

impl Maintenance {
    /// Keeps it until the shutdown.
    pub(crate) async fn keep(self, mut stop: Shutdown) {
        tokio::select! {
            () = stop.begun() => {}
            () = self.rounds() => {}
        }
    }

    async fn rounds(&self) {
        let mut interval = tokio::time::interval(INTERVAL);
        let mut lags = Lags::default();
        loop {
            while timeout(INTERVAL_WITHOUT_ROOM, interval.tick()).await.is_err() {
                if self.reserve.is_full() {
                    self.outbox.expire(unix_millis()).await;
                }
            }
            // What has kept the reserve away may be gone.
            self.reserve.recover();
            self.outbox.expire(unix_millis()).await;
            self.tell_lags(&mut lags);
            let (store, retention) = (self.store.clone(), self.retention);
            let enforced = tokio::task::spawn_blocking(move || store.enforce(&retention, unix_millis()));
            if let Ok(Err(error)) = enforced.await {
                log::repeated(
                    Severity::Warning,
                    "cannot shrink the store",
                    &[("error", Value::Str(&error.to_string()))],
                );
            }
        }
    }

    fn tell_lags(&self, lags: &mut Lags) {
        let oldest_ms = self.outbox.oldest_ms().map_or(0, |oldest| (unix_millis() - oldest).max(0));
        for (sink, batches) in lags.growing(self.outbox.lags()) {
            let sink = self.sinks.get(sink).map(String::as_str).unwrap_or_default();
            let fields = [
                ("sink", Value::Str(sink)),
                ("batches", Value::I64(batches)),
                ("oldest_seconds", Value::I64(oldest_ms / 1000)),
            ];
            log::repeated(Severity::Warning, "a sink lags behind", &fields);
        }
    }
}

/// How far each sink was behind.
#[derive(Debug, Default)]
struct Lags(Vec<i64>);

impl Lags {
    /// The sinks that are further behind than the last time, and how far.
    fn growing(&mut self, now: Vec<i64>) -> Vec<(usize, i64)> {
        let last = std::mem::replace(&mut self.0, now);
        let pairs = last.into_iter().zip(&self.0).enumerate();
        pairs
            .filter(|(_, (last, now))| **now >= LAG_BATCHES && *now > last)
            .map(|(sink, (_, now))| (sink, *now))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_told_while_it_grows() {
        let mut lags = Lags::default();
        for (now, told) in
            [([500, 0], &[][..]), ([501, 99], &[(0, 501)]), ([501, 100], &[(1, 100)]), ([400, 100], &[])]
        {
            assert_eq!(lags.growing(now.to_vec()), told, "{now:?}");
        }
    }
}
