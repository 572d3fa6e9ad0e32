//! The messages of OTLP: the name, the number and the type of each field.

use std::mem::size_of;

use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::trace::v1 as trace;

/// A type of message.
pub(super) struct MessageType {
    /// The fields, indexed by field number.
    pub(super) fields: &'static [Field],
    pub(super) role: Role,
    /// The size of one as an element of a list. Zero if the size of the enclosing message includes it.
    pub(super) size: usize,
}

/// The part that a message has in a request. It decides what an invalid field costs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Encloses spans or log records, directly or not. An invalid field is left out.
    Envelope,
    /// Describes where the items of an envelope come from. An invalid field is left out.
    Origin,
    /// An item, which an invalid field costs.
    Span,
    /// An item, as above, but an invalid id is left out.
    LogRecord,
    /// An attribute, an event, or a part of one. It costs the nearest element that can be left out.
    Part,
    /// A link, as above. It has ids.
    Link,
    /// An `AnyValue`, as above. It has one field at most.
    Value,
}

/// A field of a message.
#[derive(Clone, Copy)]
pub(super) struct Field {
    /// The name in the definition of the message.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) is_repeated: bool,
    /// The number of the field that counts the elements that were left out of this one.
    pub(super) dropped: Option<u8>,
}

/// The type of a field, or of its elements.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Unknown: any wire type is valid.
    Any,
    Bool,
    Int32,
    Int64,
    Uint32,
    Fixed32,
    Fixed64,
    Double,
    /// The names of the values 0, 1, 2, …
    Enum(&'static [&'static str]),
    Text,
    /// Base64 in JSON.
    Bytes,
    /// Bytes that are hexadecimal digits in JSON.
    Id,
    Message(&'static MessageType),
}

use Kind::{Any, Bool, Bytes, Double, Enum, Fixed32, Fixed64, Id, Int32, Int64, Message, Text, Uint32};
use Role::{Envelope, Link, LogRecord, Origin, Part, Span, Value};

impl Field {
    /// The name as ProtoJSON writes it, in lowerCamelCase.
    pub(super) fn json_name(&self) -> impl Iterator<Item = u8> {
        json_name(self.name)
    }

    /// Returns true for the list of an envelope: its items, or the envelopes of them.
    pub(super) fn has_items(&self) -> bool {
        matches!(self.kind, Message(inner) if matches!(inner.role, Envelope | Span | LogRecord))
    }

    /// Returns true if an invalid value of this field is left out of its message, and does not make that invalid.
    pub(super) fn can_be_left_out_of(&self, owner: &MessageType) -> bool {
        match owner.role {
            Envelope | Origin => true,
            LogRecord if matches!(self.kind, Id) => true,
            Span | LogRecord | Part | Link => self.dropped.is_some(),
            Value => false,
        }
    }
}

/// Returns a name in lowerCamelCase.
fn json_name(name: &str) -> impl Iterator<Item = u8> {
    let mut bytes = name.bytes();
    std::iter::from_fn(move || match bytes.next()? {
        b'_' => bytes.next().map(|byte| byte.to_ascii_uppercase()),
        byte => Some(byte),
    })
}

/// The names of fields before OTLP 0.15, and the names that they have now. In protobuf, their numbers are the same.
const EARLIER_NAMES: [(&str, &str); 4] = [
    ("instrumentation_library_spans", "scope_spans"),
    ("instrumentation_library_logs", "scope_logs"),
    ("instrumentation_library", "scope"),
    ("logs", "log_records"),
];

impl MessageType {
    /// Returns the field with this number.
    pub(super) fn field(&self, number: u32) -> &Field {
        usize::try_from(number).ok().and_then(|number| self.fields.get(number)).unwrap_or(&UNKNOWN)
    }

    /// Returns the number of the field with this name, as ProtoJSON writes it or as the definition has it.
    pub(super) fn number(&self, key: &str) -> Option<u32> {
        let is_named = |name: &str| name == key || json_name(name).eq(key.bytes());
        let of_name = |wanted: &dyn Fn(&str) -> bool| {
            self.fields.iter().position(|field| !field.name.is_empty() && wanted(field.name))
        };
        let number = of_name(&is_named).or_else(|| {
            let (_, name) = EARLIER_NAMES.iter().find(|(earlier, _)| is_named(earlier))?;
            of_name(&|field| field == *name)
        });
        u32::try_from(number?).ok()
    }
}

