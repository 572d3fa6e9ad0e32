//! One log line: one JSON object, in one of two formats.
//!
//! ```text
//!  TraceContext, HttpRequest, labels, fields ──► Line ──► json::Text (escape, cut) ──► the caller's buffer
//!                                                 │
//!                        keys (the names of both formats)
//! ```
//!
//! This is the one JSON writer of logtracer: the filter's request line, the lines of a service that uses the SDK
//! and the exporter's own lines all leave through [`Line`].
//! It appends to a buffer of the caller and allocates nothing else.
//!
//! Whatever goes in, the outcome is one valid JSON object without a raw line break:
//! control characters are escaped, bytes that are not UTF-8 become U+FFFD, and long texts are cut and end in `…`
//! so that the line stays below [`MAX_LINE_BYTES`].
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

mod format;
mod http_request;
mod json;
mod keys;
mod labels;
mod report;
mod severity;
mod time;
mod value;

#[cfg(test)]
mod tests;

pub use format::{Format, FormatError};
pub use http_request::HttpRequest;
pub use json::Text;
pub use labels::Labels;
pub use report::ErrorReport;
pub use severity::Severity;
pub use value::{Value, render_field};

use crate::TraceContext;
use keys::{Key, Keys, key};

/// A line is never longer than this; Cloud Logging refuses entries above 256 KiB by its own, approximate measure.
pub const MAX_LINE_BYTES: usize = 192 * 1024;

/// The longest message, in escaped bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The longest text of a field, of a part of `httpRequest` and of a source location, in escaped bytes.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;

/// The longest value of a label, in escaped bytes.
pub const MAX_LABEL_BYTES: usize = 1024;

/// The longest name of a field or label, in escaped bytes.
pub const MAX_NAME_BYTES: usize = 256;

/// The most labels of a line: Cloud Logging's limit.
pub const MAX_LABELS: usize = 64;

/// Kept free for what has a bounded length: severity, time, ids and closing braces.
const RESERVED_BYTES: usize = 4 * 1024;

