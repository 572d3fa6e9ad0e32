//! [`Severity`]: how much a line matters, in Google's words.

use core::fmt;

/// Cloud Logging's severities, from the least to the most severe.
///
/// ```
/// use logtracer_core::line::Severity;
///
/// assert_eq!(Severity::from_http_status(503).as_str(), "ERROR");
/// assert!(Severity::Warning > Severity::Info);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Severity {
    /// No severity assigned.
    #[default]
    Default,
    /// For debugging.
    Debug,
    /// Routine.
    Info,
    /// Normal but significant: a start, a stop, a change of configuration.
    Notice,
    /// Might cause problems.
    Warning,
    /// Likely to cause problems.
    Error,
    /// Severe problems or outages.
    Critical,
    /// Someone must act at once.
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

    /// The severity that is spelled like this, exactly.
    ///
    /// ```
    /// use logtracer_core::line::Severity;
    ///
    /// assert_eq!(Severity::from_name("NOTICE"), Some(Severity::Notice));
    /// assert_eq!(Severity::from_name("notice"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == name)
    }

    /// Google's exact spelling.
    ///
    /// ```
    /// use logtracer_core::line::Severity;
    ///
    /// assert_eq!(Severity::Emergency.as_str(), "EMERGENCY");
    /// ```
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

    /// The severity of a request that ended with this status: 5xx are errors of the server, 4xx warnings;
    /// 499 (the client went away) is nobody's fault and informs.
    ///
    /// ```
    /// use logtracer_core::line::Severity;
    ///
    /// let severities = [200, 404, 499, 503].map(Severity::from_http_status);
    /// assert_eq!(severities, [Severity::Info, Severity::Warning, Severity::Info, Severity::Error]);
    /// ```
    pub const fn from_http_status(status: u16) -> Self {
        match status {
            499 => Self::Info,
            400..=498 => Self::Warning,
            500..=599 => Self::Error,
            _ => Self::Info,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
