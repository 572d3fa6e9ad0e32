//! The keys of each format, and the names that a field cannot have: `is_reserved` decides. Lines for Error Reporting
//! reserve those of `report.rs` as well.

use super::Format;

/// The name of a member, plain and rendered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    name: &'static str,
    /// `"name":`
    pub(super) rendered: &'static str,
}

macro_rules! key {
    ($name:literal) => {
        $crate::line::keys::Key::new($name, concat!("\"", $name, "\":"))
    };
}
pub(super) use key;

/// The keys of one format.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) severity: Key,
    pub(super) message: Key,
    pub(super) time: Key,
    pub(super) http_request: Key,
    pub(super) source_location: Key,
    pub(super) trace: Key,
    pub(super) span_id: Key,
    pub(super) trace_sampled: Key,
    pub(super) labels: Key,
    /// Further names that have a meaning to readers of this format.
    reserved: &'static [&'static str],
    reserved_prefix: Option<&'static str>,
    /// The names of all keys above. [`Keys::indexed`] fills this and `lengths`.
    own: [&'static str; 9],
    /// Bit `n` is set if a name in `own` or `reserved` has `n` bytes.
    lengths: u64,
}

/// <https://cloud.google.com/logging/docs/structured-logging#structured_logging_special_fields>
static STACKDRIVER: Keys = Keys {
    severity: key!("severity"),
    message: key!("message"),
    time: key!("time"),
    http_request: key!("httpRequest"),
    source_location: key!("logging.googleapis.com/sourceLocation"),
    trace: key!("logging.googleapis.com/trace"),
    span_id: key!("logging.googleapis.com/spanId"),
    trace_sampled: key!("logging.googleapis.com/trace_sampled"),
    labels: key!("logging.googleapis.com/labels"),
    reserved: &["timestamp", "timestampSeconds", "timestampNanos"],
    reserved_prefix: Some("logging.googleapis.com/"),
    own: [""; 9],
    lengths: 0,
}
.indexed();

static LOCAL: Keys = Keys {
    severity: key!("severity"),
    message: key!("message"),
    time: key!("time"),
    http_request: key!("httpRequest"),
    source_location: key!("sourceLocation"),
    trace: key!("trace"),
    span_id: key!("spanId"),
    trace_sampled: key!("traceSampled"),
    labels: key!("labels"),
    reserved: &[],
    reserved_prefix: None,
    own: [""; 9],
    lengths: 0,
}
.indexed();

/// The prefix that `value::write_field` puts before a reserved name.
pub(super) const RESERVED_NAME_PREFIX: &str = "fields.";

impl Key {
    /// Use the macro `key!`.
    pub(super) const fn new(name: &'static str, rendered: &'static str) -> Self {
        Self { name, rendered }
    }
}

impl Keys {
    pub(super) const fn of(format: Format) -> &'static Self {
        match format {
            Format::Stackdriver => &STACKDRIVER,
            Format::Local => &LOCAL,
        }
    }

    pub(super) fn is_reserved(&self, name: &str) -> bool {
        // The length alone excludes most names.
        (self.lengths >> name.len().min(63) & 1 == 1
            && (self.own.contains(&name) || self.reserved.contains(&name)))
            || self.reserved_prefix.is_some_and(|prefix| name.starts_with(prefix))
            || name.starts_with(RESERVED_NAME_PREFIX)
    }

    const fn indexed(self) -> Self {
        let own = [
            self.severity.name,
            self.message.name,
            self.time.name,
            self.http_request.name,
            self.source_location.name,
            self.trace.name,
            self.span_id.name,
            self.trace_sampled.name,
            self.labels.name,
        ];
        Self { own, lengths: lengths_of(&own) | lengths_of(self.reserved), ..self }
    }
}

const fn lengths_of(mut names: &[&str]) -> u64 {
    let mut lengths = 0;
    while let [name, rest @ ..] = names {
        lengths |= 1 << name.len();
        names = rest;
    }
    lengths
}
