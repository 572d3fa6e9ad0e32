//! The messages of the API in JSON
//! (<https://cloud.google.com/trace/docs/reference/v2/rest/v2/projects.traces.spans>).
//!
//! `tests/it/cloud_trace.rs` compares them with Google's own types.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::super::google::Time;

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span {
    pub(super) name: String,
    pub(super) span_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) parent_span_id: String,
    pub(super) display_name: Text,
    pub(super) start_time: Time,
    pub(super) end_time: Time,
    pub(super) attributes: Attributes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time_events: Option<TimeEvents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) links: Option<Links>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) same_process_as_parent_span: Option<bool>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) span_kind: &'static str,
}

/// `TruncatableString`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Text {
    pub(super) value: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) truncated_byte_count: u32,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attributes {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) attribute_map: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) dropped_attributes_count: u32,
}

/// `AttributeValue`. It can hold no floating-point number and no list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) enum Value {
    #[serde(rename = "stringValue")]
    Text(Text),
    #[serde(rename = "intValue", serialize_with = "as_text")]
    Int(i64),
    #[serde(rename = "boolValue")]
    Bool(bool),
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TimeEvents {
    pub(super) time_event: Vec<TimeEvent>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) dropped_annotations_count: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) dropped_message_events_count: u32,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TimeEvent {
    pub(super) time: Time,
    #[serde(flatten)]
    pub(super) value: Event,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Event {
    Annotation {
        description: Text,
        attributes: Attributes,
    },
    #[serde(rename_all = "camelCase")]
    MessageEvent {
        r#type: &'static str,
        #[serde(serialize_with = "as_text")]
        id: i64,
        #[serde(serialize_with = "as_text")]
        uncompressed_size_bytes: i64,
        #[serde(serialize_with = "as_text")]
        compressed_size_bytes: i64,
    },
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Links {
    pub(super) link: Vec<Link>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) dropped_links_count: u32,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    pub(super) trace_id: String,
    pub(super) span_id: String,
    pub(super) r#type: &'static str,
    pub(super) attributes: Attributes,
}

/// `google.rpc.Status`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Status {
    pub(super) code: i32,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// ProtoJSON writes 64-bit integers as strings.
fn as_text<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}
