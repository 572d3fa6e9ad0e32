//! Log lines in tests: captured as JSON, by thread or by task, so that parallel tests do not see each other's.
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

use serde_json::Value;
use tracing::instrument::WithSubscriber;
use tracing_core::Dispatch;
use tracing_subscriber::layer::SubscriberExt;

use crate::{Format, Logging, Project};

/// What `work` logs on this thread, each line read as JSON: all levels, format `local`, service `test`.
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
/// When a line is no JSON object, which would be an error of this crate.
pub fn capture(work: impl FnOnce()) -> Vec<Value> {
    capture_with(|logging| logging, work)
}

/// [`capture`] with other options; for the output it has its own.
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
/// As [`capture`], and when the options cannot be read.
pub fn capture_with(options: impl FnOnce(Logging) -> Logging, work: impl FnOnce()) -> Vec<Value> {
    let capture = Capture::with(options);
    tracing_core::dispatcher::with_default(&capture.dispatch, work);
    capture.lines()
}

/// The output of a future, and what it has logged wherever it was polled.
///
/// What it spawns logs elsewhere, unless it is spawned
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

/// A logging that keeps its lines; for servers and tasks that start before and end after what is tested.
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
    dispatch: Dispatch,
}

impl Capture {
    /// All levels, format `local`, service `test`.
    ///
    /// ```
    /// use logtracer_sdk::testing::Capture;
    ///
    /// let capture = Capture::new();
    /// tracing::dispatcher::with_default(&capture.dispatch(), || tracing::trace!("all levels"));
    /// assert_eq!(capture.lines().len(), 1);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`capture`].
    #[expect(clippy::new_without_default, reason = "a default that panics would surprise")]
    pub fn new() -> Self {
        Self::with(|logging| logging)
    }

    /// With other options; for the output it has its own.
    ///
    /// ```
    /// use logtracer_sdk::testing::Capture;
    ///
    /// let capture = Capture::with(|logging| logging.level("warn").label("team", "data"));
    /// tracing::dispatcher::with_default(&capture.dispatch(), || {
    ///     tracing::info!("not captured");
    ///     tracing::warn!("captured");
    /// });
    /// assert_eq!(capture.lines()[0]["labels"]["team"], "data");
    /// ```
    ///
    /// # Panics
    ///
    /// When the options cannot be read.
    #[expect(clippy::expect_used, reason = "for tests, which end by panics")]
    pub fn with(options: impl FnOnce(Logging) -> Logging) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let logging = Logging::new(Project::none(), "test").format(Format::Local).level("trace");
        let logging = options(logging).output(move |line| {
            sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line);
        });
        let layer = logging.ignore_environment().layer().expect("options that can be read");
        Self { lines, dispatch: Dispatch::new(tracing_subscriber::registry().with(layer)) }
    }

    /// For [`WithSubscriber::with_subscriber`] and [`tracing::dispatcher::with_default`].
    ///
    /// ```
    /// use logtracer_sdk::testing::Capture;
    ///
    /// let capture = Capture::new();
    /// let dispatch = capture.dispatch();
    /// let thread = std::thread::spawn(move || {
    ///     tracing::dispatcher::with_default(&dispatch, || tracing::info!("over there"));
    /// });
    /// thread.join().unwrap();
    /// assert_eq!(capture.lines()[0]["message"], "test - over there");
    /// ```
    pub fn dispatch(&self) -> Dispatch {
        self.dispatch.clone()
    }

    /// The lines so far, each read as JSON.
    ///
    /// ```
    /// use logtracer_sdk::testing::Capture;
    ///
    /// let capture = Capture::new();
    /// assert!(capture.lines().is_empty());
    /// ```
    ///
    /// # Panics
    ///
    /// As [`capture`].
    #[expect(clippy::expect_used, reason = "for tests, which end by panics")]
    pub fn lines(&self) -> Vec<Value> {
        let bytes = self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a line is a JSON object"))
            .collect()
    }
}
