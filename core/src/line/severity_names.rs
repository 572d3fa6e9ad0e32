//! The names of severities in log libraries.

use super::Severity;

/// The names of each severity in lower case, beside Cloud Logging's own.
///
/// They are the names of OTLP, syslog (also as nginx and `logger` write them), `java.util.logging`, Log4j, .NET, Serilog,
/// Python, Go's slog, zap, logrus and zerolog, Node's winston and bunyan, and Rust. Where Google's agents know a name,
/// the severity is theirs (`fluent-plugin-google-cloud`).
const NAMES: &[(Severity, &[&str])] = &[
    (Severity::Default, &["unspecified", "unset", "none", "notset"]),
    (
        Severity::Debug,
        &[
            "trace",
            "trc",
            "trce",
            "trace_int",
            "verbose",
            "http",
            "vrb",
            "silly",
            "finest",
            "finer",
            "fine",
            "config",
            "dbg",
            "dbug",
            "d",
        ],
    ),
    (Severity::Info, &["information", "informational", "inf", "log", "success", "i"]),
    (Severity::Notice, &["n"]),
    (Severity::Warning, &["warn", "wrn", "w"]),
    (Severity::Error, &["err", "eror", "fail", "failure", "severe", "exception", "e"]),
    (Severity::Critical, &["crit", "fatal", "ftl", "dpanic", "c", "f"]),
    (Severity::Alert, &["a"]),
    (Severity::Emergency, &["emerg", "panic", "pnc"]),
];

impl Severity {
    /// Returns the severity that log libraries give this name, in upper or lower case, or that has this number as a
    /// `LogSeverity` of Cloud Logging.
    ///
    /// A digit at the end of a name is that of OTLP (`ERROR2`), PostgreSQL (`DEBUG5`) or Apache (`trace8`).
    ///
    /// ```
    /// use logtracer_core::line::Severity;
    ///
    /// assert_eq!(Severity::from_text("warn"), Some(Severity::Warning));
    /// assert_eq!(Severity::from_text("FATAL"), Some(Severity::Critical));
    /// assert_eq!(Severity::from_text("500"), Some(Severity::Error));
    /// assert_eq!(Severity::from_text("audit"), None);
    /// ```
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(number) = text.parse() {
            return Self::from_log_severity(number);
        }
        let name = text.strip_suffix(|last| matches!(last, '1'..='8')).unwrap_or(text);
        let is_named = |severity: &Self, names: &[&str]| {
            name.eq_ignore_ascii_case(severity.as_str())
                || names.iter().any(|one| name.eq_ignore_ascii_case(one))
        };
        NAMES.iter().find(|(severity, names)| is_named(severity, names)).map(|(severity, _)| *severity)
    }

    /// Returns the severity with this number as a `LogSeverity` of Cloud Logging: 200 is INFO. A number between two
    /// counts as the lower, and one of less than 100, as the levels of other loggers are, is unknown.
    ///
    /// ```
    /// use logtracer_core::line::Severity;
    ///
    /// assert_eq!(Severity::from_log_severity(200), Some(Severity::Info));
    /// assert_eq!(Severity::from_log_severity(30), None);
    /// ```
    pub fn from_log_severity(number: u64) -> Option<Self> {
        let step = number / 100;
        let index = usize::try_from(step.min(Self::ALL.len() as u64 - 1)).ok()?;
        if step == 0 { None } else { Self::ALL.get(index).copied() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_are_those_of_common_log_libraries() {
        for (severity, names) in [
            (Severity::Default, "DEFAULT default UNSPECIFIED NotSet"),
            (
                Severity::Debug,
                "DEBUG Debug debug TRACE Trace trace TRACE2 debug4 Verbose VRB FINE finer FINEST CONFIG silly D http DEBUG5 trace8 100",
            ),
            (Severity::Info, "INFO Info info INFO3 Information INFORMATIONAL inf success I"),
            (Severity::Notice, "NOTICE Notice notice N"),
            (Severity::Warning, "WARN Warn warn WARN2 WARNING Warning warning wrn W"),
            (Severity::Error, "ERROR Error error ERROR2 err ERR SEVERE fail Exception E 500"),
            (Severity::Critical, "FATAL Fatal fatal FATAL4 CRITICAL Critical crit CRIT dpanic F"),
            (Severity::Alert, "ALERT alert A"),
            (Severity::Emergency, "EMERGENCY emerg EMERG panic Panic"),
        ] {
            for name in names.split(' ') {
                assert_eq!(Severity::from_text(name), Some(severity), "{name}");
            }
        }
        assert_eq!(Severity::from_text(" warn\n"), Some(Severity::Warning));
        for unknown in [
            "",
            " ",
            "2",
            "99",
            "-100",
            "ERROR0",
            "ERROR22",
            "WARNINGS",
            "info error",
            "AUDIT",
            "\u{fffd}",
            "ınfo",
        ] {
            assert_eq!(Severity::from_text(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn numbers_of_cloud_logging_are_hundreds() {
        for (numbers, expected) in [
            (0..=99, None),
            (100..=199, Some(Severity::Debug)),
            (200..=299, Some(Severity::Info)),
            (300..=399, Some(Severity::Notice)),
            (400..=499, Some(Severity::Warning)),
            (500..=599, Some(Severity::Error)),
            (600..=699, Some(Severity::Critical)),
            (700..=799, Some(Severity::Alert)),
            (800..=1000, Some(Severity::Emergency)),
            (u64::MAX..=u64::MAX, Some(Severity::Emergency)),
        ] {
            for number in numbers {
                assert_eq!(Severity::from_log_severity(number), expected, "{number}");
            }
        }
    }

    #[test]
    fn each_severity_and_each_name_is_in_the_table_once() {
        let severities: Vec<_> = NAMES.iter().map(|(severity, _)| *severity).collect();
        assert_eq!(severities, Severity::ALL);
        for (severity, names) in NAMES {
            for name in *names {
                assert_eq!(Severity::from_text(name), Some(*severity), "{name}");
                assert_eq!(name.to_ascii_lowercase(), **name);
            }
        }
    }
}
