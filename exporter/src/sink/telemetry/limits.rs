//! Bringing encoded spans and log records within the limits of the Telemetry API.

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::super::json_body::TRUNCATED;
use super::super::limits::{LARGE, Limits};

/// In a span of this size, every text is within its limit, because the limit of a key is the smallest. Only links
/// without ids could exceed their number.
const SHORT_BYTES: usize = LARGE.key;

/// Brings a span within the limits. Returns `None` if it is within them.
pub(super) fn span(bytes: &Bytes) -> Option<Bytes> {
    if bytes.len() <= SHORT_BYTES {
        return None;
    }
    let before = Span::decode(bytes.clone()).ok()?;
    let mut span = before.clone();
    LARGE.span(&mut span);
    (span != before).then(|| span.encode_to_vec().into())
}

/// Log records become log entries, which can have 256 KiB (<https://docs.cloud.google.com/logging/quotas>), and an entry is
/// larger than its record.
const MAX_RECORD_BYTES: usize = 200 << 10;

/// The limits of a record that is too large: all its texts together fit.
const OF_LARGE_RECORD: Limits = Limits { key: 128, value: 1024, attributes: 64, ..LARGE };

/// The limit of the body of a record that is too large.
const OF_LARGE_BODY: Limits = Limits { value: 96 << 10, ..OF_LARGE_RECORD };

/// Brings a log record within the limits. Returns `None` if it is within them.
pub(super) fn log_record(bytes: &Bytes) -> Option<Bytes> {
    if bytes.len() <= MAX_RECORD_BYTES {
        return None;
    }
    let mut record = LogRecord::decode(bytes.clone()).ok()?;
    let mut body = LogRecord { body: record.body.take(), ..Default::default() };
    OF_LARGE_BODY.log_record(&mut body);
    OF_LARGE_RECORD.log_record(&mut record);
    record.body = body.body;
    // After the limits, so that none drops it.
    record.attributes.push(KeyValue {
        key: TRUNCATED.to_owned(),
        value: Some(AnyValue { value: Some(Any::BoolValue(true)) }),
        key_strindex: 0,
    });
    Some(record.encode_to_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

    fn attribute(key: String, value: Any) -> KeyValue {
        KeyValue { key, value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
    }

    #[test]
    fn a_span_within_the_limits_is_unchanged() {
        let many = (0..LARGE.attributes).map(|n| attribute(format!("{n}"), Any::IntValue(1)));
        let full = Span {
            name: "x".repeat(LARGE.name),
            attributes: many.collect(),
            events: vec![Event::default(); LARGE.events],
            links: vec![Link::default(); LARGE.links],
            ..Default::default()
        };
        for within in [Span::default(), full] {
            assert_eq!(span(&within.encode_to_vec().into()), None);
        }
    }

    #[test]
    fn excess_is_truncated_or_dropped_and_counted() {
        let text = || Any::StringValue("ä".repeat(LARGE.value));
        let mut many: Vec<_> = (0..LARGE.attributes).map(|n| attribute(format!("{n}"), text())).collect();
        many.truncate(3);
        many.push(attribute("k".repeat(LARGE.key + 1), Any::IntValue(1)));
        many.push(attribute("bytes".to_owned(), Any::BytesValue(vec![0; LARGE.value + 1])));
        let event = Event { name: "e".repeat(2000), attributes: many.clone(), ..Default::default() };
        let link = Link { attributes: many.clone(), ..Default::default() };
        let given = Span {
            name: "ä".repeat(LARGE.name),
            attributes: many,
            events: vec![event; LARGE.events + 5],
            links: vec![link; LARGE.links + 7],
            dropped_links_count: 1,
            ..Default::default()
        };
        let cut = Span::decode(span(&given.encode_to_vec().into()).unwrap()).unwrap();
        assert_eq!((cut.name.len(), cut.events[0].name.len()), (LARGE.name, LARGE.name));
        assert_eq!((cut.events.len(), cut.dropped_events_count), (LARGE.events, 5));
        assert_eq!((cut.links.len(), cut.dropped_links_count), (LARGE.links, 8));
        for (attributes, dropped) in [
            (&cut.attributes, cut.dropped_attributes_count),
            (&cut.events[0].attributes, cut.events[0].dropped_attributes_count),
            (&cut.links[0].attributes, cut.links[0].dropped_attributes_count),
        ] {
            assert_eq!((attributes.len(), dropped), (3, 2));
            let value = attributes[0].value.as_ref().unwrap().value.as_ref();
            assert!(matches!(value, Some(Any::StringValue(text)) if text.len() == LARGE.value));
        }
        let counted = Span {
            attributes: vec![attribute("k".to_owned(), Any::IntValue(1)); LARGE.attributes + 9],
            ..Default::default()
        };
        let cut = Span::decode(span(&counted.encode_to_vec().into()).unwrap()).unwrap();
        assert_eq!((cut.attributes.len(), cut.dropped_attributes_count), (LARGE.attributes, 9));
    }

    #[test]
    fn a_log_record_is_within_the_size_of_an_entry() {
        let text = |len: usize| Some(AnyValue { value: Some(Any::StringValue("ä".repeat(len / 2))) });
        let record = LogRecord { body: text(150 << 10), ..Default::default() };
        assert_eq!(log_record(&record.encode_to_vec().into()), None);
        let attributes = (0..300).map(|n| attribute(format!("{n}"), Any::StringValue("x".repeat(2000))));
        let given =
            LogRecord { body: text(300 << 10), attributes: attributes.collect(), ..Default::default() };
        let cut = log_record(&given.encode_to_vec().into()).unwrap();
        assert!(cut.len() <= MAX_RECORD_BYTES);
        let cut = LogRecord::decode(cut).unwrap();
        assert_eq!(cut.attributes.last().map(|attribute| attribute.key.as_str()), Some(TRUNCATED));
        assert_eq!((cut.body, cut.dropped_attributes_count), (text(96 << 10), 300 - 64));
    }

    #[test]
    fn a_full_count_of_the_sender_stays() {
        let attributes = vec![attribute("k".to_owned(), Any::IntValue(1)); LARGE.attributes + 1];
        let most = u32::MAX;
        let event =
            Event { attributes: attributes.clone(), dropped_attributes_count: most, ..Default::default() };
        let link =
            Link { attributes: attributes.clone(), dropped_attributes_count: most, ..Default::default() };
        let given = Span {
            attributes: attributes.clone(),
            dropped_attributes_count: most,
            events: vec![event; LARGE.events + 1],
            dropped_events_count: most,
            links: vec![link; LARGE.links + 1],
            dropped_links_count: most,
            ..Default::default()
        };
        let cut = Span::decode(span(&given.encode_to_vec().into()).unwrap()).unwrap();
        assert_eq!((cut.events.len(), cut.links.len()), (LARGE.events, LARGE.links));
        assert_eq!(
            [
                cut.dropped_attributes_count,
                cut.dropped_events_count,
                cut.dropped_links_count,
                cut.events[0].dropped_attributes_count,
                cut.links[0].dropped_attributes_count,
            ],
            [most; 5]
        );
        let mut of_all = Resource { attributes, dropped_attributes_count: most, ..Default::default() };
        LARGE.resource(&mut of_all);
        assert_eq!((of_all.attributes.len(), of_all.dropped_attributes_count), (LARGE.attributes, most));
    }
}
