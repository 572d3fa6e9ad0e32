//! [`Severity`]: Cloud Logging's severities.

use core::fmt;

/// Cloud Logging's severities, from the least to the most severe.
///
/// ```
/// use logtracer_core::line::Severity;
///
/// assert_eq!(Severity::from_http_status(503).as_str(), "ERROR");
/// assert_eq!(Severity::from_name("NOTICE"), Some(Severity::Notice));
/// assert_eq!(Severity::from_name("notice"), None);
/// assert!(Severity::Warning > Severity::Info);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Severity {
    /// No severity is assigned.
    #[default]
    Default,
    /// Information for debugging.
    Debug,
    /// Routine information.
    Info,
    /// Normal but significant events: a start, a stop, a change of configuration.
    Notice,
    /// Events that might cause problems.
    Warning,
    /// Events that are likely to cause problems.
    Error,
    /// Events that cause severe problems or outages.
    Critical,
    /// A person must act immediately.
    Alert,
    /// The system is unusable.
    Emergency,
}

impl Severity {
    /// Every severity, from the least to the most severe.
    pub const ALL: [Self; 9] = [
        Self::Default,
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Alert,
        Self::Emergency,
    ];

    /// Returns the severity of this name in Google's spelling, which is case-sensitive. [`from_text`](Self::from_text)
    /// accepts others.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == name)
    }

    /// Returns the name in Google's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "DEFAULT",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
            Self::Alert => "ALERT",
            Self::Emergency => "EMERGENCY",
        }
    }

    /// Returns the severity of a request with this status: `Error` from 500 and `Warning` for 4xx, except for 499 (the
    /// client closed the request), which is `Info` like all others.
    pub const fn from_http_status(status: u16) -> Self {
        match status {
            400..=498 => Self::Warning,
            500.. => Self::Error,
            _ => Self::Info,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_of_severities() {
        let names =
            ["DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY"];
        for (severity, name) in Severity::ALL.into_iter().zip(names) {
            assert_eq!((severity.to_string().as_str(), Severity::from_name(name)), (name, Some(severity)));
        }
        assert!(Severity::ALL.is_sorted());
        for name in ["", "notice", "WARN", "INFO "] {
            assert_eq!(Severity::from_name(name), None, "{name}");
        }
    }
}
