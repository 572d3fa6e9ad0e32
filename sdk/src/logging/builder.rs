//! [`Logging`]: the options.

use logtracer_core::line::Format;
use tracing_core::Level;

use super::output::Output;
use super::{LoggerNames, Project};
use crate::span_carrier::CarrierFilter;

/// Writes all events of `tracing` and records of `log` to stdout as JSON lines that carry the current trace.
///
/// ```
/// use logtracer_sdk::{Logging, testing::capture_with};
///
/// let logging = Logging::new("my-project", "shop").level("info,shop=debug");
/// // In `main` this is `logging.install()?`.
/// let lines = capture_with(|_| logging, || {
///     tracing::info!(items = 3, severity = "mine", "basket opened");
/// });
/// assert_eq!(lines[0]["message"], "shop - basket opened");
/// assert_eq!((&lines[0]["severity"], &lines[0]["fields.severity"]), (&"INFO".into(), &"mine".into()));
/// ```
///
/// A line has the message with the name of the service before it, the time, the place in the source, the current
/// trace (if there is one), the fields of the event, and those of the spans that it happened in; where two have
/// the same name the inner one wins.
/// Fields cannot take the keys of the line itself: `severity` becomes `fields.severity`.
#[derive(Debug)]
#[must_use = "nothing is logged before `install`"]
pub struct Logging {
    pub(super) project: Project,
    pub(super) service: String,
    pub(super) format: Option<Format>,
    pub(super) level: String,
    pub(super) output: Output,
    pub(super) queued_lines: Option<usize>,
    pub(super) logger_names: LoggerNames,
    pub(super) version: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) report_errors: Option<Level>,
    pub(super) log_panics: bool,
    pub(super) carriers: CarrierFilter,
    pub(super) ignores_environment: bool,
}

