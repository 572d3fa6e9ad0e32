//! [`Slots`]: how many views are in progress at a time. The others wait in the order of their arrival, for a limited time.
//!
//! While one waits, the clients that have taken nothing for the longest time are cut off.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The number of views in progress. Each takes about 1 MiB.
const SLOTS: usize = 32;

/// Further views are rejected at once.
const MAX_WAITING: usize = 128;

/// How long a view waits for a slot.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A client that takes no piece for this time is cut off.
const STALL: Duration = Duration::from_secs(15);

/// While other views wait, a client is cut off if it takes no piece for this time.
const STALL_WHILE_OTHERS_WAIT: Duration = Duration::from_secs(2);

/// How often a waiting view looks for a client to cut off.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, Clone)]
pub(super) struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    semaphore: Arc<Semaphore>,
    max_wait: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    active: BTreeMap<u64, Active>,
    last_id: u64,
}

#[derive(Debug)]
struct Active {
    /// Since when the view waits for its client.
    idle_since: Option<Instant>,
    cut_off: Arc<Notify>,
    is_cut_off: bool,
}

/// A slot. Dropping it lets the next view in.
#[derive(Debug)]
pub(super) struct Admission {
    slots: Slots,
    id: u64,
    cut_off: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

/// No slot is free.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// The client takes what it asked for too slowly.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slow;

impl Default for Slots {
    fn default() -> Self {
        Self::new(SLOTS, MAX_WAIT)
    }
}

impl Slots {
    fn new(slots: usize, max_wait: Duration) -> Self {
        let semaphore = Arc::new(Semaphore::new(slots));
        Self(Arc::new(Shared { semaphore, max_wait, state: Mutex::default() }))
    }

    /// Waits for a slot.
    pub(super) async fn admit(&self) -> Result<Admission, Busy> {
        let semaphore = &self.0.semaphore;
        if let Ok(permit) = semaphore.clone().try_acquire_owned() {
            return Ok(self.admission(permit));
        }
        let _waiting = Waiting::join(self)?;
        let mut check = tokio::time::interval(CHECK_INTERVAL);
        let acquired = semaphore.clone().acquire_owned();
        let deadline = tokio::time::sleep(self.0.max_wait);
        tokio::pin!(acquired, deadline);
        loop {
            tokio::select! {
                biased;
                permit = &mut acquired => return permit.map(|permit| self.admission(permit)).map_err(|_| Busy),
                () = &mut deadline => return Err(Busy),
                _ = check.tick() => self.lock().cut_off_slow(),
            }
        }
    }

    fn admission(&self, permit: OwnedSemaphorePermit) -> Admission {
        let cut_off = Arc::new(Notify::new());
        let mut state = self.lock();
        state.last_id += 1;
        let id = state.last_id;
        let active = Active { idle_since: None, cut_off: cut_off.clone(), is_cut_off: false };
        state.active.insert(id, active);
        drop(state);
        Admission { slots: self.clone(), id, cut_off, _permit: permit }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission {
    /// Waits until the client has taken something.
    pub(super) async fn taken<T>(&self, taken: impl Future<Output = T>) -> Result<T, Slow> {
        self.set_idle_since(Some(Instant::now()));
        let result = tokio::select! {
            biased;
            taken = tokio::time::timeout(STALL, taken) => taken.map_err(|_| Slow),
            () = self.cut_off.notified() => Err(Slow),
        };
        self.set_idle_since(None);
        result
    }

    fn set_idle_since(&self, since: Option<Instant>) {
        if let Some(active) = self.slots.lock().active.get_mut(&self.id) {
            active.idle_since = since;
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.slots.lock().active.remove(&self.id);
    }
}

/// A place in the queue.
struct Waiting<'a>(&'a Slots);

impl<'a> Waiting<'a> {
    fn join(slots: &'a Slots) -> Result<Self, Busy> {
        let mut state = slots.lock();
        if state.waiting >= MAX_WAITING {
            return Err(Busy);
        }
        state.waiting += 1;
        Ok(Self(slots))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl State {
    /// Cuts off as many clients as there are waiting views, the one that has taken nothing for the longest time first.
    fn cut_off_slow(&mut self) {
        let ending = self.active.values().filter(|active| active.is_cut_off).count();
        for _ in ending..self.waiting {
            let slow = self.active.values_mut().filter(|active| !active.is_cut_off);
            let idle = slow.filter_map(|active| Some((active.idle_since?, active)));
            let Some((since, first)) = idle.min_by_key(|(since, _)| *since) else { return };
            if since.elapsed() < STALL_WHILE_OTHERS_WAIT {
                return;
            }
            first.is_cut_off = true;
            first.cut_off.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_view_waits_for_a_limited_time() {
        let slots = Slots::new(1, Duration::from_millis(300));
        let first = slots.admit().await.unwrap();
        assert!(matches!(slots.admit().await, Err(Busy)));
        let (second, third) = (slots.admit(), slots.admit());
        tokio::pin!(second, third);
        let none_yet = tokio::select! { biased; _ = &mut second => false, _ = &mut third => false, () = std::future::ready(()) => true };
        assert!(none_yet);
        drop(first);
        let second = tokio::select! { biased; third = &mut third => panic!("{third:?}"), second = &mut second => second.unwrap() };
        drop(second);
        third.await.unwrap();
        let state = slots.lock();
        assert_eq!((state.waiting, state.active.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_long_queue_is_rejected_at_once() {
        let slots = Slots::new(0, MAX_WAIT);
        let all: Vec<_> = (0..MAX_WAITING).map(|_| Waiting::join(&slots).ok().unwrap()).collect();
        assert!(matches!(slots.admit().await, Err(Busy)));
        drop(all);
        assert_eq!(slots.lock().waiting, 0);
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut_off_for_one_that_waits() {
        let slots = Slots::new(2, MAX_WAIT);
        let (silent, working) = (slots.admit().await.unwrap(), slots.admit().await.unwrap());
        let start = Instant::now();
        let silent = tokio::spawn(async move { silent.taken(std::future::pending::<()>()).await });
        let other = slots.admit().await.unwrap();
        assert!((STALL_WHILE_OTHERS_WAIT..2 * STALL_WHILE_OTHERS_WAIT).contains(&start.elapsed()));
        assert_eq!(silent.await.unwrap(), Err(Slow));
        assert_eq!(working.taken(async { 1 }).await, Ok(1), "it was never idle");
        drop(other);
    }
}
