//! [`Format`]: which keys a line has.

use core::fmt;
use core::str::FromStr;

use super::keys::Keys;

/// The two formats of a line.
///
/// ```
/// use logtracer_core::line::Format;
///
/// assert_eq!("stackdriver".parse(), Ok(Format::Stackdriver));
/// assert_eq!(
///     "json".parse::<Format>().unwrap_err().to_string(),
///     "expected the log format `stackdriver` or `local`",
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// The special keys of Cloud Logging, such as `logging.googleapis.com/trace`: its agents put them in their
    /// places of the log entry.
    #[default]
    Stackdriver,
    /// Short keys (`trace`, `spanId`) and the bare trace id, for reading on one's own machine.
    Local,
}

impl Format {
    /// The name of the format in configurations.
    ///
    /// ```
    /// use logtracer_core::line::Format;
    ///
    /// assert_eq!(Format::Local.as_str(), "local");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stackdriver => "stackdriver",
            Self::Local => "local",
        }
    }

    /// True for a name that no field of a line can have, because the format (or an agent that reads it) gives it
    /// a meaning.
    ///
    /// These are the keys of the format itself; the other keys that Google's agents take out of a line; and all
    /// names that begin with `fields.`, so that a renamed field cannot meet another one.
    ///
    /// ```
    /// use logtracer_core::line::Format;
    ///
    /// assert!(Format::Stackdriver.is_reserved("severity"));
    /// assert!(Format::Stackdriver.is_reserved("logging.googleapis.com/insertId"));
    /// assert!(!Format::Stackdriver.is_reserved("spanId"));
    /// assert!(Format::Local.is_reserved("spanId"));
    /// ```
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
            _ => Err(FormatError(())),
        }
    }
}

/// A text is not the name of a [`Format`]; names the two that are.
///
/// ```
/// use logtracer_core::line::Format;
///
/// assert!("json".parse::<Format>().unwrap_err().to_string().starts_with("expected the log format"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatError(());

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected the log format `stackdriver` or `local`")
    }
}

impl std::error::Error for FormatError {}
