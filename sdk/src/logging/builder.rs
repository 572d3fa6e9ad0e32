//! [`Logging`]: the options, and where they come from.

use logtracer_core::line::Format;
use tracing_core::{Dispatch, Subscriber, dispatcher};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use super::output::Output;
use super::{JsonLayer, LoggingError, levels};

/// The variable that chooses the format where the code does not.
const FORMAT_VARIABLE: &str = "LOGGING_FORMAT";
/// The variables that choose the levels, the first that is set.
const LEVEL_VARIABLES: [&str; 2] = ["RUST_LOG", "LOG_LEVEL"];

/// Writes all events of `tracing` to stdout as JSON lines that carry the current trace.
///
/// ```no_run
/// use logtracer_sdk::{Logging, Project};
///
/// Logging::new(Project::from_env(), "shop").level("info,shop=debug").install()?;
/// tracing::info!(items = 3, "basket opened");
/// # Ok::<(), logtracer_sdk::LoggingError>(())
/// ```
///
/// A line has the message with the name of the service before it, the time, the place in the source, the current
/// trace (if there is one), the fields of the event, and those of the spans that it happened in; where two have
/// the same name the inner one wins.
/// Fields cannot take the keys of the line itself: `severity` becomes `fields.severity`.
#[derive(Debug)]
#[must_use = "nothing is logged before `install`"]
pub struct Logging {
    project: Project,
    service: String,
    format: Option<Format>,
    level: String,
    output: Output,
}

impl Logging {
    /// Logs of this service, in a Google Cloud project or (with `None`, [`Project::none`]) in none.
    pub fn new(project: impl Into<Project>, service: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            service: service.into(),
            format: None,
            level: "info".to_owned(),
            output: Output::stdout(),
        }
    }

    /// Chooses the format, whatever the environment says.
    ///
    /// Without this it is that of `LOGGING_FORMAT` (`stackdriver` or `local`), else `stackdriver`.
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// What is logged where neither `RUST_LOG` nor `LOG_LEVEL` says otherwise; `info` by default.
    ///
    /// Both are read as directives, `info,shop::db=debug`: see
    /// [`EnvFilter`](tracing_subscriber::filter::EnvFilter#directives).
    /// They choose lines; spans up to `INFO` keep carrying traces and fields whatever they say.
    pub fn level(mut self, directives: impl Into<String>) -> Self {
        self.level = directives.into();
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

    /// Makes this the logging of the whole process.
    ///
    /// # Errors
    ///
    /// When the format or the levels of the environment cannot be read, and when a subscriber is installed already.
    pub fn install(self) -> Result<(), LoggingError> {
        let subscriber = tracing_subscriber::registry().with(self.layer()?);
        dispatcher::set_global_default(Dispatch::new(subscriber)).map_err(|_| LoggingError::AlreadyInstalled)
    }

    /// The layer alone, to be combined with others. It filters for itself only.
    ///
    /// # Errors
    ///
    /// When the format or the levels of the environment cannot be read.
    pub fn layer<S>(self) -> Result<impl Layer<S> + Send + Sync + 'static, LoggingError>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        self.layer_with(variable)
    }

    fn layer_with<S>(
        self,
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<impl Layer<S> + Send + Sync + 'static, LoggingError>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        let format = match self.format {
            Some(format) => format,
            None => read_format(&variable)?.unwrap_or_default(),
        };
        let levels = LEVEL_VARIABLES
            .into_iter()
            .find_map(|name| Some((Some(name), variable(name)?)))
            .unwrap_or((None, self.level));
        let filter = levels::parse(levels.0, &levels.1)?;
        Ok(JsonLayer::new(format, self.project.id, &self.service, self.output).with_filter(filter))
    }
}

/// The format that `LOGGING_FORMAT` names, `None` where it is not set.
///
/// # Errors
///
/// When it names neither `stackdriver` nor `local`.
pub fn format_from_env() -> Result<Option<Format>, LoggingError> {
    read_format(variable)
}

fn read_format(variable: impl Fn(&'static str) -> Option<String>) -> Result<Option<Format>, LoggingError> {
    let Some(value) = variable(FORMAT_VARIABLE) else {
        return Ok(None);
    };
    match value.parse() {
        Ok(format) => Ok(Some(format)),
        Err(source) => Err(LoggingError::Format { variable: FORMAT_VARIABLE, value, source }),
    }
}

/// A variable of the environment; an empty one counts as not set.
fn variable(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The Google Cloud project that the traces are in.
///
/// With it a line names its trace `projects/P/traces/T`, without it by the bare id.
///
/// ```
/// use logtracer_sdk::Project;
///
/// assert_eq!(Project::from("my-project").id(), Some("my-project"));
/// assert_eq!(Project::none().id(), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Project {
    id: Option<String>,
}

impl Project {
    /// No project.
    pub fn none() -> Self {
        Self::default()
    }

    /// The project that `GOOGLE_CLOUD_PROJECT` names, or none.
    pub fn from_env() -> Self {
        Self { id: variable("GOOGLE_CLOUD_PROJECT") }
    }

    /// The id of the project.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

impl From<&str> for Project {
    fn from(id: &str) -> Self {
        Self::from(id.to_owned())
    }
}

impl From<String> for Project {
    fn from(id: String) -> Self {
        Self::from(Some(id))
    }
}

impl From<Option<String>> for Project {
    fn from(id: Option<String>) -> Self {
        Self { id: id.filter(|id| !id.is_empty()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(logging: Logging, variables: &[(&str, &str)], expected: Result<(), &str>) {
        let variable = |name: &'static str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let outcome = logging.layer_with::<tracing_subscriber::Registry>(variable).map(|_| ());
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
        // What the code chooses is not looked up.
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
