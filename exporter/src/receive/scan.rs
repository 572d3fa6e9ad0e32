//! Checking an OTLP request without building it: the shape of every message, the UTF-8 of every text, the ids of
//! every span, and what it would take in memory.
//!
//! This is what makes it possible to keep a request as it came: a body that passes is one that a later reader can
//! decode. It costs a fraction of decoding, for it allocates nothing.
//!
//! Invariants: what [`traces`] finds in order, prost decodes (held by `what_passes_can_be_decoded` below).
//! What it does not find too large takes no more than a small multiple of [`MAX_DECODED_BYTES`] to decode: it stops
//! where prost would stop, or earlier.
//! What is odd (groups, an invalid span) is left to the thorough way in [`super::decode`].

use std::mem::size_of;

use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::trace::v1 as trace;

use super::decode::Invalid;
use super::limits::MAX_DECODED_BYTES;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Each span is valid; so many there are.
    InOrder { spans: u32 },
    /// It can be decoded in bounded memory, but not kept as it is.
    Odd,
    /// It cannot be decoded.
    Malformed,
    /// Its values are nested too deeply.
    TooDeep,
    /// Decoded it would be larger than [`MAX_DECODED_BYTES`].
    TooLarge,
}

/// Looks at a request to `/v1/traces`.
pub(super) fn traces(body: &[u8]) -> Verdict {
    let mut seen = Seen { decoded_bytes: body.len(), ..Seen::default() };
    match message(&REQUEST, body, 0, &mut seen) {
        Ok(()) if seen.is_odd => Verdict::Odd,
        Ok(()) => Verdict::InOrder { spans: seen.spans },
        Err(Fault::Malformed) => Verdict::Malformed,
        Err(Fault::TooDeep) => Verdict::TooDeep,
        Err(Fault::TooLarge) => Verdict::TooLarge,
    }
}

/// What one span takes when decoded; something above the bound, if that is more than the bound.
pub(super) fn span_bytes(body: &[u8]) -> usize {
    let mut seen = Seen { decoded_bytes: body.len(), ..Seen::default() };
    // What is malformed is not decoded any further than it has been counted here.
    let _ = message(&SPAN, body, 0, &mut seen);
    seen.decoded_bytes
}

/// Whether a request in JSON takes too much memory to decode.
///
/// Every member and element but the first of its object or array comes after a comma, and every object that is not
/// the value of a member is an element, a span at most; deep nesting the decoder refuses. What is no JSON is left to
/// the decoder, too.
pub(super) fn json_is_too_large(body: &[u8]) -> bool {
    /// A value in the buffer of the decoder, or a text with its allocation.
    const VALUE_BYTES: usize = 64;
    let mut decoded_bytes = body.len();
    let mut bytes = body.iter();
    let mut last = b' ';
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b',' => decoded_bytes += VALUE_BYTES,
            b'{' if last != b':' => decoded_bytes += size_of::<trace::Span>(),
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            last = *byte;
        }
    }
    decoded_bytes > MAX_DECODED_BYTES
}

/// What the walk has met so far.
#[derive(Default)]
struct Seen {
    spans: u32,
    /// The sizes of the body, of the elements of all lists, and of what each text takes beside its bytes.
    decoded_bytes: usize,
    is_odd: bool,
}

impl Seen {
    fn add(&mut self, bytes: usize) -> Result<(), Fault> {
        self.decoded_bytes += bytes;
        if self.decoded_bytes > MAX_DECODED_BYTES { Err(Fault::TooLarge) } else { Ok(()) }
    }
}

enum Fault {
    Malformed,
    TooDeep,
    TooLarge,
}

/// A message: what each field holds, by its number.
struct Shape {
    fields: &'static [Field],
    is_span: bool,
    /// What one takes in a list; nothing for what is part of the message that holds it.
    size: usize,
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
    Shape { fields, is_span: false, size: 0 }
}

