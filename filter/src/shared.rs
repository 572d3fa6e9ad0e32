//! [`Shared`]: state that roots of a process share, found by a key.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The shared states of a process by their keys. A state ends with the last root that uses it.
#[derive(Debug)]
pub(crate) struct Shared<K, T>(Mutex<Vec<(K, Weak<T>)>>);

impl<K: PartialEq, T> Shared<K, T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Returns the state of this key, or a new one if no root uses it.
    pub(crate) fn get(&self, key: K, new: impl FnOnce() -> T) -> Arc<T> {
        let mut states = lock(&self.0);
        states.retain(|(_, state)| state.strong_count() > 0);
        let known = states.iter().find(|(known, _)| *known == key);
        known.and_then(|(_, state)| state.upgrade()).unwrap_or_else(|| {
            let state = Arc::new(new());
            states.push((key, Arc::downgrade(&state)));
            state
        })
    }
}

/// Locks a mutex. Nothing that it guards is left half changed by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_lives_as_long_as_it_is_used() {
        let shared = Shared::<&str, u8>::new();
        let first = shared.get("a", || 1);
        assert!(Arc::ptr_eq(&first, &shared.get("a", || 2)));
        assert_eq!(*shared.get("b", || 3), 3);
        drop(first);
        assert_eq!(*shared.get("a", || 4), 4);
        assert_eq!(lock(&shared.0).len(), 1);
    }
}
