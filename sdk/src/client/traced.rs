//! [`traced()`]: calls to peers that know nothing of tracing.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;

use crate::errors::Failure;
use crate::targets;

/// Runs a call to a peer that knows nothing of tracing (a database, a third party): two lines, and a client span.
///
/// The call belongs to the trace in which `traced` is called, also where it is spawned as a task of its own; where
/// there is none, to that in which it is polled.
/// The span needs the feature `spans` and its export; it is what shows the time of a call whose other end records
/// nothing. The future itself is not changed: it sends no trace headers unless it is told to.
///
/// The second line says that the call returned, whatever it returned, or that it was cancelled, when the future is
/// dropped before; [`try_traced`] looks at the outcome.
///
/// ```
/// use logtracer_sdk::client::traced;
/// use logtracer_sdk::testing::capture_async;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (answer, lines) = capture_async(traced("payments", async { 42 })).await;
/// assert_eq!(answer, 42);
/// assert_eq!(lines[0]["message"], "test - OUTBOUND - payments");
/// assert_eq!(lines[1]["message"], "test - returned - payments");
/// # });
/// ```
pub fn traced<F: Future>(name: impl Into<Cow<'static, str>>, call: F) -> impl Future<Output = F::Output> {
    within(name.into(), call, |_| Ok(()))
}

/// [`traced()`] for a call that can fail: the second line is a WARNING with the error and its causes, and the span
/// has failed.
///
/// ```
/// use logtracer_sdk::client::try_traced;
/// use logtracer_sdk::testing::capture_async;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let call = async { Err::<(), _>(std::io::Error::other("connection refused")) };
/// let (answer, lines) = capture_async(try_traced("payments", call)).await;
/// assert!(answer.is_err());
/// assert_eq!(lines[1]["severity"], "WARNING");
/// assert_eq!(lines[1]["message"], "test - failed - payments: connection refused");
/// # });
/// ```
pub fn try_traced<F, T, E>(name: impl Into<Cow<'static, str>>, call: F) -> impl Future<Output = Result<T, E>>
where
    F: Future<Output = Result<T, E>>,
    E: fmt::Display + 'static,
{
    within(name.into(), call, |outcome| {
        outcome.as_ref().map(|_| ()).map_err(|error| Failure(error).to_string())
    })
}

fn within<F: Future>(
    name: Cow<'static, str>,
    call: F,
    look: impl FnOnce(&F::Output) -> Result<(), String>,
) -> impl Future<Output = F::Output> {
    #[cfg(feature = "spans")]
    let (span, failure) = crate::spans::span(name.clone()).client();
    let call = async move {
        tracing::info!(target: targets::CLIENT, "OUTBOUND - {name}");
        let unfinished = Unfinished(&name);
        let output = call.await;
        std::mem::forget(unfinished);
        match look(&output) {
            Ok(()) => tracing::info!(target: targets::CLIENT, "returned - {name}"),
            Err(error) => {
                #[cfg(feature = "spans")]
                failure.store(true, std::sync::atomic::Ordering::Relaxed);
                tracing::warn!(target: targets::CLIENT, "failed - {name}: {error}");
            }
        }
        output
    };
    #[cfg(feature = "spans")]
    return begun(span, call);
    #[cfg(not(feature = "spans"))]
    return crate::FutureExt::in_current_trace(call);
}

/// Begins the span in the trace of whoever makes the call; where there is none, in that of whoever polls it.
#[cfg(feature = "spans")]
fn begun<F: Future>(span: crate::spans::SpanBuilder, call: F) -> impl Future<Output = F::Output> {
    let begun = match crate::current_trace() {
        Some(_) => Ok(span.around(call)),
        None => Err((span, call)),
    };
    async move {
        match begun {
            Ok(call) => call.await,
            Err((span, call)) => span.around(call).await,
        }
    }
}

/// A call that is given up has its second line, too.
struct Unfinished<'a>(&'a str);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // A panic has a line of its own.
        if !std::thread::panicking() {
            tracing::info!(target: targets::CLIENT, "cancelled - {}", self.0);
        }
    }
}