impl Logging {
    /// Logs of this service, in a Google Cloud project or (with `None`, [`Project::none`]) in none.
    ///
    /// ```
    /// use logtracer_sdk::{Logging, Project, testing::capture_with};
    ///
    /// let lines = capture_with(|_| Logging::new(Project::none(), "shop"), || tracing::warn!("nearly full"));
    /// assert_eq!(lines[0]["message"], "shop - nearly full");
    /// ```
    pub fn new(project: impl Into<Project>, service: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            service: service.into(),
            format: None,
            level: "info".to_owned(),
            output: Output::stdout(),
            queued_lines: None,
            logger_names: LoggerNames::default(),
            version: String::new(),
            labels: Vec::new(),
            report_errors: None,
            log_panics: false,
            carriers: CarrierFilter::default(),
            ignores_environment: false,
        }
    }

    /// Chooses the format, whatever the environment says.
    ///
    /// Without this it is that of `LOGGING_FORMAT` (`stackdriver` or `local`), else `stackdriver`.
    ///
    /// ```
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::{Format, Logging, TraceContext, testing::capture_with};
    ///
    /// let logging = Logging::new("my-project", "shop").format(Format::Stackdriver);
    /// let context = TraceContext::new_root();
    /// let lines = capture_with(|_| logging, || context.run(|| tracing::info!("hi")));
    /// let name = format!("projects/my-project/traces/{}", context.trace_id);
    /// assert_eq!(lines[0]["logging.googleapis.com/trace"], name);
    /// ```
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// What is logged where neither `RUST_LOG` nor `LOG_LEVEL` says otherwise; `info` by default.
    ///
    /// Both are read as directives, `info,shop::db=debug`: see
    /// [`EnvFilter`](tracing_subscriber::filter::EnvFilter#directives).
    /// Levels may have the names of Python and of Google, too: `WARNING`, `CRITICAL` (as ERROR), `NOTSET` (all).
    /// They choose lines; spans up to `INFO` keep carrying traces and fields whatever they say, see
    /// [`carry_spans`](Self::carry_spans).
    ///
    /// ```
    /// use logtracer_sdk::testing::capture_with;
    ///
    /// let lines = capture_with(|logging| logging.level("warn,shop::db=debug"), || {
    ///     tracing::info!("not written");
    ///     tracing::debug!(target: "shop::db", "written");
    /// });
    /// assert_eq!(lines.len(), 1);
    /// ```
    pub fn level(mut self, directives: impl Into<String>) -> Self {
        self.level = directives.into();
        self
    }

    /// The level up to which spans carry traces (and their fields) whatever the levels of lines say; `INFO` by
    /// default, the level of `#[instrument]`.
    ///
    /// Spans below are carriers only while they are logged. To have them always costs what a span costs, also for
    /// the many of libraries such as h2.
    ///
    /// ```
    /// use logtracer_sdk::prelude::*;
    /// use logtracer_sdk::{TraceContext, current_trace, testing::capture_with};
    ///
    /// capture_with(|logging| logging.level("warn").carry_spans(tracing::Level::DEBUG), || {
    ///     let context = TraceContext::new_root();
    ///     let span = context.run(|| tracing::debug_span!("work"));
    ///     assert_eq!(span.in_scope(current_trace), Some(context));
    /// });
    /// ```
    pub fn carry_spans(mut self, level: Level) -> Self {
        self.carriers.max_level = level.into();
        self
    }

    /// Hands each line, with the line break at its end, to `write` instead of stdout.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use logtracer_sdk::{Format, Logging};
    /// use tracing_subscriber::prelude::*;
    ///
    /// let lines = Arc::new(Mutex::new(String::new()));
    /// let layer = Logging::new("my-project", "shop").format(Format::Local).output({
    ///     let lines = Arc::clone(&lines);
    ///     move |line| lines.lock().unwrap().push_str(std::str::from_utf8(line).unwrap())
    /// });
    ///
    /// let subscriber = tracing_subscriber::registry().with(layer.layer()?);
    /// tracing::subscriber::with_default(subscriber, || tracing::warn!("nearly full"));
    /// let line = lines.lock().unwrap();
    /// assert!(line.starts_with(r#"{"severity":"WARNING","message":"shop - nearly full","time":""#), "{line}");
    /// # Ok::<(), logtracer_sdk::LoggingError>(())
    /// ```
    pub fn output(mut self, write: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        self.output = Output::new(write);
        self
    }

    /// Lets a thread of its own write the lines, so that a slow reader of stdout holds up no request.
    ///
    /// What it can lose: lines that find `max_lines` waiting already, or on which the writer panics, are dropped and
    /// counted
    /// ([`lost_lines`](crate::LoggingHandle::lost_lines), and a WARNING line tells how many); lines that wait when the
    /// process ends are gone, unless [`flush`](crate::LoggingHandle::flush) has waited for them; the line of a panic
    /// ([`log_panics`](Self::log_panics)) waits until it and those before it are written, for a second at most.
    /// What waits takes as much memory as `max_lines` lines do, of 192 KiB each at most.
    /// Without this every line is written before the call that logs it returns, and none is lost.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use logtracer_sdk::Logging;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let written = Arc::new(AtomicUsize::new(0));
    /// let counter = Arc::clone(&written);
    /// let logging = Logging::new("my-project", "shop").non_blocking(1000).output(move |_line| {
    ///     counter.fetch_add(1, Ordering::Relaxed);
    /// });
    /// let (layer, handle) = logging.build()?;
    /// tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
    ///     (0..10).for_each(|step| tracing::info!(step, "working"));
    /// });
    /// assert!(handle.flush(Duration::from_secs(10)));
    /// assert_eq!(written.load(Ordering::Relaxed), 10);
    /// # Ok::<(), logtracer_sdk::LoggingError>(())
    /// ```
    pub fn non_blocking(mut self, max_lines: usize) -> Self {
        self.queued_lines = Some(max_lines);
        self
    }

    /// The name that messages begin with: the service's, or that of each module.
    ///
    /// ```
    /// use logtracer_sdk::Logging;
    /// use logtracer_sdk::logging::LoggerNames;
    ///
    /// let logging = Logging::new("my-project", "shop").logger_names(LoggerNames::PerModule);
    /// assert!(format!("{logging:?}").contains("PerModule"));
    /// ```
    pub fn logger_names(mut self, names: LoggerNames) -> Self {
        self.logger_names = names;
        self
    }

    /// The version of the service, for Error Reporting: `.version(env!("CARGO_PKG_VERSION"))`.
    ///
    /// ```
    /// use logtracer_sdk::testing::capture_with;
    ///
    /// let lines = capture_with(|logging| logging.version("1.2").report_errors(tracing::Level::ERROR), || {
    ///     tracing::error!("no room left");
    /// });
    /// assert_eq!(lines[0]["serviceContext"]["version"], "1.2");
    /// ```
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// A label that every line has; a field `labels.<name>` of an event does not overwrite it, a second label of the
    /// same name does.
    ///
    #[cfg_attr(feature = "testing", doc = "```")]
    #[cfg_attr(not(feature = "testing"), doc = "```ignore")]
    /// use logtracer_sdk::testing::capture_with;
    ///
    /// let lines = capture_with(|logging| logging.label("team", "data"), || tracing::info!("hi"));
    /// assert_eq!(lines[0]["labels"]["team"], "data");
    /// ```
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.labels.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.labels.push((name, value)),
        }
        self
    }

    /// Makes lines of this level or worse events of Error Reporting.
    ///
    /// They say so by `@type`, and name the service and the place in the source.
    ///
    /// ```
    /// use logtracer_sdk::Logging;
    /// use std::sync::{Arc, Mutex};
    /// use tracing_subscriber::prelude::*;
    ///
    /// let lines = Arc::new(Mutex::new(String::new()));
    /// let sink = Arc::clone(&lines);
    /// let logging = Logging::new("my-project", "shop")
    ///     .version("1.2")
    ///     .report_errors(tracing::Level::ERROR)
    ///     .output(move |line| sink.lock().unwrap().push_str(std::str::from_utf8(line).unwrap()));
    /// let subscriber = tracing_subscriber::registry().with(logging.layer()?);
    /// tracing::subscriber::with_default(subscriber, || tracing::error!("no room left"));
    /// assert!(lines.lock().unwrap().contains(r#""serviceContext":{"service":"shop","version":"1.2"}"#));
    /// # Ok::<(), logtracer_sdk::LoggingError>(())
    /// ```
    pub fn report_errors(mut self, level: Level) -> Self {
        self.report_errors = Some(level);
        self
    }

    /// Writes one line for each panic, an event of Error Reporting, instead of what Rust prints to stderr.
    ///
    /// It carries the trace of the request, and with `RUST_BACKTRACE=1` a stack trace.
    /// [`install`](Self::install) sets the hook; a hook of before is replaced.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use logtracer_sdk::Logging;
    ///
    /// let lines = Arc::new(Mutex::new(String::new()));
    /// let sink = Arc::clone(&lines);
    /// Logging::new("my-project", "shop")
    ///     .log_panics(true)
    ///     .output(move |line| sink.lock().unwrap().push_str(std::str::from_utf8(line).unwrap()))
    ///     .install()?;
    /// assert!(std::panic::catch_unwind(|| panic!("out of eggs")).is_err());
    /// assert!(lines.lock().unwrap().contains(r#""message":"shop - panicked: out of eggs""#));
    /// # Ok::<(), logtracer_sdk::LoggingError>(())
    /// ```
    pub fn log_panics(mut self, log: bool) -> Self {
        self.log_panics = log;
        self
    }

    /// Leaves the format and the levels to the code: `LOGGING_FORMAT`, `RUST_LOG` and `LOG_LEVEL` say nothing.
    ///
    /// For tests and tools that have to write the same lines for everyone.
    ///
    /// ```
    /// use logtracer_sdk::Logging;
    /// use tracing_subscriber::Registry;
    ///
    /// let logging = Logging::new("my-project", "shop").level("warn").ignore_environment();
    /// assert!(logging.layer::<Registry>().is_ok()); // whatever is in the environment
    /// ```
    pub fn ignore_environment(mut self) -> Self {
        self.ignores_environment = true;
        self
    }
}
