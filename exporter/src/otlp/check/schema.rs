//! The messages of OTLP, with the type of each field.

use std::mem::size_of;

use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::trace::v1 as trace;

/// A type of message.
pub(super) struct MessageType {
    /// The type of each field, indexed by field number.
    pub(super) fields: &'static [Field],
    pub(super) role: Role,
    /// The size of one as an element of a list. Zero if the size of the enclosing message includes it.
    pub(super) size: usize,
}

/// The kind of item that a message is, if any.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Span,
    LogRecord,
    Other,
}

/// The type of a field.
#[derive(Clone, Copy)]
pub(super) enum Field {
    /// Unknown: any wire type is valid.
    Any,
    Varint,
    Fixed64,
    Fixed32,
    Bytes,
    Text,
    Message(&'static MessageType),
}

use Field::{Any, Bytes, Fixed32, Fixed64, Text, Varint};

const fn message(fields: &'static [Field]) -> MessageType {
    MessageType { fields, role: Role::Other, size: 0 }
}

/// A message that is the element of a list.
const fn element<T>(fields: &'static [Field]) -> MessageType {
    MessageType { fields, role: Role::Other, size: size_of::<T>() }
}

// From opentelemetry/proto/{collector/trace,collector/logs,trace,logs,resource,common}/v1; there is no field 0.
pub(super) static TRACES: MessageType = message(&[Any, Field::Message(&RESOURCE_SPANS)]);
static RESOURCE_SPANS: MessageType =
    element::<trace::ResourceSpans>(&[Any, Field::Message(&RESOURCE), Field::Message(&SCOPE_SPANS), Text]);
static RESOURCE: MessageType =
    message(&[Any, Field::Message(&KEY_VALUE), Varint, Field::Message(&ENTITY_REF)]);
static ENTITY_REF: MessageType = element::<common::EntityRef>(&[Any, Text, Text, Text, Text]);
static SCOPE_SPANS: MessageType =
    element::<trace::ScopeSpans>(&[Any, Field::Message(&SCOPE), Field::Message(&SPAN), Text]);
static SCOPE: MessageType = message(&[Any, Text, Text, Field::Message(&KEY_VALUE), Varint]);
pub(super) static SPAN: MessageType = MessageType {
    role: Role::Span,
    size: size_of::<trace::Span>(),
    fields: &[
        Any,
        Bytes,                      // 1 trace_id
        Bytes,                      // 2 span_id
        Text,                       // 3 trace_state
        Bytes,                      // 4 parent_span_id
        Text,                       // 5 name
        Varint,                     // 6 kind
        Fixed64,                    // 7 start_time_unix_nano
        Fixed64,                    // 8 end_time_unix_nano
        Field::Message(&KEY_VALUE), // 9 attributes
        Varint,                     // 10 dropped_attributes_count
        Field::Message(&EVENT),     // 11 events
        Varint,                     // 12 dropped_events_count
        Field::Message(&LINK),      // 13 links
        Varint,                     // 14 dropped_links_count
        Field::Message(&STATUS),    // 15 status
        Fixed32,                    // 16 flags
    ],
};
static EVENT: MessageType =
    element::<trace::span::Event>(&[Any, Fixed64, Text, Field::Message(&KEY_VALUE), Varint]);
static LINK: MessageType =
    element::<trace::span::Link>(&[Any, Bytes, Bytes, Text, Field::Message(&KEY_VALUE), Varint, Fixed32]);
static STATUS: MessageType = message(&[Any, Any, Text, Varint]);
static KEY_VALUE: MessageType = element::<common::KeyValue>(&[Any, Text, Field::Message(&ANY_VALUE), Varint]);
static ANY_VALUE: MessageType = message(ANY_VALUE_FIELDS);
static ARRAY_ELEMENT: MessageType = element::<common::AnyValue>(ANY_VALUE_FIELDS);
static ANY_VALUE_FIELDS: &[Field] = &[
    Any,
    Text,
    Varint,
    Varint,
    Fixed64,
    Field::Message(&ARRAY_VALUE),
    Field::Message(&KEY_VALUE_LIST),
    Bytes,
    Varint,
];
static ARRAY_VALUE: MessageType = message(&[Any, Field::Message(&ARRAY_ELEMENT)]);
static KEY_VALUE_LIST: MessageType = message(&[Any, Field::Message(&KEY_VALUE)]);

pub(super) static LOGS: MessageType = message(&[Any, Field::Message(&RESOURCE_LOGS)]);
static RESOURCE_LOGS: MessageType =
    element::<logs::ResourceLogs>(&[Any, Field::Message(&RESOURCE), Field::Message(&SCOPE_LOGS), Text]);
static SCOPE_LOGS: MessageType =
    element::<logs::ScopeLogs>(&[Any, Field::Message(&SCOPE), Field::Message(&LOG_RECORD), Text]);
static LOG_RECORD: MessageType = MessageType {
    role: Role::LogRecord,
    size: size_of::<logs::LogRecord>(),
    fields: &[
        Any,
        Fixed64,                    // 1 time_unix_nano
        Varint,                     // 2 severity_number
        Text,                       // 3 severity_text
        Any,                        // 4 reserved
        Field::Message(&ANY_VALUE), // 5 body
        Field::Message(&KEY_VALUE), // 6 attributes
        Varint,                     // 7 dropped_attributes_count
        Fixed32,                    // 8 flags
        Bytes,                      // 9 trace_id
        Bytes,                      // 10 span_id
        Fixed64,                    // 11 observed_time_unix_nano
        Text,                       // 12 event_name
    ],
};
