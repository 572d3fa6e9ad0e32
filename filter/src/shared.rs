//! [`Shared`]: state that roots of a worker share, found by a key.

use std::rc::{Rc, Weak};

/// The shared states of a worker by their keys. A state ends with the last root that uses it.
#[derive(Debug)]
pub(crate) struct Shared<K, T>(Vec<(K, Weak<T>)>);

impl<K: PartialEq, T> Shared<K, T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns the state of this key, or a new one if no root uses it.
    pub(crate) fn get(&mut self, key: K, new: impl FnOnce() -> T) -> Rc<T> {
        self.0.retain(|(_, state)| state.strong_count() > 0);
        let known = self.0.iter().find(|(known, _)| *known == key);
        known.and_then(|(_, state)| state.upgrade()).unwrap_or_else(|| {
            let state = Rc::new(new());
            self.0.push((key, Rc::downgrade(&state)));
            state
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_lives_as_long_as_it_is_used() {
        let mut shared = Shared::<&str, u8>::new();
        let first = shared.get("a", || 1);
        assert!(Rc::ptr_eq(&first, &shared.get("a", || 2)));
        assert_eq!(*shared.get("b", || 3), 3);
        drop(first);
        assert_eq!(*shared.get("a", || 4), 4);
        assert_eq!(shared.0.len(), 1);
    }
}
