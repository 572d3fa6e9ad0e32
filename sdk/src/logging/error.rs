//! [`LoggingError`].

use std::fmt;

use logtracer_core::line::FormatError;

use super::LevelError;

/// An error when setting up the logging.
///
/// ```
/// use logtracer_sdk::Logging;
/// use tracing_subscriber::Registry;
///
/// let wrong = Logging::new("my-project", "shop").level("shop=loud").ignore_environment().layer::<Registry>();
/// let error = wrong.map(|_| ()).unwrap_err().to_string();
/// assert!(error.starts_with("the log levels are \"shop=loud\": "), "{error}");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LoggingError {
    /// The environment names an unknown format.
    Format {
        /// The name of the environment variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The expected format.
        source: FormatError,
    },
    /// The log levels are invalid.
    ///
    /// Those of the code and of [`set_level`](crate::LoggingHandle::set_level) are an error.
    /// An invalid environment variable is ignored, and a WARNING line reports it.
    Level {
        /// The directives.
        value: String,
        /// Why they are invalid.
        source: LevelError,
    },
    /// The process has a `tracing` subscriber or a logger of `log` already.
    AlreadyInstalled,
    /// The system cannot start the thread for [`Logging::non_blocking`](crate::Logging::non_blocking).
    Thread(std::io::Error),
}

/// The maximum number of characters of a value that an error shows.
const MAX_SHOWN_CHARS: usize = 80;

impl fmt::Display for LoggingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format { variable, value, source } => {
                write!(f, "{variable} is {:?}: {source}", truncated(value))
            }
            Self::Level { value, source } => {
                write!(f, "the log levels are {:?}: {source}", truncated(value))
            }
            Self::AlreadyInstalled => f.write_str("a tracing subscriber or a logger is installed already"),
            Self::Thread(source) => write!(f, "cannot start the thread that writes lines: {source}"),
        }
    }
}

impl std::error::Error for LoggingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Format { source, .. } => Some(source),
            Self::Level { source, .. } => Some(source),
            Self::Thread(source) => Some(source),
            Self::AlreadyInstalled => None,
        }
    }
}

pub(super) fn truncated(value: &str) -> String {
    value.chars().take(MAX_SHOWN_CHARS).collect()
}
