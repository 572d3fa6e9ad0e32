//! What the environment says where the code does not.

use logtracer_core::line::Format;

use super::LoggingError;

/// The variable that chooses the format.
const FORMAT_VARIABLE: &str = "LOGGING_FORMAT";
/// The variables that choose the levels, the first that is set.
pub(super) const LEVEL_VARIABLES: [&str; 2] = ["RUST_LOG", "LOG_LEVEL"];

/// [`Format`] as the environment names it.
///
/// ```
/// use logtracer_sdk::Format;
/// use logtracer_sdk::prelude::*;
///
/// assert!(Format::from_env().is_ok()); // the variable is not set here
/// ```
pub trait FormatExt: Sized {
    /// The format that `LOGGING_FORMAT` names, `stackdriver` where it is not set.
    ///
    /// [`Logging`](crate::Logging) looks there by itself; this is for those who want to know.
    ///
    /// ```
    /// use logtracer_sdk::Format;
    /// use logtracer_sdk::prelude::*;
    ///
    /// // The variable is not set here.
    /// assert_eq!(Format::from_env()?, Format::Stackdriver);
    /// # Ok::<(), logtracer_sdk::LoggingError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When it names neither `stackdriver` nor `local`.
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
    value.parse().map_err(|source| LoggingError::Format { variable: FORMAT_VARIABLE, value, source })
}

/// A variable of the environment; an empty one counts as not set.
pub(super) fn variable(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
