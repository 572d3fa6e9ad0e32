//! [`LevelError`].

use std::fmt;

use tracing_subscriber::filter::ParseError;

use super::error::truncated;

/// Why levels are invalid, as the source of [`LoggingError::Level`](super::LoggingError::Level).
///
/// ```
/// use std::error::Error;
/// use logtracer_sdk::Logging;
/// use logtracer_sdk::logging::LevelError;
/// use tracing_subscriber::Registry;
///
/// let wrong = Logging::new("my-project", "shop").level("inof").ignore_environment().layer::<Registry>();
/// let error = wrong.map(|_| ()).unwrap_err();
/// let source = error.source().unwrap().downcast_ref::<LevelError>().unwrap();
/// assert_eq!(
///     source.to_string(),
///     "\"inof\" is not a level (off, error, warn, info, debug or trace); a target has one, as in \"inof=trace\"",
/// );
/// ```
#[derive(Debug)]
pub struct LevelError(Kind);

#[derive(Debug)]
enum Kind {
    Empty,
    NotALevel {
        name: String,
        directive: String,
    },
    NoTarget {
        directive: String,
    },
    /// A span directive, for example.
    Directive(ParseError),
}

impl LevelError {
    pub(super) fn empty() -> Self {
        Self(Kind::Empty)
    }

    pub(super) fn not_a_level(name: &str, directive: &str) -> Self {
        Self(Kind::NotALevel { name: truncated(name), directive: truncated(directive) })
    }

    pub(super) fn no_target(directive: &str) -> Self {
        Self(Kind::NoTarget { directive: truncated(directive) })
    }

    pub(super) fn directive(source: ParseError) -> Self {
        Self(Kind::Directive(source))
    }
}

impl fmt::Display for LevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Empty => f.write_str("there is no level"),
            Kind::NotALevel { name, directive } => {
                write!(f, "{name:?} is not a level (off, error, warn, info, debug or trace)")?;
                if name != directive {
                    write!(f, " in {directive:?}")
                } else if name.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
                    Ok(())
                } else {
                    write!(f, "; a target has one, as in {:?}", format!("{name}=trace"))
                }
            }
            Kind::NoTarget { directive } => write!(f, "{directive:?} has no target"),
            Kind::Directive(source) => source.fmt(f),
        }
    }
}

impl std::error::Error for LevelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Directive(source) => source.source(),
            _ => None,
        }
    }
}
