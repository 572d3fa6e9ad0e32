//! Log lines: JSON objects in one of two formats.
//!
//! ```text
//!  TraceContext, HttpRequest, labels, fields ──► Line ──► json::Text (escape, truncate) ──► the caller's buffer
//!                                                 │
//!                                          keys (the names of both formats)
//! ```
//!
//! [`Line`] writes all log lines of logtracer: those of the filter, of the exporter, and of services with the SDK.
//! It appends to a buffer of the caller and does not allocate otherwise.
//!
//! Invariant: for any input, a line is one valid JSON object without a raw line break, of at most [`MAX_LINE_BYTES`].
//! Control characters are escaped, bytes that are not UTF-8 become U+FFFD, and a truncated text ends in `…`.
//!
//! ```
//! use logtracer_core::line::{Format, Line, Severity, Value};
//! use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
//!
//! let context = TraceContext::root(
//!     TraceId::from_hex(b"463ac35c9f6413ad48485a3953bb6124").unwrap(),
//!     SpanId::from_hex(b"00f067aa0ba902b7").unwrap(),
//!     Sampling::Accept,
//! );
//!
//! let mut out = Vec::new();
//! let mut line = Line::new(&mut out, Format::Stackdriver, Some("my-project"));
//! line.severity(Severity::Info)
//!     .time(1_532_527_445_499_727_000)
//!     .message(|text| text.push("shop - basket opened"))
//!     .trace(&context)
//!     .field("items", Value::U64(3));
//! line.finish();
//!
//! assert_eq!(
//!     String::from_utf8(out).unwrap(),
//!     concat!(
//!         r#"{"severity":"INFO","time":"2018-07-25T14:04:05.499727000Z","message":"shop - basket opened","#,
//!         r#""logging.googleapis.com/trace":"projects/my-project/traces/463ac35c9f6413ad48485a3953bb6124","#,
//!         r#""logging.googleapis.com/spanId":"00f067aa0ba902b7","logging.googleapis.com/trace_sampled":true,"#,
//!         r#""items":3}"#
//!     ),
//! );
//! ```

mod entry;
mod exact;
mod format;
mod http_request;
mod json;
mod keys;
mod labels;
mod marked;
mod report;
mod severity;
mod severity_names;
mod time;
mod value;

#[cfg(test)]
mod tests;

pub use entry::{HttpCache, Operation};
pub use format::{Format, FormatError};
pub use http_request::HttpRequest;
pub use json::Text;
pub use labels::Labels;
pub use marked::MarkedField;
pub use report::ErrorReport;
pub use severity::Severity;
pub use time::TimeText;
pub use value::{Value, render_value};

use crate::TraceContext;
use keys::{Key, Keys, key};

/// The maximum length of a line. Cloud Logging rejects entries above about 256 KiB.
pub const MAX_LINE_BYTES: usize = 192 * 1024;

/// The maximum length of a message, in escaped bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The maximum length of a text in a field, in `httpRequest` and in a source location, in escaped bytes.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;

/// The maximum length of the value of a label, in escaped bytes.
pub const MAX_LABEL_BYTES: usize = 1024;

/// The maximum length of the name of a field or label, in escaped bytes.
pub const MAX_NAME_BYTES: usize = 256;

/// The maximum number of labels of a line: Cloud Logging's limit.
pub const MAX_LABELS: usize = 64;

/// The bytes reserved for members of bounded length: severity, time, ids and closing braces.
const RESERVED_BYTES: usize = 4 * 1024;

/// A writer of one line. Each method appends one member of the JSON object, in the order of the calls.
///
/// A method that is called twice writes its key twice.
/// The [module](self) has an example with a trace.
///
/// ```
/// use logtracer_core::line::{Format, HttpRequest, Line, Value};
///
/// let mut out = Vec::new();
/// let mut line = Line::new(&mut out, Format::Local, None);
/// line.time(0)
///     .source_location("src/db.rs", Some(7), None)
///     .http_request(&HttpRequest { method: b"GET", status: 200, ..HttpRequest::default() })
///     .labels(|labels| labels.text("team", "data"))
///     .field("user", Value::Str("ada"))
///     .field("severity", Value::Bool(true)); // a reserved name
/// line.finish();
/// assert_eq!(
///     String::from_utf8(out).unwrap(),
///     concat!(
///         r#"{"time":"1970-01-01T00:00:00.000000000Z","sourceLocation":{"file":"src/db.rs","line":"7"},"#,
///         r#""httpRequest":{"requestMethod":"GET","status":200},"labels":{"team":"data"},"#,
///         r#""user":"ada","fields.severity":true}"#,
///     ),
/// );
/// ```
#[derive(Debug)]
#[must_use = "a line is one JSON object only after `finish`"]
pub struct Line<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    format: Format,
    keys: &'static Keys,
    project_id: Option<&'a str>,
    is_report: bool,
}