/// A message that is an element of a list.
const fn element<T>(fields: &'static [Field]) -> Shape {
    Shape { fields, is_span: false, size: size_of::<T>() }
}

/// An allocation of few bytes, or a text as an element of a list.
const TEXT_BYTES: usize = 32;

// From opentelemetry/proto/{collector/trace,trace,resource,common}/v1; index 0 is no field.
static REQUEST: Shape = shape(&[Any, Field::Message(&RESOURCE_SPANS)]);
static RESOURCE_SPANS: Shape =
    element::<trace::ResourceSpans>(&[Any, Field::Message(&RESOURCE), Field::Message(&SCOPE_SPANS), Text]);
static RESOURCE: Shape = shape(&[Any, Field::Message(&KEY_VALUE), Varint, Field::Message(&ENTITY_REF)]);
static ENTITY_REF: Shape = element::<common::EntityRef>(&[Any, Text, Text, Text, Text]);
static SCOPE_SPANS: Shape =
    element::<trace::ScopeSpans>(&[Any, Field::Message(&SCOPE), Field::Message(&SPAN), Text]);
static SCOPE: Shape = shape(&[Any, Text, Text, Field::Message(&KEY_VALUE), Varint]);
static SPAN: Shape = Shape {
    is_span: true,
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

/// Well below the 100 of prost.
const MAX_DEPTH: u32 = 64;

/// The ids of one span, while it is read. As in every protobuf message, the last of several counts.
#[derive(Default)]
struct Ids<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
}

fn message(shape: &Shape, mut rest: &[u8], depth: u32, seen: &mut Seen) -> Result<(), Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::TooDeep);
    }
    let mut ids = Ids::default();
    while !rest.is_empty() {
        let (number, wire_type) = key(&mut rest).ok_or(Fault::Malformed)?;
        let field = shape.fields.get(number as usize).copied().unwrap_or(Any);
        match (wire_type, field) {
            (0, Varint | Any) | (1, Fixed64 | Any) | (5, Fixed32 | Any) => {
                skip(&mut rest, number, wire_type, depth)?;
            }
            (2, Bytes | Text | Field::Message(_) | Any) => {
                let bytes = delimited(&mut rest).ok_or(Fault::Malformed)?;
                match field {
                    Text => {
                        std::str::from_utf8(bytes).map_err(|_| Fault::Malformed)?;
                        seen.add(TEXT_BYTES)?;
                    }
                    Field::Message(inner) => {
                        seen.add(inner.size)?;
                        message(inner, bytes, depth + 1, seen)?;
                    }
                    Bytes => seen.add(TEXT_BYTES)?,
                    _ => {}
                }
                if shape.is_span {
                    match number {
                        1 => ids.trace_id = bytes,
                        2 => ids.span_id = bytes,
                        4 => ids.parent_span_id = bytes,
                        _ => {}
                    }
                }
            }
            (3, Any) => {
                seen.is_odd = true;
                skip(&mut rest, number, wire_type, depth)?;
            }
            _ => return Err(Fault::Malformed),
        }
    }
    if shape.is_span {
        seen.is_odd |= Invalid::check(ids.trace_id, ids.span_id, ids.parent_span_id).is_some();
        seen.spans = seen.spans.checked_add(1).ok_or(Fault::TooLarge)?;
    }
    Ok(())
}

/// Goes past the value of a field; a group ends with its number.
fn skip(rest: &mut &[u8], number: u32, wire_type: u32, depth: u32) -> Result<(), Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::TooDeep);
    }
    let skipped = match wire_type {
        0 => varint(rest).map(drop),
        1 => take(rest, 8).map(drop),
        2 => delimited(rest).map(drop),
        3 => loop {
            match key(rest).ok_or(Fault::Malformed)? {
                (end, 4) if end == number => break Some(()),
                (_, 4) => break None,
                (inner, wire_type) => skip(rest, inner, wire_type, depth + 1)?,
            }
        },
        5 => take(rest, 4).map(drop),
        _ => None,
    };
    skipped.ok_or(Fault::Malformed)
}

