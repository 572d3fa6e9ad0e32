//! [`ErrorReport`]: the members that make a line an event of Google's Error Reporting.

use super::keys::key;
use super::{Line, MAX_TEXT_BYTES};
use crate::decimal;

/// The data of an error for Error Reporting, besides its message.
///
/// <https://cloud.google.com/error-reporting/docs/formatting-error-messages>
///
/// ```
/// use logtracer_core::line::{ErrorReport, Format, Line, Value};
///
/// let mut out = Vec::new();
/// let mut line = Line::new(&mut out, Format::Stackdriver, None);
/// line.error_report(&ErrorReport { service: "shop", version: "1.2", file: "src/db.rs", line: Some(7) })
///     .field("context", Value::Str("of the caller")); // `context` is reserved in a report
/// line.finish();
/// assert_eq!(
///     String::from_utf8(out).unwrap(),
///     concat!(
///         r#"{"@type":"type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent","#,
///         r#""serviceContext":{"service":"shop","version":"1.2"},"#,
///         r#""context":{"reportLocation":{"filePath":"src/db.rs","lineNumber":7}},"#,
///         r#""fields.context":"of the caller"}"#,
///     ),
/// );
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorReport<'a> {
    /// The service that failed.
    pub service: &'a str,
    /// The version of the service, or empty.
    pub version: &'a str,
    /// The source file of the error, or empty.
    pub file: &'a str,
    /// The line in the source file.
    pub line: Option<u32>,
}

/// With this type Error Reporting accepts a line without a stack trace.
const TYPE: &str = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent";

/// The keys that are reserved in a report only.
pub(super) const RESERVED: [&str; 4] = ["@type", "serviceContext", "context", "stack_trace"];

impl ErrorReport<'_> {
    pub(super) fn write(&self, line: &mut Line<'_>) {
        line.key(key!("@type"));
        line.quoted(TYPE);
        write_service(line, self.service, self.version);
        line.object(key!("context"), |object| {
            object.object(key!("reportLocation"), |object| {
                if !self.file.is_empty() {
                    object.text(key!("filePath"), MAX_TEXT_BYTES, |text| text.push(self.file));
                }
                if let Some(number) = self.line {
                    object.key(key!("lineNumber"));
                    decimal::write(object.out, number.into());
                }
            });
        });
    }
}

/// Writes `serviceContext`, without its empty members.
pub(super) fn write_service(line: &mut Line<'_>, service: &str, version: &str) {
    line.object(key!("serviceContext"), |object| {
        for (key, value) in [(key!("service"), service), (key!("version"), version)] {
            if !value.is_empty() {
                object.text(key, MAX_TEXT_BYTES, |text| text.push(value));
            }
        }
    });
}

/// Returns true if the name of a rendered field is reserved in a report.
pub(super) fn is_reserved(rendered: &[u8]) -> bool {
    RESERVED.iter().any(|name| {
        rendered
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.starts_with(b"\":"))
    })
}
