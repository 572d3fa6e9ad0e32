//! From options to a running logging: reads the environment, builds the layer, installs it for the process.

use std::sync::Arc;

use tracing_core::subscriber::NoSubscriber;
use tracing_core::{Dispatch, Subscriber, dispatcher};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use super::environment::{LEVEL_VARIABLES, read_format, variable};
use super::levels::Levels;
use super::service::Service;
use super::{JsonLayer, Logging, LoggingError, LoggingHandle};

impl Logging {
    /// Installs this as the logging of the process, for `tracing` and (with the feature `log`) for `log`.
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
    /// If the format or the levels in the environment are invalid, or if a subscriber or a logger is already
    /// installed.
    pub fn install(self) -> Result<LoggingHandle, LoggingError> {
        let log_panics = self.log_panics;
        let (layer, mut handle, service) = self.parts(variable)?;
        handle.levels.set_exclusive();
        let subscriber = tracing_subscriber::registry().with(layer);
        if has_subscriber() {
            return Err(LoggingError::AlreadyInstalled);
        }
        // The bridge comes first: it forwards nothing before its level is set.
        #[cfg(feature = "log")]
        super::log_bridge::install()?;
        dispatcher::set_global_default(Dispatch::new(subscriber))
            .map_err(|_| LoggingError::AlreadyInstalled)?;
        #[cfg(feature = "log")]
        super::log_bridge::set_max_level(&handle.levels);
        if log_panics {
            super::panic::install_hook(service, handle.output.clone());
        }
        handle.is_installed = true;
        Ok(handle)
    }

    /// Returns the layer, to combine it with others. Its levels do not affect other layers.
    ///
    /// Unlike [`install`](Self::install), this does not forward records of `log` to `tracing`.
    /// `tracing_log::LogTracer::init()` does, without the key-values of the records.
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
    /// If the format or the levels in the environment are invalid.
    pub fn layer<S>(self) -> Result<impl Layer<S> + Send + Sync + 'static, LoggingError>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        self.build().map(|(layer, _)| layer)
    }

    /// Returns the layer, and the handle that changes its levels.
    ///
    /// # Errors
    ///
    /// If the format or the levels in the environment are invalid.
    pub fn build<S>(self) -> Result<(impl Layer<S> + Send + Sync + 'static, LoggingHandle), LoggingError>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        self.parts(variable).map(|(layer, handle, _)| (layer, handle))
    }

    #[allow(clippy::type_complexity)] // private, and the type of the layer has no name
    fn parts<S>(
        self,
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<(impl Layer<S> + Send + Sync + 'static, LoggingHandle, Arc<Service>), LoggingError>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        let variable = |name| if self.ignores_environment { None } else { variable(name) };
        let format = match self.format {
            Some(format) => format,
            None => read_format(variable)?,
        };
        let levels = LEVEL_VARIABLES
            .into_iter()
            .find_map(|name| Some((Some(name), variable(name)?)))
            .unwrap_or((None, self.level));
        let levels = Levels::parse(levels.0, &levels.1, self.carriers)?;
        let service = Arc::new(Service {
            format,
            project_id: self.project.id().map(str::to_owned),
            name: self.service,
            version: self.version,
            logger_names: self.logger_names,
            labels: self.labels,
            report_errors: self.report_errors,
        });
        let output = match self.queued_lines {
            Some(max_lines) => {
                let service = Arc::clone(&service);
                let report = move |dropped| service.render_dropped(dropped);
                self.output.queued(max_lines, report).map_err(LoggingError::Thread)?
            }
            None => self.output,
        };
        let layer = JsonLayer::new(Arc::clone(&service), output.clone()).with_filter(levels.clone());
        Ok((layer, LoggingHandle { levels, output, is_installed: false }, service))
    }
}

/// Returns true if the process has a global subscriber. This thread may have a local one, so another thread looks.
fn has_subscriber() -> bool {
    let thread = std::thread::spawn(|| dispatcher::get_default(|current| !current.is::<NoSubscriber>()));
    thread.join().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use logtracer_core::line::Format;

    use super::*;
    use crate::Project;

    #[track_caller]
    fn check(logging: Logging, variables: &[(&str, &str)], expected: Result<(), &str>) {
        let variable = |name: &'static str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let outcome = logging.parts::<tracing_subscriber::Registry>(variable).map(|_| ());
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
            Err("the log levels are \"shop=loud\": error parsing level filter: expected one of \"off\", \
                 \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5"),
        );
        check(logging().level("shop=loud"), &[("LOG_LEVEL", "debug")], Ok(()));
        check(
            logging(),
            &[("RUST_LOG", "shop[=debug"), ("LOG_LEVEL", "debug")],
            Err("RUST_LOG is \"shop[=debug\": invalid filter directive"),
        );
    }
}
