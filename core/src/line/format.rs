//! [`Format`]: the two sets of keys of a line.

use core::fmt;
use core::str::FromStr;

use super::keys::Keys;

/// The format of a line.
///
/// ```
/// # use logtracer_core::line::Format;
/// assert_eq!("stackdriver".parse(), Ok(Format::Stackdriver));
/// assert_eq!(Format::Local.as_str(), "local");
/// assert!(Format::Local.is_reserved("spanId") && !Format::Stackdriver.is_reserved("spanId"));
/// assert_eq!(
///     "json".parse::<Format>().unwrap_err().to_string(),
///     "expected the log format `stackdriver` or `local`",
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// The special keys of Cloud Logging, such as `logging.googleapis.com/trace`. Its agents move them to the fields of
    /// the log entry.
    #[default]
    Stackdriver,
    /// Short keys (`trace`, `spanId`) and the plain trace id, for reading on a developer's machine.
    Local,
}

impl Format {
    /// Returns the name of the format in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stackdriver => "stackdriver",
            Self::Local => "local",
        }
    }

    /// Returns true if a field cannot have this name because it has a meaning to the format or to an agent.
    ///
    /// Reserved are the keys of the format, the other keys that Google's agents interpret, and all names that begin
    /// with `fields.`, so that a renamed field cannot collide with another one.
    pub fn is_reserved(self, name: &str) -> bool {
        Keys::of(self).is_reserved(name)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, FormatError> {
        match name {
            "stackdriver" => Ok(Self::Stackdriver),
            "local" => Ok(Self::Local),
            _ => Err(FormatError),
        }
    }
}

/// The error of parsing a [`Format`]. It lists the two names.
///
/// ```
/// # use logtracer_core::line::Format;
/// assert!("json".parse::<Format>().unwrap_err().to_string().starts_with("expected the log format"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatError;

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected the log format `stackdriver` or `local`")
    }
}

impl std::error::Error for FormatError {}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_of_formats() {
        for (format, name) in [(Format::Stackdriver, "stackdriver"), (Format::Local, "local")] {
            assert_eq!((format.to_string().as_str(), name.parse()), (name, Ok(format)));
        }
        for name in ["", "Local", "json"] {
            let error = name.parse::<Format>().unwrap_err();
            assert_eq!(error.to_string(), "expected the log format `stackdriver` or `local`", "{name}");
        }
    }

    #[test]
    fn reserved_names() {
        for (name, by_stackdriver, by_local) in [
            ("severity", true, true),
            ("message", true, true),
            ("time", true, true),
            ("httpRequest", true, true),
            ("fields.", true, true),
            ("fields.user", true, true),
            ("timestamp", true, false),
            ("timestampSeconds", true, false),
            ("timestampNanos", true, false),
            ("logging.googleapis.com/sourceLocation", true, false),
            ("logging.googleapis.com/trace", true, false),
            ("logging.googleapis.com/spanId", true, false),
            ("logging.googleapis.com/trace_sampled", true, false),
            ("logging.googleapis.com/labels", true, false),
            ("logging.googleapis.com/", true, false),
            ("sourceLocation", false, true),
            ("trace", false, true),
            ("spanId", false, true),
            ("traceSampled", false, true),
            ("labels", false, true),
            ("", false, false),
            ("user", false, false),
            ("Severity", false, false),
            ("severities", false, false),
            ("fields", false, false),
            ("logging.googleapis.com", false, false),
        ] {
            assert_eq!(Format::Stackdriver.is_reserved(name), by_stackdriver, "{name}");
            assert_eq!(Format::Local.is_reserved(name), by_local, "{name}");
        }
        for length in [63, 64, 300] {
            assert!(!Format::Stackdriver.is_reserved(&"x".repeat(length)), "{length} bytes");
        }
    }
}
