//! Locks that ignore a panic of an earlier holder.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex. What it guards is valid after each statement of its holders, so that a panic leaves it valid.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
