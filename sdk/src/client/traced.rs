//! [`traced()`]: calls to peers without tracing.

use std::borrow::Cow;
use std::future::Future;

use super::ServiceError;
use crate::errors::{Failure, KnownErrors};
use crate::targets;

/// Runs a call to a peer without tracing, such as a database: two log lines, and a client span.
///
/// The call belongs to the trace that is current when `traced` is called, even if another task polls it; if there is
/// none, to the trace that is current when it is polled.
/// The span shows the time of a call that the peer does not record. It needs the feature `spans` and an exporter.
/// The future itself is not changed: `traced` adds no headers to its requests.
///
/// The second line is `returned`, whatever the output is. If the future is dropped before, it is `cancelled`, which is
/// also the `error.type` of the span.
/// For an output that is a `Result` use [`try_traced`], and for lines with a URL and a status [`peer`](super::peer).
///
/// ```
/// use logtracer_sdk::client::traced;
/// use logtracer_sdk::testing::capture_async;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (output, lines) = capture_async(traced("payments", async { 42 })).await;
/// assert_eq!(output, 42);
/// assert_eq!(lines[0]["message"], "test - OUTBOUND - payments");
/// assert_eq!(lines[1]["message"], "test - returned - payments");
/// # });
/// ```
pub fn traced<F: Future>(name: impl Into<Cow<'static, str>>, call: F) -> impl Future<Output = F::Output> {
    log_call(name.into(), call, |_| Ok(()))
}

/// Does what [`traced()`] does for a call that can fail: for an `Err` the second line is a `WARNING` with the fields
/// `error` (the error and its causes) and `error.type`, and the span fails with the same.
///
/// ```
/// use logtracer_sdk::client::try_traced;
/// use logtracer_sdk::testing::capture_async;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let call = async { Err::<(), _>(std::io::Error::other("connection refused")) };
/// let (output, lines) = capture_async(try_traced("payments", call)).await;
/// assert!(output.is_err());
/// assert_eq!(lines[1]["severity"], "WARNING");
/// assert_eq!(lines[1]["message"], "test - failed - payments: connection refused");
/// assert_eq!(lines[1]["error"], "connection refused");
/// # });
/// ```
pub fn try_traced<F, T, E>(name: impl Into<Cow<'static, str>>, call: F) -> impl Future<Output = Result<T, E>>
where
    F: Future<Output = Result<T, E>>,
    E: ServiceError,
{
    log_call(name.into(), call, |output| {
        output.as_ref().map(|_| ()).map_err(|error| {
            let failure = Failure::new(error, &KnownErrors::default());
            CallError { text: failure.to_string(), error_type: failure.error_type() }
        })
    })
}

/// The error of a call.
struct CallError {
    /// The error with its causes.
    text: String,
    /// The value of `error.type`.
    error_type: Cow<'static, str>,
}

fn log_call<F: Future>(
    name: Cow<'static, str>,
    call: F,
    check: impl FnOnce(&F::Output) -> Result<(), CallError>,
) -> impl Future<Output = F::Output> {
    #[cfg(feature = "spans")]
    let end = crate::spans::CallEnd::default();
    #[cfg(feature = "spans")]
    let span = crate::spans::span(name.clone()).client(end.clone());
    let call = async move {
        tracing::info!(target: targets::CLIENT, "OUTBOUND - {name}");
        let cancellation = LogCancellation(&name);
        let output = call.await;
        std::mem::forget(cancellation);
        match check(&output) {
            Ok(()) => {
                #[cfg(feature = "spans")]
                end.set_returned();
                tracing::info!(target: targets::CLIENT, "returned - {name}");
            }
            Err(CallError { text, error_type }) => {
                #[cfg(feature = "spans")]
                end.set_failed(error_type.clone(), &text);
                tracing::warn!(
                    target: targets::CLIENT,
                    { error = text.as_str(), "error.type" = &*error_type },
                    "failed - {name}: {text}"
                );
            }
        }
        output
    };
    #[cfg(feature = "spans")]
    return in_span(span, call);
    #[cfg(not(feature = "spans"))]
    return crate::FutureExt::in_current_trace(call);
}

/// Starts the span now if there is a current trace, otherwise when the call is first polled.
#[cfg(feature = "spans")]
fn in_span<F: Future>(span: crate::spans::SpanBuilder, call: F) -> impl Future<Output = F::Output> {
    let call = match crate::current_trace() {
        Some(_) => Ok(span.around(call)),
        None => Err((span, call)),
    };
    async move {
        match call {
            Ok(call) => call.await,
            Err((span, call)) => span.around(call).await,
        }
    }
}

/// Logs that a call is cancelled when it is dropped.
struct LogCancellation<'a>(&'a str);

impl Drop for LogCancellation<'_> {
    fn drop(&mut self) {
        // A panic has its own line.
        if !std::thread::panicking() {
            tracing::info!(target: targets::CLIENT, { "error.type" = "cancelled" }, "cancelled - {}", self.0);
        }
    }
}
