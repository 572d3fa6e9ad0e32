//! Checking an OTLP request without building it: the shape of every message, the UTF-8 of every text, and the ids
//! of every span.
//!
//! This is what makes it possible to keep a request as it came: a body that passes is one that a later reader can
//! decode. It costs a fraction of decoding, for it allocates nothing.
//!
//! Invariant: what [`traces`] accepts, prost decodes (held by `what_passes_can_be_decoded` below).
//! The reverse need not hold: what is odd (groups, an invalid span) is left to the thorough way in [`super::decode`].

use super::decode::Invalid;

/// How many spans the request holds, if it is in order and each span is valid.
pub(super) fn traces(body: &[u8]) -> Option<u32> {
    let mut spans = 0;
    message(&REQUEST, body, 0, &mut spans)?;
    Some(spans)
}

/// A message: what each field holds, by its number.
struct Shape {
    fields: &'static [Field],
    is_span: bool,
}

#[derive(Clone, Copy)]
enum Field {
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
    Shape { fields, is_span: false }
}

// From opentelemetry/proto/{collector/trace,trace,resource,common}/v1; index 0 is no field.
static REQUEST: Shape = shape(&[Any, Field::Message(&RESOURCE_SPANS)]);
static RESOURCE_SPANS: Shape = shape(&[Any, Field::Message(&RESOURCE), Field::Message(&SCOPE_SPANS), Text]);
static RESOURCE: Shape = shape(&[Any, Field::Message(&KEY_VALUE), Varint, Field::Message(&ENTITY_REF)]);
static ENTITY_REF: Shape = shape(&[Any, Text, Text, Text, Text]);
static SCOPE_SPANS: Shape = shape(&[Any, Field::Message(&SCOPE), Field::Message(&SPAN), Text]);
static SCOPE: Shape = shape(&[Any, Text, Text, Field::Message(&KEY_VALUE), Varint]);
static SPAN: Shape = Shape {
    is_span: true,
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
static EVENT: Shape = shape(&[Any, Fixed64, Text, Field::Message(&KEY_VALUE), Varint]);
static LINK: Shape = shape(&[Any, Bytes, Bytes, Text, Field::Message(&KEY_VALUE), Varint, Fixed32]);
static STATUS: Shape = shape(&[Any, Any, Text, Varint]);
static KEY_VALUE: Shape = shape(&[Any, Text, Field::Message(&ANY_VALUE), Varint]);
static ANY_VALUE: Shape = shape(&[
    Any,
    Text,
    Varint,
    Varint,
    Fixed64,
    Field::Message(&ARRAY_VALUE),
    Field::Message(&KEY_VALUE_LIST),
    Bytes,
    Varint,
]);
static ARRAY_VALUE: Shape = shape(&[Any, Field::Message(&ANY_VALUE)]);
static KEY_VALUE_LIST: Shape = shape(&[Any, Field::Message(&KEY_VALUE)]);

/// Well below the 100 of prost.
const MAX_DEPTH: u32 = 64;

/// The ids of one span, while it is read. As in every protobuf message, the last of several counts.
#[derive(Default)]
struct Ids<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
}

fn message(shape: &Shape, mut rest: &[u8], depth: u32, spans: &mut u32) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut ids = Ids::default();
    while !rest.is_empty() {
        let key = u32::try_from(varint(&mut rest)?).ok()?;
        let number = key >> 3;
        if number == 0 {
            return None;
        }
        let field = shape.fields.get(number as usize).copied().unwrap_or(Any);
        match (key & 7, field) {
            (0, Varint | Any) => {
                varint(&mut rest)?;
            }
            (1, Fixed64 | Any) => {
                take(&mut rest, 8)?;
            }
            (5, Fixed32 | Any) => {
                take(&mut rest, 4)?;
            }
            (2, Bytes | Text | Field::Message(_) | Any) => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let bytes = take(&mut rest, length)?;
                match field {
                    Text => {
                        std::str::from_utf8(bytes).ok()?;
                    }
                    Field::Message(inner) => message(inner, bytes, depth + 1, spans)?,
                    _ if shape.is_span => match number {
                        1 => ids.trace_id = bytes,
                        2 => ids.span_id = bytes,
                        4 => ids.parent_span_id = bytes,
                        _ => {}
                    },
                    _ => {}
                }
            }
            _ => return None,
        }
    }
    if shape.is_span {
        if Invalid::check(ids.trace_id, ids.span_id, ids.parent_span_id).is_some() {
            return None;
        }
        *spans = spans.checked_add(1)?;
    }
    Some(())
}

