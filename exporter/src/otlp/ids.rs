//! The ids of a span, while its message is read.

use super::left_out::Reason;
use super::schema::Role;

/// The lengths of the ids of a span, and whether all of their bytes are zero. If a field is repeated, the last one
/// counts, as in every protobuf message.
#[derive(Default)]
pub(super) struct Ids {
    trace_id: Id,
    span_id: Id,
    parent_span_id: Id,
}

struct Id {
    length: usize,
    is_zero: bool,
}

impl Default for Id {
    fn default() -> Self {
        Self { length: 0, is_zero: true }
    }
}

/// Checks the length of a field if it is an id of a log record or of a link. An empty one is absent.
pub(super) fn check_reference(role: Role, number: u32, bytes: &[u8]) -> Result<(), Reason> {
    match (role, number, bytes.len()) {
        (Role::LogRecord, 9, 1..=15 | 17..) | (Role::Link, 1, 1..=15 | 17..) => Err(Reason::TraceIdLength),
        (Role::LogRecord, 10, 1..=7 | 9..) | (Role::Link, 2, 1..=7 | 9..) => Err(Reason::SpanIdLength),
        _ => Ok(()),
    }
}

impl Ids {
    /// Records a field if it is an id of a span.
    pub(super) fn record(&mut self, role: Role, number: u32, bytes: &[u8]) {
        let id = match (role, number) {
            (Role::Span, 1) => &mut self.trace_id,
            (Role::Span, 2) => &mut self.span_id,
            (Role::Span, 4) => &mut self.parent_span_id,
            _ => return,
        };
        *id = Id { length: bytes.len(), is_zero: bytes.iter().all(|byte| *byte == 0) };
    }

    /// Returns the first error in the ids.
    pub(super) fn check(&self) -> Result<(), Reason> {
        match self {
            Self { trace_id: Id { length, .. }, .. } if *length != 16 => Err(Reason::TraceIdLength),
            Self { span_id: Id { length, .. }, .. } if *length != 8 => Err(Reason::SpanIdLength),
            Self { parent_span_id: Id { length, .. }, .. } if *length != 8 && *length != 0 => {
                Err(Reason::ParentSpanIdLength)
            }
            Self { trace_id: Id { is_zero: true, .. }, .. } => Err(Reason::TraceIdZero),
            Self { span_id: Id { is_zero: true, .. }, .. } => Err(Reason::SpanIdZero),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::span::Link;
    use prost::Message;

    use super::super::check::{CheckResult, check, tests::request};
    use super::super::json::to_protobuf;
    use super::super::left_out::LeftOut;
    use super::super::mend::mend;
    use super::super::signal::Signal;
    use super::Reason;

    #[test]
    fn a_link_with_an_id_of_a_wrong_length_is_left_out() {
        let link = |trace_id: usize, span_id: usize| Link {
            trace_id: vec![1; trace_id],
            span_id: vec![2; span_id],
            ..Link::default()
        };
        for (bad, reason) in [
            (link(8, 8), Reason::TraceIdLength),
            (link(32, 8), Reason::TraceIdLength),
            (link(16, 4), Reason::SpanIdLength),
            (link(0, 16), Reason::SpanIdLength),
        ] {
            let mut sent = request(1);
            let span = |request: &mut ExportTraceServiceRequest| {
                std::mem::take(&mut request.resource_spans[0].scope_spans[0].spans[0])
            };
            let links = &mut sent.resource_spans[0].scope_spans[0].spans[0].links;
            *links = vec![link(16, 8), bad, link(0, 0)];
            let check_mended = |(bytes, left_out): (Vec<u8>, LeftOut)| {
                assert_eq!((left_out.items(), left_out.parts), (0, [(reason, 1)].into()));
                let span = span(&mut ExportTraceServiceRequest::decode(&bytes[..]).unwrap());
                // One link was dropped before.
                assert_eq!((span.links, span.dropped_links_count), (vec![link(16, 8), link(0, 0)], 2));
            };
            let body = sent.encode_to_vec();
            assert_eq!(check(Signal::Traces, &body), CheckResult::Invalid);
            check_mended(mend(Signal::Traces, &body).unwrap());
            check_mended(to_protobuf(Signal::Traces, &serde_json::to_string(&sent).unwrap()).unwrap());
        }
    }
}