impl<'a> Line<'a> {
    /// Starts a line at the end of `out`.
    ///
    /// With the id of a Google Cloud project the `stackdriver` format writes the trace as `projects/P/traces/T`.
    /// Without one, or with an empty one, it writes the plain trace id.
    pub fn new(out: &'a mut Vec<u8>, format: Format, project_id: Option<&'a str>) -> Self {
        let start = out.len();
        out.push(b'{');
        let project_id = project_id.filter(|id| !id.is_empty());
        Self { out, start, format, keys: Keys::of(format), project_id, is_report: false }
    }

    /// Returns the format of the line.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Adds `severity`.
    pub fn severity(&mut self, severity: Severity) -> &mut Self {
        self.key(self.keys.severity);
        self.quoted(severity.as_str());
        self
    }

    /// Adds `time`, in RFC 3339 and UTC.
    pub fn time(&mut self, unix_nanos: u64) -> &mut Self {
        self.time_text(&time::rfc3339(unix_nanos))
    }

    /// Adds `time`, as [`time`](Self::time) does, and faster if the last time of `text` is in the same second.
    pub fn time_with(&mut self, text: &mut TimeText, unix_nanos: u64) -> &mut Self {
        self.time_text(text.set(unix_nanos))
    }

    /// Adds `message`, the text that `write` pushes. It is truncated to [`MAX_MESSAGE_BYTES`].
    pub fn message(&mut self, write: impl FnOnce(&mut Text<'_>)) -> &mut Self {
        self.text(self.keys.message, MAX_MESSAGE_BYTES, write)
    }

    /// Adds the trace, the span and the sampling decision. The decision is also written if the trace is not sampled.
    pub fn trace(&mut self, context: &TraceContext) -> &mut Self {
        self.key(self.keys.trace);
        self.out.push(b'"');
        if let (Format::Stackdriver, Some(project_id)) = (self.format, self.project_id) {
            self.raw("projects/");
            json::escaped(self.out, MAX_NAME_BYTES, |text| text.push(project_id));
            self.raw("/traces/");
        }
        self.out.extend_from_slice(context.trace_id.to_hex().as_bytes());
        self.out.push(b'"');
        self.key(self.keys.span_id);
        self.out.push(b'"');
        self.out.extend_from_slice(context.span_id.to_hex().as_bytes());
        self.out.push(b'"');
        self.key(self.keys.trace_sampled);
        self.raw(if context.sampling.is_sampled() { "true" } else { "false" });
        self
    }

    /// Adds the source location of the event.
    ///
    /// `line` is a string in both formats: Google declares it as a 64-bit integer, for which protobuf's JSON has strings.
    pub fn source_location(&mut self, file: &str, line: Option<u32>, function: Option<&str>) -> &mut Self {
        self.object(self.keys.source_location, |object| {
            if !file.is_empty() {
                object.text(key!("file"), MAX_TEXT_BYTES, |text| text.push(file));
            }
            if let Some(line) = line {
                object.key(key!("line"));
                json::number_as_text(object.out, line.into());
            }
            if let Some(function) = function {
                object.text(key!("function"), MAX_TEXT_BYTES, |text| text.push(function));
            }
        })
    }

    /// Adds `httpRequest` without its empty and zero members, or nothing if no member is left.
    pub fn http_request(&mut self, request: &HttpRequest<'_>) -> &mut Self {
        self.object(self.keys.http_request, |object| request.write(object))
    }

    /// Adds the members that make the line an event of Error Reporting, and reserves their names for all later fields.
    pub fn error_report(&mut self, report: &ErrorReport<'_>) -> &mut Self {
        report.write(self);
        self.is_report = true;
        self
    }

    /// Adds `stack_trace`, the first member in which Error Reporting looks for an error.
    pub fn stack_trace(&mut self, write: impl FnOnce(&mut Text<'_>)) -> &mut Self {
        self.text(keys::key!("stack_trace"), MAX_TEXT_BYTES, write)
    }

    /// Adds the labels that `add` writes, or nothing if there are none. Cloud Logging indexes labels.
    pub fn labels(&mut self, add: impl FnOnce(&mut Labels<'_, '_>)) -> &mut Self {
        self.object(self.keys.labels, |object| add(&mut Labels::new(object)))
    }

    /// Adds a field of the caller.
    ///
    /// A reserved name gets a prefix, even if this line does not have that key: `severity` becomes `fields.severity`.
    /// See [`Format::is_reserved`].
    /// The field is dropped if it exceeds the free space of the line.
    pub fn field(&mut self, name: &str, value: Value<'_>) -> &mut Self {
        if let Some(free_bytes) = self.free_bytes(value.min_len()) {
            self.comma();
            let is_reserved =
                self.keys.is_reserved(name) || (self.is_report && report::RESERVED.contains(&name));
            value::write_field(self.out, is_reserved, name, value, free_bytes);
        }
        self
    }

    /// Adds a field that [`MarkedField::render`] rendered for this format. It is dropped if it exceeds the free space.
    pub fn rendered_field(&mut self, rendered: &[u8]) -> &mut Self {
        if !rendered.is_empty() && self.free_bytes(rendered.len()).is_some() {
            self.comma();
            self.rendered(rendered);
        }
        self
    }

    /// Ends the line, without a line break.
    pub fn finish(self) {
        self.out.push(b'}');
    }
}

// === building blocks ===

impl Line<'_> {
    /// Writes the key of a member.
    fn key(&mut self, key: Key) {
        self.comma();
        self.raw(key.rendered);
    }

    fn comma(&mut self) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
    }

