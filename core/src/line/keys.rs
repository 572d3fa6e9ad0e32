//! The keys of both formats, in one table.

use super::Format;

/// The name of a member, as it is and as it is written.
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

/// The keys of a line's members.
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
    /// Further names that the readers of this format take for their own.
    reserved: &'static [&'static str],
    reserved_prefix: Option<&'static str>,
    /// The names of all the above, for a quick look; filled by [`Keys::indexed`].
    taken: [&'static str; MAX_TAKEN],
    /// Bit `n` is set where a name of `n` bytes is taken.
    taken_lengths: u64,
}

/// Room for our own nine keys and the further ones.
const MAX_TAKEN: usize = 12;

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
    taken: [""; MAX_TAKEN],
    taken_lengths: 0,
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
    taken: [""; MAX_TAKEN],
    taken_lengths: 0,
}
.indexed();

/// Where a field goes whose name is reserved.
pub(super) const MOVED_PREFIX: &str = "fields.";

impl Key {
    /// For [`key!`].
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
        // Most names are ruled out by their length.
        (self.taken_lengths >> name.len().min(63) & 1 == 1 && self.taken.contains(&name))
            || self.reserved_prefix.is_some_and(|prefix| name.starts_with(prefix))
            || name.starts_with(MOVED_PREFIX)
    }

    // Runs in the compiler only, where an index that is out of bounds is an error of the build.
    #[allow(clippy::indexing_slicing)]
    const fn indexed(mut self) -> Self {
        let own = [
            self.severity,
            self.message,
            self.time,
            self.http_request,
            self.source_location,
            self.trace,
            self.span_id,
            self.trace_sampled,
            self.labels,
        ];
        let mut index = 0;
        while index < own.len() + self.reserved.len() {
            let name = if index < own.len() { own[index].name } else { self.reserved[index - own.len()] };
            self.taken[index] = name;
            self.taken_lengths |= 1 << name.len();
            index += 1;
        }
        self
    }
}
