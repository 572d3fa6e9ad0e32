//! What each field of each message of OTLP is.

use std::mem::size_of;

use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::trace::v1 as trace;

/// A message: what each field holds, by its number.
pub(super) struct Shape {
    pub(super) fields: &'static [Field],
    pub(super) role: Role,
    /// What one takes in a list; nothing for what is part of the message that holds it.
    pub(super) size: usize,
}

/// What a message is to the walk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Chunk,
    Span,
    LogRecord,
}

#[derive(Clone, Copy)]
pub(super) enum Field {
    /// Not known: anything will do.
    Any,
    Varint,
    Fixed64,
    Fixed32,
    Bytes,
    Text,
    Message(&'static Shape),
}

use Field::{Any, Bytes, Fixed32, Fixed64, Text, Varint};

const fn shape(fields: &'static [Field]) -> Shape {
    Shape { fields, role: Role::Chunk, size: 0 }
}

/// A message that is an element of a list.
const fn element<T>(fields: &'static [Field]) -> Shape {
    Shape { fields, role: Role::Chunk, size: size_of::<T>() }
}

// From opentelemetry/proto/{collector/trace,collector/logs,trace,logs,resource,common}/v1; index 0 is no field.
pub(super) static TRACES: Shape = shape(&[Any, Field::Message(&RESOURCE_SPANS)]);
static RESOURCE_SPANS: Shape =
    element::<trace::ResourceSpans>(&[Any, Field::Message(&RESOURCE), Field::Message(&SCOPE_SPANS), Text]);
static RESOURCE: Shape = shape(&[Any, Field::Message(&KEY_VALUE), Varint, Field::Message(&ENTITY_REF)]);
static ENTITY_REF: Shape = element::<common::EntityRef>(&[Any, Text, Text, Text, Text]);
static SCOPE_SPANS: Shape =
    element::<trace::ScopeSpans>(&[Any, Field::Message(&SCOPE), Field::Message(&SPAN), Text]);
static SCOPE: Shape = shape(&[Any, Text, Text, Field::Message(&KEY_VALUE), Varint]);
pub(super) static SPAN: Shape = Shape {
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
static EVENT: Shape =
    element::<trace::span::Event>(&[Any, Fixed64, Text, Field::Message(&KEY_VALUE), Varint]);
static LINK: Shape =
    element::<trace::span::Link>(&[Any, Bytes, Bytes, Text, Field::Message(&KEY_VALUE), Varint, Fixed32]);
static STATUS: Shape = shape(&[Any, Any, Text, Varint]);
static KEY_VALUE: Shape = element::<common::KeyValue>(&[Any, Text, Field::Message(&ANY_VALUE), Varint]);
static ANY_VALUE: Shape = shape(ANY_VALUE_FIELDS);
static ARRAY_ELEMENT: Shape = element::<common::AnyValue>(ANY_VALUE_FIELDS);
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
static ARRAY_VALUE: Shape = shape(&[Any, Field::Message(&ARRAY_ELEMENT)]);
static KEY_VALUE_LIST: Shape = shape(&[Any, Field::Message(&KEY_VALUE)]);

pub(super) static LOGS: Shape = shape(&[Any, Field::Message(&RESOURCE_LOGS)]);
static RESOURCE_LOGS: Shape =
    element::<logs::ResourceLogs>(&[Any, Field::Message(&RESOURCE), Field::Message(&SCOPE_LOGS), Text]);
static SCOPE_LOGS: Shape =
    element::<logs::ScopeLogs>(&[Any, Field::Message(&SCOPE), Field::Message(&LOG_RECORD), Text]);
static LOG_RECORD: Shape = Shape {
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
