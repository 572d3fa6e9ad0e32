//! Environment variables: the format and the levels, unless the code sets them.

use logtracer_core::line::Format;

use super::LoggingError;
use crate::system;

/// The variable with the format.
const FORMAT_VARIABLE: &str = "LOGGING_FORMAT";
/// The variables with the levels; the first that is set counts.
pub(super) const LEVEL_VARIABLES: [&str; 2] = ["RUST_LOG", "LOG_LEVEL"];

/// Reads [`Format`] from the environment.
///
/// ```
/// use logtracer_sdk::Format;
/// use logtracer_sdk::prelude::*;
///
/// assert!(Format::from_env().is_ok()); // the variable is not set here
/// ```
pub trait FormatExt: Sized {
    /// Returns the format that `LOGGING_FORMAT` names, or `stackdriver` if it is not set.
    ///
    /// [`Logging`](crate::Logging) does this by itself.
    ///
    /// # Errors
    ///
    /// If the value is neither `stackdriver` nor `local`.
    fn from_env() -> Result<Self, LoggingError>;
}

impl FormatExt for Format {
    fn from_env() -> Result<Self, LoggingError> {
        read_format(variable)
    }
}

pub(super) fn read_format(variable: impl Fn(&'static str) -> Option<String>) -> Result<Format, LoggingError> {
    let Some(value) = variable(FORMAT_VARIABLE) else {
        return Ok(Format::default());
    };
    value.trim().parse().map_err(|source| LoggingError::Format { variable: FORMAT_VARIABLE, value, source })
}

/// Returns an environment variable; one without text counts as not set.
pub(super) fn variable(name: &'static str) -> Option<String> {
    system::variable(name).filter(|value| !value.trim().is_empty())
}
