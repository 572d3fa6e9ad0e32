//! [`ErrorReport`]: what makes a line an event of Google's Error Reporting.

use super::keys::key;
use super::{Line, MAX_TEXT_BYTES, json};

/// What Error Reporting wants to know of an error beside its message.
///
/// <https://cloud.google.com/error-reporting/docs/formatting-error-messages>
///
/// ```
/// use logtracer_core::line::{ErrorReport, Format, Line, Value};
///
/// let mut out = Vec::new();
/// let mut line = Line::new(&mut out, Format::Stackdriver, None);
/// line.error_report(&ErrorReport { service: "shop", version: "1.2", file: "src/db.rs", line: Some(7) })
///     .field("context", Value::Str("the caller's own")); // is taken on such a line
/// line.finish();
/// assert_eq!(
///     String::from_utf8(out).unwrap(),
///     concat!(
///         r#"{"@type":"type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent","#,
///         r#""serviceContext":{"service":"shop","version":"1.2"},"#,
///         r#""context":{"reportLocation":{"filePath":"src/db.rs","lineNumber":7}},"#,
///         r#""fields.context":"the caller's own"}"#,
///     ),
/// );
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorReport<'a> {
    /// The service that failed.
    pub service: &'a str,
    /// Its version, empty for none.
    pub version: &'a str,
    /// The file of the source where it failed, empty for unknown.
    pub file: &'a str,
    /// The line in it.
    pub line: Option<u32>,
}

/// The type that tells Error Reporting to take the line without a stack trace in it.
const TYPE: &str = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent";

/// The keys that a report takes, for fields that were rendered before anyone knew of the report.
pub(super) const TAKEN: [&str; 4] = ["@type", "serviceContext", "context", "stack_trace"];

impl ErrorReport<'_> {
    pub(super) fn write(&self, line: &mut Line<'_>) {
        line.key(key!("@type"));
        line.quoted(TYPE);
        line.object(key!("serviceContext"), |object| {
            for (key, value) in [(key!("service"), self.service), (key!("version"), self.version)] {
                if !value.is_empty() {
                    object.text(key, MAX_TEXT_BYTES, |text| text.push(value));
                }
            }
        });
        line.object(key!("context"), |object| {
            object.object(key!("reportLocation"), |object| {
                if !self.file.is_empty() {
                    object.text(key!("filePath"), MAX_TEXT_BYTES, |text| text.push(self.file));
                }
                if let Some(number) = self.line {
                    object.key(key!("lineNumber"));
                    json::integer(object.out, number.into());
                }
            });
        });
    }
}

/// The name of a rendered field, if it is one of those that a report takes.
pub(super) fn is_taken(rendered: &[u8]) -> bool {
    TAKEN.iter().any(|name| {
        rendered
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.starts_with(b"\":"))
    })
}
