//! [`LoggingError`].

use std::fmt;

use logtracer_core::line::UnknownFormat;
use tracing_subscriber::filter::ParseError;

/// Why the logging could not be set up.
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
    /// The environment names a format that does not exist.
    Format {
        /// The variable of the environment.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What was expected.
        source: UnknownFormat,
    },
    /// The log levels cannot be read.
    Level {
        /// The variable of the environment, `None` for levels that the code gave.
        variable: Option<&'static str>,
        /// What it holds.
        value: String,
        /// What was expected.
        source: ParseError,
    },
    /// The process has a `tracing` subscriber or a logger of `log` already.
    AlreadyInstalled,
    /// There is no thread to be had for [`Logging::non_blocking`](crate::Logging::non_blocking).
    Thread(std::io::Error),
}

/// As much of a value as an error repeats.
const MAX_SHOWN_CHARS: usize = 80;

impl fmt::Display for LoggingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format { variable, value, source } => {
                write!(f, "{variable} is {:?}: {source}", shortened(value))
            }
            Self::Level { variable: Some(variable), value, source } => {
                write!(f, "{variable} is {:?}: {source}", shortened(value))
            }
            Self::Level { variable: None, value, source } => {
                write!(f, "the log levels are {:?}: {source}", shortened(value))
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

fn shortened(value: &str) -> String {
    value.chars().take(MAX_SHOWN_CHARS).collect()
}