static UNKNOWN: Field = RESERVED;

const RESERVED: Field = field("", Any);

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, is_repeated: false, dropped: None }
}

/// A field with any number of elements.
const fn list(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, is_repeated: true, dropped: None }
}

/// A list with a field, of this number, for the elements that were left out.
const fn counted(name: &'static str, kind: Kind, dropped: u8) -> Field {
    Field { name, kind, is_repeated: true, dropped: Some(dropped) }
}

const fn message(role: Role, fields: &'static [Field]) -> MessageType {
    MessageType { fields, role, size: 0 }
}

/// A message that is the element of a list.
const fn element<T>(role: Role, fields: &'static [Field]) -> MessageType {
    MessageType { fields, role, size: size_of::<T>() }
}

// From opentelemetry/proto/{collector/trace,collector/logs,trace,logs,resource,common}/v1; there is no field 0.
pub(super) static TRACES: MessageType =
    message(Envelope, &[RESERVED, list("resource_spans", Message(&RESOURCE_SPANS))]);
static RESOURCE_SPANS: MessageType = element::<trace::ResourceSpans>(
    Envelope,
    &[
        RESERVED,
        field("resource", Message(&RESOURCE)),
        list("scope_spans", Message(&SCOPE_SPANS)),
        field("schema_url", Text),
    ],
);
pub(super) static RESOURCE: MessageType = message(
    Origin,
    &[
        RESERVED,
        counted("attributes", Message(&KEY_VALUE), 2),
        field("dropped_attributes_count", Uint32),
        list("entity_refs", Message(&ENTITY_REF)),
    ],
);
static ENTITY_REF: MessageType = element::<common::EntityRef>(
    Part,
    &[
        RESERVED,
        field("schema_url", Text),
        field("type", Text),
        list("id_keys", Text),
        list("description_keys", Text),
    ],
);
static SCOPE_SPANS: MessageType = element::<trace::ScopeSpans>(
    Envelope,
    &[RESERVED, field("scope", Message(&SCOPE)), list("spans", Message(&SPAN)), field("schema_url", Text)],
);
pub(super) static SCOPE: MessageType = message(
    Origin,
    &[
        RESERVED,
        field("name", Text),
        field("version", Text),
        counted("attributes", Message(&KEY_VALUE), 4),
        field("dropped_attributes_count", Uint32),
    ],
);
pub(super) static SPAN: MessageType = element::<trace::Span>(
    Span,
    &[
        RESERVED,
        field("trace_id", Id),                          // 1
        field("span_id", Id),                           // 2
        field("trace_state", Text),                     // 3
        field("parent_span_id", Id),                    // 4
        field("name", Text),                            // 5
        field("kind", Enum(SPAN_KINDS)),                // 6
        field("start_time_unix_nano", Fixed64),         // 7
        field("end_time_unix_nano", Fixed64),           // 8
        counted("attributes", Message(&KEY_VALUE), 10), // 9
        field("dropped_attributes_count", Uint32),      // 10
        counted("events", Message(&EVENT), 12),         // 11
        field("dropped_events_count", Uint32),          // 12
        counted("links", Message(&LINK), 14),           // 13
        field("dropped_links_count", Uint32),           // 14
        field("status", Message(&STATUS)),              // 15
        field("flags", Fixed32),                        // 16
    ],
);
static EVENT: MessageType = element::<trace::span::Event>(
    Part,
    &[
        RESERVED,
        field("time_unix_nano", Fixed64),
        field("name", Text),
        counted("attributes", Message(&KEY_VALUE), 4),
        field("dropped_attributes_count", Uint32),
    ],
);
static LINK: MessageType = element::<trace::span::Link>(
    Link,
    &[
        RESERVED,
        field("trace_id", Id),
        field("span_id", Id),
        field("trace_state", Text),
        counted("attributes", Message(&KEY_VALUE), 5),
        field("dropped_attributes_count", Uint32),
        field("flags", Fixed32),
    ],
);
static STATUS: MessageType =
    message(Part, &[RESERVED, RESERVED, field("message", Text), field("code", Enum(STATUS_CODES))]);
