//! From options to a running logging: reads the environment, builds the layer, installs it for the process.

use std::sync::Arc;

use tracing_core::subscriber::NoSubscriber;
use tracing_core::{Dispatch, Subscriber, dispatcher};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use super::environment::{LEVEL_VARIABLES, read_format, variable};
use super::json_layer::Start;
use super::levels::Levels;
use super::output::Output;
use super::service::Service;
use super::{JsonLayer, Logging, LoggingError, LoggingHandle};

impl Logging {
    /// Installs this as the logging of the process, for `tracing` and (with the feature `log`) for `log`.
    ///
    /// The thread that logs a line writes it to stdout. If nobody reads a full stdout, the thread waits, and with it
    /// the request: [`non_blocking`](Self::non_blocking) prevents this.
    /// A line that cannot be written (stdout is closed, the disk is full, or stdout has `O_NONBLOCK` and accepts nothing) is
    /// dropped whole, counted and reported, see [`dropped_lines`](LoggingHandle::dropped_lines).
    ///
    /// ```
    /// use logtracer_sdk::{Logging, LoggingError};
    ///
    /// let handle = Logging::new("my-project", "shop").install()?;
    /// assert_eq!(handle.dropped_lines(), 0);
    /// let again = Logging::new("my-project", "shop").install();
    /// assert!(matches!(again, Err(LoggingError::AlreadyInstalled)));
    /// # Ok::<(), LoggingError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the levels in the code or the format in the environment are invalid, or if a subscriber or a logger is already
    /// installed. Invalid levels in the environment are reported in a WARNING line, see [`level`](Self::level).
    pub fn install(self) -> Result<LoggingHandle, LoggingError> {
        let (layer, handle) = self.build()?;
        handle.levels.set_exclusive();
        install(&handle, move || Dispatch::new(tracing_subscriber::registry().with(layer)))?;
        Ok(handle)
    }

    /// Installs this as [`install`](Self::install) does, together with another layer, for example of OpenTelemetry.
    ///
    /// Panics, records of `log` and changes of the levels work as with `install`. The levels of this logging do not
    /// affect the other layer. Several layers are one with [`and_then`](Layer::and_then), or as a `Vec` of boxed layers.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use logtracer_sdk::Logging;
    /// use tracing_subscriber::layer::{Context, Layer};
    ///
    /// struct Counts(Arc<AtomicUsize>);
    ///
    /// impl<S: tracing::Subscriber> Layer<S> for Counts {
    ///     fn on_event(&self, _event: &tracing::Event<'_>, _ctx: Context<'_, S>) {
    ///         self.0.fetch_add(1, Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// let events = Arc::new(AtomicUsize::new(0));
    /// let handle = Logging::new("my-project", "shop").level("warn").install_with(Counts(Arc::clone(&events)))?;
    /// tracing::debug!("not logged, but counted");
    /// log::warn!("logged and counted");
    /// assert_eq!(events.load(Ordering::Relaxed), 2);
    /// handle.set_level("debug")?;
    /// # Ok::<(), logtracer_sdk::LoggingError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`install`](Self::install).
    pub fn install_with<L>(self, other: L) -> Result<LoggingHandle, LoggingError>
    where
        L: Layer<Registry> + Send + Sync + 'static,
    {
        let (layer, handle) = self.build()?;
        install(&handle, move || Dispatch::new(tracing_subscriber::registry().with(other).with(layer)))?;
        Ok(handle)
    }

    /// Returns the layer, to combine it with others. Its levels do not affect other layers.
    ///
    /// [`install_with`](Self::install_with) is shorter. It also forwards records of `log` to `tracing`; with this layer,
    /// [`build`](Self::build) and [`forward_log`](LoggingHandle::forward_log) do.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use std::sync::Arc;
    /// use logtracer_sdk::Logging;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let lines = Arc::new(AtomicUsize::new(0));
    /// let counter = Arc::clone(&lines);
    /// let logging = Logging::new("my-project", "shop").level("warn").output(move |_line| {
    ///     counter.fetch_add(1, Ordering::Relaxed);
    /// });
    /// let subscriber = tracing_subscriber::registry().with(logging.layer()?); // and others
    /// tracing::subscriber::with_default(subscriber, || {
    ///     tracing::info!("for other layers");
    ///     tracing::warn!("for all layers");
    /// });
    /// assert_eq!(lines.load(Ordering::Relaxed), 1);
    /// # Ok::<(), logtracer_sdk::LoggingError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the levels in the code or the format in the environment are invalid.
    pub fn layer<S>(self) -> Result<impl Layer<S> + Send + Sync + 'static, LoggingError>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        self.build().map(|(layer, _)| layer)
    }

    /// Returns the layer, and the handle that changes its levels and forwards records of `log`.
    ///
    /// # Errors
    ///
    /// If the levels in the code or the format in the environment are invalid.
    pub fn build<S>(self) -> Result<(impl Layer<S> + Send + Sync + 'static, LoggingHandle), LoggingError>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        self.build_with(variable)
    }

    fn build_with<S>(
        self,
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<(impl Layer<S> + Send + Sync + 'static, LoggingHandle), LoggingError>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        let variable = |name| if self.ignores_environment { None } else { variable(name) };
        let format = match self.format {
            Some(format) => format,
            None => read_format(variable)?,
        };
        let (levels, warnings) = levels(&self, variable)?;
        let service = Arc::new(Service {
            format,
            project_id: self.project.id().map(str::to_owned),
            name: self.service,
            version: self.version,
            logger_names: self.logger_names,
            labels: self.labels,
            report_errors: self.report_errors,
            parts: self.parts,
        });
        let output =
            Output::new(self.sink, self.queue, Arc::clone(&service)).map_err(LoggingError::Thread)?;
        let start = Start { logs_panics: self.log_panics, warnings };
        let layer = JsonLayer::new(service, output.clone(), start).with_filter(levels.clone());
        Ok((layer, LoggingHandle { levels, output }))
    }
}

