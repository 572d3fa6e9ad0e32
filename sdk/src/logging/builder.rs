//! [`Logging`]: the options of the logging.

use std::sync::Arc;

use logtracer_core::line::Format;
use tracing_core::Level;

use super::output::{QueueLimits, Sink};
use super::service::LineParts;
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
/// A line has the message after the name of the service, the time, the source location, the current trace (if there
/// is one), the fields of the event, and the fields of its spans. Of two fields with the same name, the inner one wins.
/// A field cannot overwrite a key of the line: `severity` becomes `fields.severity`.
#[derive(Debug)]
#[must_use = "nothing is logged before `install`"]
pub struct Logging {
    pub(super) project: Project,
    pub(super) service: String,
    pub(super) format: Option<Format>,
    pub(super) level: String,
    pub(super) sink: Sink,
    pub(super) queue: Option<QueueLimits>,
    pub(super) logger_names: LoggerNames,
    pub(super) version: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) report_errors: Option<Level>,
    pub(super) parts: LineParts,
    pub(super) log_panics: bool,
    pub(super) carriers: CarrierFilter,
    pub(super) ignores_environment: bool,
}

impl Logging {
    /// Creates the options for a service, in a Google Cloud project or without one ([`Project::none`]).
    pub fn new(project: impl Into<Project>, service: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            service: service.into(),
            format: None,
            level: "info".to_owned(),
            sink: Sink::Stdout,
            queue: None,
            logger_names: LoggerNames::default(),
            version: String::new(),
            labels: Vec::new(),
            report_errors: None,
            parts: LineParts::default(),
            log_panics: false,
            carriers: CarrierFilter::default(),
            ignores_environment: false,
        }
    }

    /// Sets the format, whatever the environment sets.
    ///
    /// The default is the format that `LOGGING_FORMAT` names (`stackdriver` or `local`), else `stackdriver`.
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Sets the levels to log if neither `RUST_LOG` nor `LOG_LEVEL` is set; the default is `info`.
    ///
    /// All three take directives like `info,shop::db=debug`, see
    /// [`EnvFilter`](tracing_subscriber::filter::EnvFilter#directives).
    /// Levels can also have their names in Python and Google Cloud: `WARNING`, `CRITICAL` (as ERROR), `NOTSET` (all).
    /// Each directive has a level, so that a misspelled one (`inof`) cannot be read as a target that disables all
    /// others: write `shop=trace` for all of `shop`. Spaces around directives do not matter.
    ///
    /// Invalid levels in the code are an error of [`install`](Self::install). An environment variable with invalid
    /// levels is ignored, and a WARNING line reports it: a typing error of an operator neither stops nor silences the
    /// service.
    ///
    /// The levels select lines. Spans up to `INFO` carry traces and fields at every level, see
    /// [`carry_spans`](Self::carry_spans).
    pub fn level(mut self, directives: impl Into<String>) -> Self {
        self.level = directives.into();
        self
    }

    /// Sets the level up to which spans always carry traces and fields; the default is `INFO`, the level of
    /// `#[instrument]`.
    ///
    /// A more verbose span carries them only if the levels of lines enable it. A more verbose level here costs the
    /// creation of all these spans, also in libraries with many spans such as h2.
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

    /// Passes each line, with its line break, to `write` instead of stdout.
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
        self.sink = Sink::Function(Arc::new(write));
        self
    }

    /// Writes the lines in another thread, so that a blocked stdout does not block a request.
    ///
    /// - At most 8,192 lines and 16 MiB wait; [`non_blocking_lines`](Self::non_blocking_lines) sets another number.
    /// - If more wait already, or if the writer panics on a line, the line is dropped and counted in
    ///   [`dropped_lines`](crate::LoggingHandle::dropped_lines), and a WARNING line reports the number.
    /// - Lines that wait when the process ends are dropped; [`flush`](crate::LoggingHandle::flush) waits for them.
    /// - A panic ([`log_panics`](Self::log_panics)) waits until its line is written, at most for a second.
    ///
    /// Without this option, the call that logs a line writes it before it returns.
    ///
    /// ```
    /// use std::time::Duration;
    /// use logtracer_sdk::Logging;
    ///
    /// let handle = Logging::new("my-project", "shop").non_blocking().install()?;
    /// tracing::info!("written by a thread");
    /// assert!(handle.flush(Duration::from_secs(10)));
    /// # Ok::<(), logtracer_sdk::LoggingError>(())
    /// ```
    pub fn non_blocking(mut self) -> Self {
        self.queue = Some(QueueLimits::default());
        self
    }

    /// Writes the lines in another thread as [`non_blocking`](Self::non_blocking) does, with at most `max_lines` waiting.
    ///
    /// Their total length is limited to 16 MiB.
    pub fn non_blocking_lines(mut self, max_lines: usize) -> Self {
        self.queue = Some(QueueLimits::of_lines(max_lines));
        self
    }

    /// Sets the name at the beginning of messages: that of the service, or of each module, or none.
    ///
    /// ```
    /// use logtracer_sdk::logging::LoggerNames;
    /// use logtracer_sdk::testing::capture_with;
    ///
    /// let options = |logging: logtracer_sdk::Logging| logging.logger_names(LoggerNames::None);
    /// let lines = capture_with(options, || tracing::info!("basket opened"));
    /// assert_eq!((&lines[0]["message"], &lines[0]["serviceContext"]["service"]), (&"basket opened".into(), &"test".into()));
    /// ```
    pub fn logger_names(mut self, names: LoggerNames) -> Self {
        self.logger_names = names;
        self
    }

    /// Sets the version of the service, for Error Reporting: `.version(env!("CARGO_PKG_VERSION"))`.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Adds a label to every line. A field `labels.<name>` of an event does not overwrite it, but a second call with
    /// the same name does.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.labels.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.labels.push((name, value)),
        }
        self
    }

    /// Adds the target of the event, which is its module unless it names another, as `target`.
    ///
    /// ```
    /// use logtracer_sdk::testing::capture_with;
    ///
    /// let lines = capture_with(|logging| logging.show_target().show_spans(), || {
    ///     let _request = tracing::info_span!("request").entered();
    ///     let _query = tracing::info_span!("query").entered();
    ///     tracing::info!(target: "shop::db", target = "mine", "42 rows");
    /// });
    /// assert_eq!((&lines[0]["target"], &lines[0]["fields.target"]), (&"shop::db".into(), &"mine".into()));
    /// assert_eq!(lines[0]["spans"], serde_json::json!(["request", "query"]));
    /// ```
    pub fn show_target(mut self) -> Self {
        self.parts.target = true;
        self
    }

    /// Adds the names of the spans around the event as `spans`, the outermost first.
    pub fn show_spans(mut self) -> Self {
        self.parts.spans = true;
        self
    }

    /// Makes lines of this level or above events of Error Reporting: adds `@type`, the service and the source location.
    pub fn report_errors(mut self, level: Level) -> Self {
        self.report_errors = Some(level);
        self
    }

    /// Writes one line for each panic, as an event of Error Reporting, instead of Rust's message on stderr.
    /// If stdout does not take it, the text of the panic goes to stderr.
    ///
    /// The line has the trace of the request, and with `RUST_BACKTRACE=1` a stack trace.
    /// This sets the panic hook of the process: with [`install`](Self::install) and
    /// [`install_with`](Self::install_with) at once, with [`layer`](Self::layer) and [`build`](Self::build) as soon as a
    /// subscriber contains the layer.
    /// A hook that was set before, such as that of a crash reporter, is called after the line is written. To discard it,
    /// call [`std::panic::take_hook`] first.
    pub fn log_panics(mut self, log: bool) -> Self {
        self.log_panics = log;
        self
    }

    /// Ignores `LOGGING_FORMAT`, `RUST_LOG` and `LOG_LEVEL`.
    ///
    /// This is for tests and tools whose output must not depend on the environment.
    pub fn ignore_environment(mut self) -> Self {
        self.ignores_environment = true;
        self
    }
}
