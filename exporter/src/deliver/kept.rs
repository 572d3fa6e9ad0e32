//! What a sink with rules gets of a batch: the items that tail sampling keeps.

use bytes::Bytes;

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
    let is_unchanged = |verdict| {
        let probability = verdicts.probability(verdict);
        verdict != Verdict::NotKept
            && matches!(probability, Probability::Unchanged | Probability::Threshold(0))
    };
    if of_items().all(is_unchanged) {
        return None;
    }
    let mut index = 0;
    let (items, body) = retain_items(&batch.body, |item| {
        let verdict = verdicts.get(index);
        index += 1;
        (verdict != Verdict::NotKept).then(|| probability::apply(item, verdicts.probability(verdict)))
    })
    .filter(|_| index == batch.items as usize)?;
    Some(Kept { items, body: body.into() })
}

#[cfg(test)]
mod tests {
    use super::super::chunk::tests::{body, names};
    use super::super::{Chunk, Origin, Slice};
    use super::*;
    use crate::otlp::Signal;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
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
        check([Kept, Kept, Kept], &["a", "b", "c"], &["", "", ""]);
        check([NotKept, Kept, NotKept], &["b"], &[""]);
        check([KeptByShare, NotKept, KeptWithinLimit], &["a", "c"], &["ot=th:c", ""]);
        check([NotKept, NotKept, NotKept], &[], &[]);
    }

    #[test]
    fn a_batch_that_cannot_be_read_stays_as_it_is() {
        let unreadable =
            Batch { body: Bytes::from_static(b"\xff"), ..batch(&[Verdict::NotKept, Verdict::Kept]) };
        assert_eq!(kept(&unreadable), Kept { items: 3, body: unreadable.body.clone() });
    }
}