#[inline]
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, byte) in rest.iter().enumerate().take(10) {
        if index == 9 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            *rest = rest.get(index + 1..)?;
            return Some(value);
        }
    }
    None
}

#[inline]
fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, EntityRef, InstrumentationScope};
    use opentelemetry_proto::tonic::common::v1::{KeyValue, KeyValueList, any_value::Value};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
    use prost::Message;

    fn attributes() -> Vec<KeyValue> {
        let values = [
            Value::StringValue("naïve".to_owned()),
            Value::BoolValue(true),
            Value::IntValue(-7),
            Value::DoubleValue(1.5),
            Value::BytesValue(vec![0xff, 0]),
        ];
        let any = |value| AnyValue { value: Some(value) };
        let key = |value| KeyValue { key: "key".to_owned(), value: Some(any(value)), key_strindex: 0 };
        let list = Value::KvlistValue(KeyValueList { values: values.clone().map(key).into() });
        let array = Value::ArrayValue(ArrayValue { values: values.clone().map(any).into() });
        values.into_iter().chain([list, array]).map(key).collect()
    }

    /// A request with every field set.
    pub(in crate::receive) fn request(spans: u64) -> ExportTraceServiceRequest {
        let span = |n: u64| Span {
            trace_id: vec![7; 16],
            span_id: (n + 1).to_be_bytes().to_vec(),
            trace_state: "a=b".to_owned(),
            parent_span_id: if n == 0 { vec![] } else { vec![1; 8] },
            flags: 1,
            name: format!("GET /{n}"),
            kind: 2,
            start_time_unix_nano: 1_700_000_000_000_000_000 + n,
            end_time_unix_nano: 1_700_000_000_000_001_000 + n,
            attributes: attributes(),
            dropped_attributes_count: 1,
            events: vec![span::Event {
                time_unix_nano: 5,
                name: "e".to_owned(),
                attributes: attributes(),
                dropped_attributes_count: 1,
            }],
            dropped_events_count: 1,
            links: vec![span::Link {
                trace_id: vec![1; 16],
                span_id: vec![2; 8],
                attributes: attributes(),
                flags: 1,
                ..Default::default()
            }],
            dropped_links_count: 1,
            status: Some(Status { code: 2, message: "no".to_owned() }),
        };
        let resource = Resource {
            attributes: attributes(),
            dropped_attributes_count: 1,
            entity_refs: vec![EntityRef { id_keys: vec!["a".to_owned()], ..Default::default() }],
        };
        let scope = InstrumentationScope {
            name: "scope".to_owned(),
            version: "1".to_owned(),
            attributes: attributes(),
            dropped_attributes_count: 1,
        };
        let scope_spans = ScopeSpans {
            scope: Some(scope),
            spans: (0..spans).map(span).collect(),
            schema_url: "u".to_owned(),
        };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(resource),
                scope_spans: vec![scope_spans],
                schema_url: "u".to_owned(),
            }],
        }
    }

    #[test]
    fn every_field_is_known() {
        assert_eq!(traces(&request(4).encode_to_vec()), Some(4));
        assert_eq!(traces(b""), Some(0));
    }

    #[test]
    fn what_passes_can_be_decoded() {
        let body = request(2).encode_to_vec();
        let mut passed = 0;
        let mut check = |mutant: &[u8]| {
            if let Some(spans) = traces(mutant) {
                let decoded = ExportTraceServiceRequest::decode(mutant).expect("prost must decode it");
                let all = decoded.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
                assert_eq!(all.count(), spans as usize);
                passed += 1;
            }
        };
        for length in 0..body.len() {
            check(&body[..length]);
        }
        // Every byte with every bit flipped and with some special values.
        for index in 0..body.len() {
            let mut mutant = body.clone();
            for value in (0..8).map(|bit| body[index] ^ (1 << bit)).chain([0, 0x7f, 0x80, 0xff]) {
                mutant[index] = value;
                check(&mutant);
            }
        }
        assert!(passed > 1000, "only {passed} mutants passed");
    }

    #[test]
    fn deep_nesting_is_left_to_the_thorough_way() {
        let mut value = AnyValue { value: Some(Value::IntValue(1)) };
        for _ in 0..1000 {
            value = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })) };
        }
        let mut deep = request(1);
        deep.resource_spans[0].scope_spans[0].spans[0].attributes[0].value = Some(value);
        let body = deep.encode_to_vec();
        assert_eq!(traces(&body), None);
        assert!(ExportTraceServiceRequest::decode(&body[..]).is_err());
    }
}
