//! tokio's `spawn` functions, in the current trace.

use std::future::Future;

use tokio::task::JoinHandle;

use crate::FutureExt;
use crate::current::Scope;

/// Spawns a task in the current trace, see [`tokio::spawn`].
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::{TraceContext, current_trace, spawn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let context = TraceContext::new_root();
/// let task = context.run(|| spawn(async { current_trace() }));
/// assert_eq!(task.await.unwrap(), Some(context));
/// # });
/// ```
///
/// # Panics
///
/// Panics outside of a tokio runtime, as `tokio::spawn` does.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future.in_current_trace())
}

/// Runs a closure on a blocking thread in the current trace, see [`tokio::task::spawn_blocking`].
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::{TraceContext, current_trace, spawn_blocking};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let context = TraceContext::new_root();
/// let task = context.run(|| spawn_blocking(current_trace));
/// assert_eq!(task.await.unwrap(), Some(context));
/// # });
/// ```
///
/// # Panics
///
/// Panics outside of a tokio runtime, as `spawn_blocking` does.
#[track_caller]
pub fn spawn_blocking<F, R>(f: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let mut scope = Scope::current();
    tokio::task::spawn_blocking(move || {
        let _entered = scope.as_mut().map(Scope::enter);
        f()
    })
}
