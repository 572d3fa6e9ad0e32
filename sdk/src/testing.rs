//! Log lines in tests, captured as JSON by thread or by task: parallel tests do not see each other's lines.
//!
//! ```
//! use logtracer_sdk::prelude::*;
//! use logtracer_sdk::{TraceContext, testing::capture};
//!
//! let context = TraceContext::new_root();
//! let lines = capture(|| context.run(|| tracing::info!(user = 7, "hi")));
//! assert_eq!(lines[0]["message"], "test - hi");
//! assert_eq!(lines[0]["user"], 7);
//! assert_eq!(lines[0]["trace"], context.trace_id.to_string());
//! ```

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tracing::instrument::WithSubscriber;
use tracing_core::Dispatch;
use tracing_subscriber::layer::SubscriberExt;

use crate::{Format, Logging, LoggingHandle, Project};

/// How long captured lines may wait in a queue.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the lines that `work` logs on this thread, parsed as JSON: all levels, format `local`, service `test`.
///
/// ```
/// use logtracer_sdk::testing::capture;
///
/// let lines = capture(|| tracing::debug!(user = 7, "hi"));
/// assert_eq!((&lines[0]["severity"], &lines[0]["user"]), (&"DEBUG".into(), &7.into()));
/// ```
///
/// # Panics
///
/// If a line is not a JSON object, which would be a bug in this crate.
pub fn capture(work: impl FnOnce()) -> Vec<Value> {
    capture_with(|logging| logging, work)
}

/// Captures lines like [`capture`], with other options. The output cannot be changed.
///
/// ```
/// use logtracer_sdk::testing::capture_with;
///
/// let lines = capture_with(|logging| logging.level("warn"), || {
///     tracing::info!("not captured");
///     tracing::warn!("captured");
/// });
/// assert_eq!(lines.len(), 1);
/// ```
///
/// # Panics
///
/// As [`capture`], and if the options are invalid.
pub fn capture_with(options: impl FnOnce(Logging) -> Logging, work: impl FnOnce()) -> Vec<Value> {
    let capture = Capture::with(options);
    tracing_core::dispatcher::with_default(&capture.dispatch, work);
    capture.lines()
}

/// Returns the output of a future, and the lines that it logs on any thread.
///
/// A task that it spawns logs elsewhere, unless it is spawned
/// [`with_current_subscriber`](tracing::instrument::WithSubscriber::with_current_subscriber).
///
/// ```
/// use logtracer_sdk::testing::capture_async;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (answer, lines) = capture_async(async {
///     tokio::task::yield_now().await;
///     tracing::warn!("thinking");
///     42
/// })
/// .await;
/// assert_eq!((answer, lines.len()), (42, 1));
/// # });
/// ```
///
/// # Panics
///
/// As [`capture`].
pub async fn capture_async<F: Future>(work: F) -> (F::Output, Vec<Value>) {
    let capture = Capture::new();
    let output = work.with_subscriber(capture.dispatch.clone()).await;
    (output, capture.lines())
}

/// A logger that keeps its lines, for servers and tasks that start before the test and end after it.
///
/// ```
/// use logtracer_sdk::testing::Capture;
/// use tracing::instrument::WithSubscriber;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let capture = Capture::new();
/// let task = tokio::spawn(async { tracing::info!("in a task") }.with_subscriber(capture.dispatch()));
/// task.await.unwrap();
/// assert_eq!(capture.lines()[0]["message"], "test - in a task");
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Capture {
    lines: Arc<Mutex<Vec<u8>>>,
    handle: LoggingHandle,
    dispatch: Dispatch,
}

impl Capture {
    /// Captures all levels, in the format `local`, for the service `test`.
    ///
    /// # Panics
    ///
    /// As [`capture`].
    #[expect(clippy::new_without_default, reason = "a default that panics would surprise")]
    pub fn new() -> Self {
        Self::with(|logging| logging)
    }

    /// Captures with other options. The output cannot be changed.
    ///
    /// # Panics
    ///
    /// If the options are invalid.
    #[expect(clippy::expect_used, reason = "for tests, which may panic")]
    pub fn with(options: impl FnOnce(Logging) -> Logging) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let logging = Logging::new(Project::none(), "test").format(Format::Local).level("trace");
        let logging = options(logging).output(move |line| {
            sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line);
        });
        let (layer, handle) = logging.ignore_environment().build().expect("valid options");
        Self { lines, handle, dispatch: Dispatch::new(tracing_subscriber::registry().with(layer)) }
    }

    /// Returns the dispatcher for [`WithSubscriber::with_subscriber`] and [`tracing::dispatcher::with_default`].
    pub fn dispatch(&self) -> Dispatch {
        self.dispatch.clone()
    }

    /// Returns the lines so far, parsed as JSON.
    ///
    /// # Panics
    ///
    /// As [`capture`].
    #[expect(clippy::expect_used, reason = "for tests, which may panic")]
    pub fn lines(&self) -> Vec<Value> {
        // With `non_blocking`, lines may still wait.
        self.handle.flush(FLUSH_TIMEOUT);
        let bytes = self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a line is a JSON object"))
            .collect()
    }
}
