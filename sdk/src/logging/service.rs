//! [`Service`]: what all lines of a logging have in common.

use std::fmt::Write as _;

use logtracer_core::line::{Format, Line, Severity, Text};
use tracing_core::{Level, Metadata};

use crate::targets;

/// Whose lines they are, and how they are written.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) format: Format,
    pub(super) project_id: Option<String>,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) logger_names: LoggerNames,
    pub(super) labels: Vec<(String, String)>,
    /// Lines of this level or worse are events of Error Reporting.
    pub(super) report_errors: Option<Level>,
}

/// The name that a message begins with, as the original's loggers had it.
///
/// ```
/// use logtracer_sdk::logging::LoggerNames;
///
/// assert_eq!(LoggerNames::default(), LoggerNames::Service);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LoggerNames {
    /// `shop - basket opened`.
    #[default]
    Service,
    /// `shop.shop::basket - basket opened`: with the target of the event, which is its module.
    PerModule,
}

/// Where in the source a line comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) target: &'a str,
    pub(super) file: Option<&'a str>,
    pub(super) line: Option<u32>,
}

impl Place<'_> {
    pub(super) fn write(&self, line: &mut Line<'_>) {
        if let Some(file) = self.file {
            line.source_location(file, self.line, None);
        }
    }
}

impl Service {
    /// The line that tells of lines that nobody will see.
    pub(super) fn line_of_lost(&self, lost: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let mut line = Line::new(&mut out, self.format, self.project_id.as_deref());
        line.severity(Severity::Warning)
            .message(|text| {
                self.write_name("", text);
                let _ = write!(text, "lost {lost} log lines");
            })
            .time(crate::clock::unix_nanos());
        self.write_labels(&mut line);
        line.finish();
        out.push(b'\n');
        out
    }

    /// Writes the labels of all lines.
    pub(super) fn write_labels(&self, line: &mut Line<'_>) {
        line.labels(|labels| self.labels.iter().for_each(|(name, value)| labels.text(name, value)));
    }

    /// Writes the name of the logger, `<name> - `.
    pub(super) fn write_name(&self, target: &str, text: &mut Text<'_>) {
        text.push(&self.name);
        let module = match self.logger_names {
            LoggerNames::PerModule if !targets::is_own(target) => target,
            _ => "",
        };
        if !self.name.is_empty() && !module.is_empty() {
            text.push(".");
        }
        text.push(module);
        if !self.name.is_empty() || !module.is_empty() {
            text.push(" - ");
        }
    }

    /// True where a line is an event of Error Reporting.
    ///
    /// A panic always is; a request that failed is not: what made it fail has been reported.
    pub(super) fn reports(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        // A line about a request tells its status and no cause, which has a line of its own.
        let may_be_error = target == targets::ERROR || !targets::is_own(target);
        target == targets::PANIC
            || (may_be_error && self.report_errors.is_some_and(|level| *metadata.level() <= level))
    }
}
