//! [`traced`]: calls to peers that know nothing of tracing.

use std::borrow::Cow;
use std::future::Future;

use crate::targets;

/// Runs a call to a peer that knows nothing of tracing (a database, a third party): two lines, and a client span.
///
/// The span needs the feature `spans` and its export; it is what shows the time of a call whose other end records
/// nothing. The future itself is not changed: it sends no trace headers unless it is told to.
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
pub async fn traced<F: Future>(name: impl Into<Cow<'static, str>>, call: F) -> F::Output {
    let name = name.into();
    let call = async {
        tracing::info!(target: targets::CLIENT, "OUTBOUND - {name}");
        let output = call.await;
        tracing::info!(target: targets::CLIENT, "returned - {name}");
        output
    };
    #[cfg(feature = "spans")]
    let call = crate::spans::span(name.clone()).client().around(call);
    call.await
}