    fn time_text(&mut self, text: &[u8]) -> &mut Self {
        self.key(self.keys.time);
        self.out.push(b'"');
        self.out.extend_from_slice(text);
        self.out.push(b'"');
        self
    }

    /// Writes a string that needs no escaping.
    fn quoted(&mut self, text: &str) {
        self.out.push(b'"');
        self.raw(text);
        self.out.push(b'"');
    }

    /// Writes a rendered field, or its name. A name that is reserved in a report gets a prefix.
    fn rendered(&mut self, rendered: &[u8]) {
        let mut rest = rendered;
        if self.is_report && report::is_reserved(rendered) {
            self.out.push(b'"');
            self.raw(keys::RESERVED_NAME_PREFIX);
            rest = rendered.strip_prefix(b"\"").unwrap_or(rendered);
        }
        self.out.extend_from_slice(rest);
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Adds a member with a text of at most `max` bytes, or fewer if the line is nearly full.
    fn text(&mut self, key: Key, max: usize, write: impl FnOnce(&mut Text<'_>)) -> &mut Self {
        if let Some(free_bytes) = self.free_bytes(0) {
            self.key(key);
            json::text(self.out, max.min(free_bytes), write);
        }
        self
    }

    /// Adds a member with an object, or nothing if the object is empty.
    fn object(&mut self, key: Key, add: impl FnOnce(&mut Line<'_>)) -> &mut Self {
        let before = self.out.len();
        self.key(key);
        self.out.push(b'{');
        let empty = self.out.len();
        add(&mut Line {
            out: self.out,
            start: self.start,
            format: self.format,
            keys: self.keys,
            project_id: None,
            is_report: false,
        });
        if self.out.len() == empty {
            self.out.truncate(before);
        } else {
            self.out.push(b'}');
        }
        self
    }

    /// Returns the bytes of the line that are free after `needed` more, or `None` if they are too few for a text.
    fn free_bytes(&self, needed: usize) -> Option<usize> {
        let written = self.out.len() - self.start;
        // RESERVED_BYTES also covers names, numbers and punctuation.
        (MAX_LINE_BYTES - RESERVED_BYTES)
            .checked_sub(written + needed)
            .filter(|free| *free >= json::MIN_TEXT_BYTES)
    }
}