/// The number and the wire type of a field.
#[inline]
fn key(rest: &mut &[u8]) -> Option<(u32, u32)> {
    let key = u32::try_from(varint(rest)?).ok()?;
    if key >> 3 == 0 { None } else { Some((key >> 3, key & 7)) }
}

#[inline]
fn delimited<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    take(rest, length)
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
        assert_eq!(traces(&request(4).encode_to_vec()), Verdict::InOrder { spans: 4 });
        assert_eq!(traces(b""), Verdict::InOrder { spans: 0 });
    }

    #[test]
    fn what_passes_can_be_decoded() {
        let body = request(2).encode_to_vec();
        let mut passed = 0;
        let mut check = |mutant: &[u8]| match (traces(mutant), ExportTraceServiceRequest::decode(mutant)) {
            (Verdict::InOrder { spans }, decoded) => {
                let decoded = decoded.expect("prost must decode it");
                let all = decoded.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
                assert_eq!(all.count(), spans as usize);
                passed += 1;
            }
            (Verdict::Odd, decoded) => assert!(decoded.is_ok()),
            (_, decoded) => assert!(decoded.is_err(), "prost would go on where the walk has stopped"),
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
        assert_eq!(traces(&body), Verdict::TooDeep);
        assert!(ExportTraceServiceRequest::decode(&body[..]).is_err());
    }

    /// A valid span, and then very many messages of two bytes: four ways to take far more memory than bytes.
    pub(in crate::receive) fn bombs() -> [Vec<u8>; 4] {
        let wrapped = |field: u8, inner: &[u8]| {
            let mut outer = vec![field << 3 | 2];
            prost::encoding::encode_varint(inner.len() as u64, &mut outer);
            outer.extend_from_slice(inner);
            outer
        };
        let many = |field: u8| [field << 3 | 2, 0].repeat(4 << 20);
        let bomb = |inner: Vec<u8>| [request(1).encode_to_vec(), inner].concat();
        [
            bomb(many(1)),
            bomb(wrapped(1, &many(2))),
            bomb(wrapped(1, &wrapped(2, &many(2)))),
            bomb(wrapped(1, &wrapped(1, &wrapped(3, &many(3))))),
        ]
    }

    #[test]
    fn what_grows_too_much_is_found() {
        for bomb in bombs() {
            assert_eq!(traces(&bomb), Verdict::TooLarge);
        }
        // What clients send is far from the bound.
        let body = request(4000).encode_to_vec();
        assert!(body.len() > 3 << 20, "{}", body.len());
        assert_eq!(traces(&body), Verdict::InOrder { spans: 4000 });
        assert!(!json_is_too_large(&serde_json::to_vec(&request(1000)).unwrap()));
        for element in ["{}", "1", "\"\"", "[]", "{\"a\":1}"] {
            let json = format!("{{\"resourceSpans\":[{}]}}", vec![element; 2 << 20].join(" , "));
            assert!(json_is_too_large(json.as_bytes()), "{element}");
        }
        let text = format!("{{\"a\":\"{}\"}}", "{,\\\",{".repeat(1 << 20));
        assert!(!json_is_too_large(text.as_bytes()), "all of it is one text");
    }

    #[test]
    fn groups_are_skipped() {
        let mut body = request(1).encode_to_vec();
        let group = [15 << 3 | 3, 8, 1, 15 << 3 | 3, 15 << 3 | 4, 15 << 3 | 4];
        body.extend_from_slice(&group);
        assert_eq!(traces(&body), Verdict::Odd);
        assert!(ExportTraceServiceRequest::decode(&body[..]).is_ok());
        body.pop();
        assert_eq!(traces(&body), Verdict::Malformed);
    }
}
