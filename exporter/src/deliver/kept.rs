//! What a sink with rules gets of a batch: the items that tail sampling keeps.

use bytes::Bytes;

use crate::otlp::Signal;
use crate::otlp::probability::{self, Probability};
use crate::otlp::retain::retain_items;
use crate::outbox::{Batch, Verdict, Verdicts};

/// The kept items of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) items: u32,
    pub(super) body: Bytes,
}

/// Returns the items of a batch that the sink gets: all of them without verdicts, or if the batch cannot be read.
pub(super) fn kept(batch: &Batch) -> Kept {
    batch
        .verdicts
        .as_ref()
        .and_then(|verdicts| filtered(batch, verdicts))
        .unwrap_or_else(|| Kept { items: batch.items, body: batch.body.clone() })
}

/// Returns `None` if the batch stays as it is.
fn filtered(batch: &Batch, verdicts: &Verdicts) -> Option<Kept> {
    let of_items = || (0..batch.items as usize).map(|index| verdicts.get(index));
    if of_items().all(|verdict| verdict == Verdict::NotKept) {
        return Some(Kept { items: 0, body: Bytes::new() });
    }
    let probability = |verdict| match batch.signal() {
        Signal::Traces => verdicts.probability(verdict),
        // A log record has no tracestate.
        Signal::Logs => Probability::Unchanged,
    };
    let is_unchanged = |verdict| {
        verdict != Verdict::NotKept
            && matches!(probability(verdict), Probability::Unchanged | Probability::Threshold(0))
    };
    if of_items().all(is_unchanged) {
        return None;
    }
    let mut index = 0;
    let (items, body) = retain_items(&batch.body, |item| {
        let verdict = verdicts.get(index);
        index += 1;
        (verdict != Verdict::NotKept).then(|| probability::apply(item, probability(verdict)))
    })
    .filter(|_| index == batch.items as usize)?;
    Some(Kept { items, body: body.into() })
}

#[cfg(test)]
mod tests {
    use super::super::chunk::tests::{body, names};
    use super::super::{Chunk, Origin, Slice};
    use super::*;
    use crate::outbox::BatchContent;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message;

    fn batch(verdicts: &[Verdict]) -> Batch {
        let mut of_items = Verdicts::new(0xc0_0000_0000_0000);
        verdicts.iter().enumerate().for_each(|(index, verdict)| of_items.push(index, *verdict));
        Batch {
            id: 1,
            received_ms: 0,
            content: Signal::Traces.into(),
            items: 3,
            body: body(&["a", "b", "c"]),
            verdicts: Some(of_items),
        }
    }

    #[track_caller]
    fn check(verdicts: [Verdict; 3], expected: &[&str], tracestates: &[&str]) {
        let kept = kept(&batch(&verdicts));
        assert_eq!(kept.items as usize, expected.len());
        let request = ExportTraceServiceRequest::decode(kept.body.clone()).unwrap();
        let spans = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        let found: Vec<_> = spans.flat_map(|scope| scope.spans).map(|span| span.trace_state).collect();
        assert_eq!(found, tracestates);
        let chunk = Chunk::new(Signal::Traces, Slice::new(Origin::Batch(1), kept.items, kept.body));
        assert_eq!(names(&chunk), expected);
    }

    #[test]
    fn a_sink_gets_the_kept_items_with_their_probability() {
        use Verdict::{Kept, KeptByShare, KeptWithinLimit, NotKept};
        check([Kept, Kept, Kept], &["a", "b", "c"], &["ot=th:0", "ot=th:0", "ot=th:0"]);
        check([NotKept, Kept, NotKept], &["b"], &["ot=th:0"]);
        check([KeptByShare, NotKept, KeptWithinLimit], &["a", "c"], &["ot=th:c", ""]);
        check([NotKept, NotKept, NotKept], &[], &[]);
    }

    /// Records of two resources, each with an attribute.
    fn log_body(messages: [&[&str]; 2]) -> Bytes {
        let any = |text: &str| AnyValue { value: Some(Any::StringValue(text.to_owned())) };
        let key = |text: &str| KeyValue { key: "key".to_owned(), value: Some(any(text)), key_strindex: 0 };
        let record = |message: &&str| LogRecord {
            body: Some(any(message)),
            attributes: vec![key(message)],
            severity_number: 9,
            ..LogRecord::default()
        };
        let resource = |(service, messages): (&str, &[&str])| ResourceLogs {
            resource: Some(Resource { attributes: vec![key(service)], ..Resource::default() }),
            scope_logs: vec![ScopeLogs {
                log_records: messages.iter().map(record).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        };
        let of_services = ["shop", "cart"].into_iter().zip(messages);
        let resource_logs = of_services.filter(|(_, messages)| !messages.is_empty()).map(resource).collect();
        ExportLogsServiceRequest { resource_logs }.encode_to_vec().into()
    }

    #[test]
    fn a_sink_gets_the_kept_log_records_unchanged() {
        use Verdict::{Kept, NotKept};
        let cases: [([Verdict; 3], [&[&str]; 2]); 5] = [
            ([Kept, Kept, Kept], [&["a", "b"], &["c"]]),
            ([Kept, NotKept, Kept], [&["a"], &["c"]]),
            ([NotKept, Kept, NotKept], [&["b"], &[]]),
            ([NotKept, NotKept, Kept], [&[], &["c"]]),
            ([NotKept, NotKept, NotKept], [&[], &[]]),
        ];
        for content in [BatchContent::Logs, BatchContent::TailedLogs] {
            for (verdicts, expected) in cases {
                let batch = Batch { content, body: log_body([&["a", "b"], &["c"]]), ..batch(&verdicts) };
                let items = expected.iter().map(|messages| messages.len() as u32).sum();
                assert_eq!(kept(&batch), super::Kept { items, body: log_body(expected) }, "{verdicts:?}");
            }
        }
    }

    #[test]
    fn log_records_without_verdicts_are_kept() {
        let body = log_body([&["a", "b"], &["c"]]);
        let batch = Batch { content: BatchContent::Logs, body: body.clone(), verdicts: None, ..batch(&[]) };
        assert_eq!(kept(&batch), Kept { items: 3, body });
    }

    #[test]
    fn a_batch_that_cannot_be_read_stays_as_it_is() {
        let unreadable =
            Batch { body: Bytes::from_static(b"\xff"), ..batch(&[Verdict::NotKept, Verdict::Kept]) };
        assert_eq!(kept(&unreadable), Kept { items: 3, body: unreadable.body.clone() });
    }
}
