//! [`Service`]: the options that all lines of a logging share.

use std::fmt::{Display, Write as _};

use logtracer_core::line::{Format, Line, Severity, Text};
use tracing_core::{Level, Metadata};

use crate::{system, targets};

/// The service, and the options of its lines.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) format: Format,
    pub(super) project_id: Option<String>,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) logger_names: LoggerNames,
    pub(super) labels: Vec<(String, String)>,
    /// Lines of this level or above are events of Error Reporting.
    pub(super) report_errors: Option<Level>,
    pub(super) parts: LineParts,
}

/// Parts that a line has on request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LineParts {
    pub(super) target: bool,
    pub(super) spans: bool,
}

/// The keys of these parts.
pub(super) const TARGET: &str = "target";
pub(super) const SPANS: &str = "spans";

/// The name at the beginning of a message, like the logger names of bbc/logtracer.
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
    /// `basket opened`: without a name. Each line has the name and the version in `serviceContext`, where Error
    /// Reporting looks for them.
    None,
}

/// The place in the source that a line comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceLocation<'a> {
    pub(super) target: &'a str,
    pub(super) file: Option<&'a str>,
    pub(super) line: Option<u32>,
}

impl<'a> SourceLocation<'a> {
    /// The source of a line about a request is the SDK, not the service: it is left out.
    pub(super) fn of(metadata: &Metadata<'a>) -> Self {
        let target = metadata.target();
        let is_own = targets::is_own(target);
        Self { target, file: metadata.file().filter(|_| !is_own), line: metadata.line().filter(|_| !is_own) }
    }

    pub(super) fn write(&self, line: &mut Line<'_>) {
        if let Some(file) = self.file {
            line.source_location(file, self.line, None);
        }
    }
}

impl Service {
    /// Renders the line that reports dropped lines, and why the last of them is dropped.
    pub(super) fn render_dropped(&self, lines: u64, cause: Option<&dyn Display>) -> Vec<u8> {
        match cause {
            Some(cause) => self.render_warning(&format_args!("dropped {lines} log lines: {cause}")),
            None => self.render_warning(&format_args!("dropped {lines} log lines")),
        }
    }

    /// Renders a WARNING line of the logging itself.
    pub(super) fn render_warning(&self, message: &dyn Display) -> Vec<u8> {
        let mut out = Vec::new();
        let mut line = Line::new(&mut out, self.format, self.project_id.as_deref());
        line.severity(Severity::Warning)
            .message(|text| {
                self.write_name("", text);
                let _ = write!(text, "{message}");
            })
            .time(system::unix_nanos());
        self.write_context(&mut line);
        self.write_labels(&mut line);
        line.finish();
        out.push(b'\n');
        out
    }

    /// Writes the name of the service, if it is not part of the message. An error report has it in any case.
    pub(super) fn write_context(&self, line: &mut Line<'_>) {
        if self.logger_names == LoggerNames::None {
            line.service_context(&self.name, &self.version);
        }
    }

    /// Returns the names that a field cannot have besides those of the format.
    pub(super) fn reserved_names(&self) -> &'static [&'static str] {
        let has_context = self.logger_names == LoggerNames::None;
        match (has_context, self.parts.target || self.parts.spans) {
            (false, false) => &[],
            (true, false) => &["serviceContext"],
            (false, true) => &[SPANS, TARGET],
            (true, true) => &["serviceContext", SPANS, TARGET],
        }
    }

    /// Writes the labels that all lines have.
    pub(super) fn write_labels(&self, line: &mut Line<'_>) {
        line.labels(|labels| self.labels.iter().for_each(|(name, value)| labels.text(name, value)));
    }

    /// Writes the name of the logger, `<name> - `.
    pub(super) fn write_name(&self, target: &str, text: &mut Text<'_>) {
        if self.logger_names == LoggerNames::None {
            return;
        }
        text.push(&self.name);
        let module = match self.logger_names {
            LoggerNames::PerModule if !targets::is_own(target) => target,
            _ => "",
        };
        match (self.name.is_empty(), module.is_empty()) {
            (true, true) => return,
            (_, true) => {}
            (true, false) => text.push(module),
            (false, false) => {
                text.push(".");
                text.push(module);
            }
        }
        text.push(" - ");
    }

    /// Returns true if a line is an event of Error Reporting.
    ///
    /// A panic always is. The line of a failed request is not: the error that made it fail has its own line.
    pub(super) fn is_reported(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let may_be_error = target == targets::ERROR || !targets::is_own(target);
        target == targets::PANIC
            || (may_be_error && self.report_errors.is_some_and(|level| *metadata.level() <= level))
    }
}
