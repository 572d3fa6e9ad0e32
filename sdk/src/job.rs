//! [`job`]: a new trace for each run of a job.

use std::borrow::Cow;
use std::future::Future;

use crate::current::detached;

/// Runs a job, such as one run of a cron job, in a new trace, whatever trace is current.
///
/// With the feature `spans` and an exporter, the root of the trace is a span with this name, if the trace is sampled.
/// A good name is general: `nightly-report`, not the name of one run.
///
/// ```
/// use logtracer_sdk::{current_trace, job};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let run = || job("nightly-report", async { current_trace().unwrap() });
/// let (first, second) = (run().await, run().await);
/// assert_eq!(first.parent_span_id, None);
/// assert_ne!(first.trace_id, second.trace_id);
/// # });
/// ```
pub fn job<F: Future>(name: impl Into<Cow<'static, str>>, run: F) -> impl Future<Output = F::Output> {
    let name = name.into();
    #[cfg(feature = "spans")]
    return detached(|| crate::FutureExt::in_span(run, name));
    #[cfg(not(feature = "spans"))]
    return detached(|| {
        use crate::current::TraceContextExt;
        let _ = name; // only spans have names
        crate::FutureExt::in_trace(run, crate::TraceContext::new_root())
    });
}