static KEY_VALUE: MessageType = element::<common::KeyValue>(
    Part,
    &[RESERVED, field("key", Text), field("value", Message(&ANY_VALUE)), field("key_strindex", Int32)],
);
static ANY_VALUE: MessageType = message(Value, ANY_VALUE_FIELDS);
static ARRAY_ELEMENT: MessageType = element::<common::AnyValue>(Value, ANY_VALUE_FIELDS);
static ANY_VALUE_FIELDS: &[Field] = &[
    RESERVED,
    field("string_value", Text),
    field("bool_value", Bool),
    field("int_value", Int64),
    field("double_value", Double),
    field("array_value", Message(&ARRAY_VALUE)),
    field("kvlist_value", Message(&KEY_VALUE_LIST)),
    field("bytes_value", Bytes),
    field("string_value_strindex", Int32),
];
static ARRAY_VALUE: MessageType = message(Part, &[RESERVED, list("values", Message(&ARRAY_ELEMENT))]);
static KEY_VALUE_LIST: MessageType = message(Part, &[RESERVED, list("values", Message(&KEY_VALUE))]);

pub(super) static LOGS: MessageType =
    message(Envelope, &[RESERVED, list("resource_logs", Message(&RESOURCE_LOGS))]);
static RESOURCE_LOGS: MessageType = element::<logs::ResourceLogs>(
    Envelope,
    &[
        RESERVED,
        field("resource", Message(&RESOURCE)),
        list("scope_logs", Message(&SCOPE_LOGS)),
        field("schema_url", Text),
    ],
);
static SCOPE_LOGS: MessageType = element::<logs::ScopeLogs>(
    Envelope,
    &[
        RESERVED,
        field("scope", Message(&SCOPE)),
        list("log_records", Message(&LOG_RECORD)),
        field("schema_url", Text),
    ],
);
pub(super) static LOG_RECORD: MessageType = element::<logs::LogRecord>(
    LogRecord,
    &[
        RESERVED,
        field("time_unix_nano", Fixed64),              // 1
        field("severity_number", Enum(SEVERITIES)),    // 2
        field("severity_text", Text),                  // 3
        RESERVED,                                      // 4
        field("body", Message(&ANY_VALUE)),            // 5
        counted("attributes", Message(&KEY_VALUE), 7), // 6
        field("dropped_attributes_count", Uint32),     // 7
        field("flags", Fixed32),                       // 8
        field("trace_id", Id),                         // 9
        field("span_id", Id),                          // 10
        field("observed_time_unix_nano", Fixed64),     // 11
        field("event_name", Text),                     // 12
    ],
);

static SPAN_KINDS: &[&str] = &[
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
static STATUS_CODES: &[&str] = &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
static SEVERITIES: &[&str] = &[
    "SEVERITY_NUMBER_UNSPECIFIED",
    "SEVERITY_NUMBER_TRACE",
    "SEVERITY_NUMBER_TRACE2",
    "SEVERITY_NUMBER_TRACE3",
    "SEVERITY_NUMBER_TRACE4",
    "SEVERITY_NUMBER_DEBUG",
    "SEVERITY_NUMBER_DEBUG2",
    "SEVERITY_NUMBER_DEBUG3",
    "SEVERITY_NUMBER_DEBUG4",
    "SEVERITY_NUMBER_INFO",
    "SEVERITY_NUMBER_INFO2",
    "SEVERITY_NUMBER_INFO3",
    "SEVERITY_NUMBER_INFO4",
    "SEVERITY_NUMBER_WARN",
    "SEVERITY_NUMBER_WARN2",
    "SEVERITY_NUMBER_WARN3",
    "SEVERITY_NUMBER_WARN4",
    "SEVERITY_NUMBER_ERROR",
    "SEVERITY_NUMBER_ERROR2",
    "SEVERITY_NUMBER_ERROR3",
    "SEVERITY_NUMBER_ERROR4",
    "SEVERITY_NUMBER_FATAL",
    "SEVERITY_NUMBER_FATAL2",
    "SEVERITY_NUMBER_FATAL3",
    "SEVERITY_NUMBER_FATAL4",
];

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
