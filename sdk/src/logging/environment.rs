//! What the environment says where the code does not.

use logtracer_core::line::Format;

use super::LoggingError;

/// The variable that chooses the format.
const FORMAT_VARIABLE: &str = "LOGGING_FORMAT";
/// The variables that choose the levels, the first that is set.
pub(super) const LEVEL_VARIABLES: [&str; 2] = ["RUST_LOG", "LOG_LEVEL"];

/// The format that `LOGGING_FORMAT` names, `None` where it is not set.
///
/// ```
/// use logtracer_sdk::logging::format_from_env;
///
/// // The variable is not set here.
/// assert!(matches!(format_from_env(), Ok(None)));
/// ```
///
/// # Errors
///
/// When it names neither `stackdriver` nor `local`.
pub fn format_from_env() -> Result<Option<Format>, LoggingError> {
    read_format(variable)
}

pub(super) fn read_format(
    variable: impl Fn(&'static str) -> Option<String>,
) -> Result<Option<Format>, LoggingError> {
    let Some(value) = variable(FORMAT_VARIABLE) else {
        return Ok(None);
    };
    match value.parse() {
        Ok(format) => Ok(Some(format)),
        Err(source) => Err(LoggingError::Format { variable: FORMAT_VARIABLE, value, source }),
    }
}

/// A variable of the environment; an empty one counts as not set.
pub(super) fn variable(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