/// Returns the levels of the environment or, if none are set or valid, of the code, with a warning for each variable
/// that is invalid.
fn levels(
    logging: &Logging,
    variable: impl Fn(&'static str) -> Option<String>,
) -> Result<(Levels, Vec<String>), LoggingError> {
    let mut warnings = Vec::new();
    for name in LEVEL_VARIABLES {
        let Some(value) = variable(name) else { continue };
        match Levels::parse(&value, logging.carriers) {
            Ok(levels) => return Ok((levels, warnings)),
            Err(error) => warnings.push(format!("ignored {name}: {error}")),
        }
    }
    let value = logging.level.clone();
    let levels = Levels::parse(&value, logging.carriers);
    Ok((levels.map_err(|source| LoggingError::Level { value, source })?, warnings))
}

/// Makes a subscriber that of the process, and the logger of `log`.
fn install(handle: &LoggingHandle, subscriber: impl FnOnce() -> Dispatch) -> Result<(), LoggingError> {
    if has_subscriber() {
        return Err(LoggingError::AlreadyInstalled);
    }
    // The bridge comes first: it forwards nothing before its level is set.
    #[cfg(feature = "log")]
    super::log_bridge::install()?;
    dispatcher::set_global_default(subscriber()).map_err(|_| LoggingError::AlreadyInstalled)?;
    #[cfg(feature = "log")]
    {
        handle.levels.set_forwards_log();
        super::log_bridge::set_max_level(&handle.levels);
    }
    #[cfg(not(feature = "log"))]
    let _ = handle;
    Ok(())
}

/// Returns true if the process has a global subscriber. This thread may have a local one, so another thread looks.
fn has_subscriber() -> bool {
    let thread = std::thread::spawn(|| dispatcher::get_default(|current| !current.is::<NoSubscriber>()));
    thread.join().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use logtracer_core::line::Format;
    use tracing_core::LevelFilter;
    use tracing_subscriber::layer::Filter;

    use super::*;
    use crate::Project;

    #[track_caller]
    fn check(logging: Logging, variables: &[(&str, &str)], expected: Result<(), &str>) {
        let variable = |name: &'static str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let outcome = logging.build_with::<tracing_subscriber::Registry>(variable).map(|_| ());
        assert_eq!(outcome.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn options_and_environment() {
        let logging = || Logging::new(Project::none(), "shop");
        check(logging(), &[], Ok(()));
        check(logging(), &[("LOGGING_FORMAT", "local"), ("RUST_LOG", "warn,shop=debug")], Ok(()));
        check(
            logging(),
            &[("LOGGING_FORMAT", "json\n")],
            Err("LOGGING_FORMAT is \"json\\n\": expected the log format `stackdriver` or `local`"),
        );
        // An option in the code overrides the environment.
        check(logging().format(Format::Local), &[("LOGGING_FORMAT", "json")], Ok(()));
        check(
            logging().level("shop=loud"),
            &[],
            Err(
                "the log levels are \"shop=loud\": \"loud\" is not a level (off, error, warn, info, debug or trace) \
                 in \"shop=loud\"",
            ),
        );
        check(logging().level("inof"), &[("RUST_LOG", "wran")], Err(INOF));
        check(logging().level("shop=loud"), &[("LOG_LEVEL", "debug")], Ok(()));
    }

    const INOF: &str = "the log levels are \"inof\": \"inof\" is not a level (off, error, warn, info, debug or trace); \
                        a target has one, as in \"inof=trace\"";

    /// Invalid variables are skipped with a warning.
    #[test]
    fn levels_of_the_environment() {
        for (variables, expected, warned) in [
            (&[("RUST_LOG", " warn \n")][..], LevelFilter::WARN, &[][..]),
            (&[("RUST_LOG", "inof")], LevelFilter::DEBUG, &["RUST_LOG"]),
            (&[("RUST_LOG", "shop="), ("LOG_LEVEL", "ERROR")], LevelFilter::ERROR, &["RUST_LOG"]),
            (&[("RUST_LOG", "6"), ("LOG_LEVEL", "loud")], LevelFilter::DEBUG, &["RUST_LOG", "LOG_LEVEL"]),
            (&[("RUST_LOG", "shop[=debug")], LevelFilter::DEBUG, &["RUST_LOG"]),
        ] {
            let variable = |name: &'static str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            let (levels, warnings) =
                levels(&Logging::new(Project::none(), "shop").level("debug"), variable).unwrap();
            let hint = Filter::<Registry>::max_level_hint(&levels);
            assert_eq!(hint, Some(expected.max(LevelFilter::INFO)), "{variables:?}");
            let names: Vec<_> = warnings
                .iter()
                .map(|text| text.strip_prefix("ignored ").unwrap().split(':').next().unwrap())
                .collect();
            assert_eq!(names, warned, "{warnings:?}");
        }
    }
}