/// One line under construction: each method appends one member of the JSON object.
///
/// The members stand in the order of the calls.
/// Calling a method twice writes its key twice: the type does not keep count.
/// See the [module](self) for an example.
///
/// ```
/// use logtracer_core::line::{Format, Line, Value};
///
/// let mut out = Vec::new();
/// let mut line = Line::new(&mut out, Format::Local, None);
/// line.field("items", Value::U64(3));
/// line.finish();
/// assert_eq!(String::from_utf8(out).unwrap(), r#"{"items":3}"#);
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
    /// Opens the object at the end of `out`.
    ///
    /// With the id of a Google Cloud project the `stackdriver` format names the trace `projects/P/traces/T`,
    /// without it (or with an empty one) by its bare id.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// let mut out = b"before ".to_vec();
    /// Line::new(&mut out, Format::Local, None).finish();
    /// assert_eq!(out, b"before {}");
    /// ```
    pub fn new(out: &'a mut Vec<u8>, format: Format, project_id: Option<&'a str>) -> Self {
        let start = out.len();
        out.push(b'{');
        let project_id = project_id.filter(|id| !id.is_empty());
        Self { out, start, format, keys: Keys::of(format), project_id, is_report: false }
    }

    /// The format that this line is written in.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// assert_eq!(Line::new(&mut Vec::new(), Format::Local, None).format(), Format::Local);
    /// ```
    pub fn format(&self) -> Format {
        self.format
    }

    /// `severity`.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line, Severity};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.severity(Severity::Notice);
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), r#"{"severity":"NOTICE"}"#);
    /// ```
    pub fn severity(&mut self, severity: Severity) -> &mut Self {
        self.key(self.keys.severity);
        self.quoted(severity.as_str());
        self
    }

    /// `time`: nanoseconds since 1970 in RFC 3339, UTC.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.time(0);
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), r#"{"time":"1970-01-01T00:00:00.000000000Z"}"#);
    /// ```
    pub fn time(&mut self, unix_nanos: u64) -> &mut Self {
        self.key(self.keys.time);
        self.out.push(b'"');
        self.out.extend_from_slice(&time::rfc3339(unix_nanos));
        self.out.push(b'"');
        self
    }

    /// `message`: whatever `write` pushes, up to [`MAX_MESSAGE_BYTES`].
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.message(|text| text.push("said \"hi\""));
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), r#"{"message":"said \"hi\""}"#);
    /// ```
    pub fn message(&mut self, write: impl FnOnce(&mut Text<'_>)) -> &mut Self {
        self.text(self.keys.message, MAX_MESSAGE_BYTES, write)
    }

    /// The trace, the span and whether the trace is recorded (always told, also when it is not).
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    /// use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
    ///
    /// let (trace_id, span_id) = (TraceId::new(7).unwrap(), SpanId::new(74).unwrap());
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.trace(&TraceContext::root(trace_id, span_id, Sampling::Deny));
    /// line.finish();
    /// let expected =
    ///     r#"{"trace":"00000000000000000000000000000007","spanId":"000000000000004a","traceSampled":false}"#;
    /// assert_eq!(String::from_utf8(out).unwrap(), expected);
    /// ```
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

    /// Where in the source the line comes from.
    ///
    /// Google declares `line` as a 64-bit integer, which protobuf's JSON writes as a string; both formats do.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.source_location("src/db.rs", Some(7), None);
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), r#"{"sourceLocation":{"file":"src/db.rs","line":"7"}}"#);
    /// ```
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

    /// `httpRequest`, without what is empty or zero; nothing at all if everything is.
    ///
    /// ```
    /// use logtracer_core::line::{Format, HttpRequest, Line};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.http_request(&HttpRequest { method: b"GET", status: 200, ..HttpRequest::default() });
    /// line.http_request(&HttpRequest::default()); // nothing
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), r#"{"httpRequest":{"requestMethod":"GET","status":200}}"#);
    /// ```
    pub fn http_request(&mut self, request: &HttpRequest<'_>) -> &mut Self {
        self.object(self.keys.http_request, |object| request.write(object))
    }

    /// Makes the line an event of Error Reporting, in which the fields after it cannot take its keys.
    ///
    /// ```
    /// use logtracer_core::line::{ErrorReport, Format, Line};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.error_report(&ErrorReport { service: "shop", ..ErrorReport::default() });
    /// line.finish();
    /// assert!(String::from_utf8(out).unwrap().ends_with(r#","serviceContext":{"service":"shop"}}"#));
    /// ```
    pub fn error_report(&mut self, report: &ErrorReport<'_>) -> &mut Self {
        report.write(self);
        self.is_report = true;
        self
    }

    /// `stack_trace`: where an error came from; Error Reporting looks at it first.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.stack_trace(|text| text.push("panicked\n   0: main"));
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), r#"{"stack_trace":"panicked\n   0: main"}"#);
    /// ```
    pub fn stack_trace(&mut self, write: impl FnOnce(&mut Text<'_>)) -> &mut Self {
        self.text(keys::key!("stack_trace"), MAX_TEXT_BYTES, write)
    }

    /// Labels: names with texts, in Cloud Logging the indexed part of an entry; nothing at all if none is added.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.labels(|labels| labels.text("team", "data"));
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), r#"{"labels":{"team":"data"}}"#);
    /// ```
    pub fn labels(&mut self, add: impl FnOnce(&mut Labels<'_, '_>)) -> &mut Self {
        self.object(self.keys.labels, |object| add(&mut Labels::new(object)))
    }

    /// A field of the caller's own.
    ///
    /// It cannot overwrite a key that the format itself gives a meaning to (whether this line has that key or
    /// not): `severity` becomes `fields.severity`. See [`Format::is_reserved`].
    /// A field for which the line has no room left is left out.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line, Value};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.field("user", Value::Str("ada")).field("severity", Value::Bool(true));
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), r#"{"user":"ada","fields.severity":true}"#);
    /// ```
    pub fn field(&mut self, name: &str, value: Value<'_>) -> &mut Self {
        if let Some(room) = self.room_for(value.min_len()) {
            self.comma();
            let is_taken = self.keys.is_reserved(name) || (self.is_report && report::TAKEN.contains(&name));
            value::write_field(self.out, is_taken, name, value, room);
        }
        self
    }

    /// A field that [`render_field`] has rendered before, for this format.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line, Value, render_field};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// let mut rendered = Vec::new();
    /// render_field(&mut rendered, Format::Local, "user", Value::Str("ada"));
    /// line.rendered_field(&rendered);
    /// line.finish();
    /// assert_eq!(String::from_utf8(out).unwrap(), r#"{"user":"ada"}"#);
    /// ```
    pub fn rendered_field(&mut self, rendered: &[u8]) -> &mut Self {
        if !rendered.is_empty() && self.room_for(rendered.len()).is_some() {
            self.comma();
            match rendered.strip_prefix(b"\"") {
                Some(rest) if self.is_report && report::is_taken(rendered) => {
                    self.out.push(b'"');
                    self.raw(keys::MOVED_PREFIX);
                    self.out.extend_from_slice(rest);
                }
                _ => self.out.extend_from_slice(rendered),
            }
        }
        self
    }

    /// Closes the object; a line break is left to the caller.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// let mut out = Vec::new();
    /// Line::new(&mut out, Format::Stackdriver, None).finish();
    /// assert_eq!(out, b"{}");
    /// ```
    pub fn finish(self) {
        self.out.push(b'}');
    }
}

// === parts ===

impl Line<'_> {
    /// Starts a member with one of our own names.
    fn key(&mut self, key: Key) {
        self.comma();
        self.raw(key.rendered);
    }

    fn comma(&mut self) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
    }

    /// A string that needs no escaping.
    fn quoted(&mut self, text: &str) {
        self.out.push(b'"');
        self.raw(text);
        self.out.push(b'"');
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// A member that is a text of at most `max` bytes, fewer where the line is nearly full.
    fn text(&mut self, key: Key, max: usize, write: impl FnOnce(&mut Text<'_>)) -> &mut Self {
        if let Some(room) = self.room_for(0) {
            self.key(key);
            json::text(self.out, max.min(room), write);
        }
        self
    }

    /// A member that is an object; gone again if nothing was added to it.
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

    /// How many bytes a value may take next to `needed` bytes that must be there, `None` if there is no room.
    fn room_for(&self, needed: usize) -> Option<usize> {
        let written = self.out.len() - self.start;
        // Names, numbers and punctuation are short enough for RESERVED_BYTES to cover them.
        (MAX_LINE_BYTES - RESERVED_BYTES)
            .checked_sub(written + needed)
            .filter(|room| *room >= json::MIN_TEXT_BYTES)
    }
}
