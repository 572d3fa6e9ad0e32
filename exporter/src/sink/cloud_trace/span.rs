//! An OTLP span as a Cloud Trace span.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::Span as OtlpSpan;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::super::google::Time;
use super::model::{Link, Links, Span, Text};
use super::resource::ResourceLabels;
use super::text::{Limits, attributes, truncated};
use super::{ProjectId, event, grpc_code, labels};

const MAX_LINKS: usize = 128;
const MAX_LINK_ATTRIBUTES: usize = 32;

/// Bits of the OTLP span flags: whether `is_remote` of the parent is known, and its value.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

pub(super) fn convert(
    span: &OtlpSpan,
    resource: &ResourceLabels,
    scope: Option<&InstrumentationScope>,
    project: &ProjectId,
    limits: &Limits,
) -> Span {
    let span_id = hex::encode(&span.span_id);
    // A zero parent is absent, and a span cannot be its own parent.
    let has_parent = span.parent_span_id.iter().any(|byte| *byte != 0) && span.parent_span_id != span.span_id;
    Span {
        name: format!("projects/{project}/traces/{}/spans/{span_id}", hex::encode(&span.trace_id)),
        span_id,
        parent_span_id: if has_parent { hex::encode(&span.parent_span_id) } else { String::new() },
        display_name: display_name(&span.name, limits),
        start_time: Time(span.start_time_unix_nano),
        // A clock can be set back.
        end_time: Time(span.end_time_unix_nano.max(span.start_time_unix_nano)),
        attributes: labels::of(span, resource, scope, limits),
        time_events: event::of(span, limits),
        links: links(span, limits),
        status: grpc_code::status(span),
        same_process_as_parent_span: if has_parent { same_process(span) } else { None },
        span_kind: kind(span.kind()),
    }
}

/// A name is required.
fn display_name(name: &str, limits: &Limits) -> Text {
    truncated(if name.is_empty() { "unnamed" } else { name }, limits.display_name)
}

fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "",
        SpanKind::Internal => "INTERNAL",
        SpanKind::Server => "SERVER",
        SpanKind::Client => "CLIENT",
        SpanKind::Producer => "PRODUCER",
        SpanKind::Consumer => "CONSUMER",
    }
}

/// Returns whether the parent is in the same process, or `None` if unknown.
fn same_process(span: &OtlpSpan) -> Option<bool> {
    if span.flags & HAS_IS_REMOTE != 0 {
        return Some(span.flags & IS_REMOTE == 0);
    }
    // A server span has a caller elsewhere.
    matches!(span.kind(), SpanKind::Server | SpanKind::Consumer).then_some(false)
}

fn links(span: &OtlpSpan, limits: &Limits) -> Option<Links> {
    let is_valid = |id: &[u8], len: usize| id.len() == len && id.iter().any(|byte| *byte != 0);
    let link: Vec<Link> = span
        .links
        .iter()
        .filter(|link| is_valid(&link.trace_id, 16) && is_valid(&link.span_id, 8))
        .take(MAX_LINKS)
        .map(|link| Link {
            trace_id: hex::encode(&link.trace_id),
            span_id: hex::encode(&link.span_id),
            r#type: "TYPE_UNSPECIFIED",
            attributes: attributes(
                link.attributes.iter(),
                MAX_LINK_ATTRIBUTES,
                link.dropped_attributes_count,
                limits,
            ),
        })
        .collect();
    let dropped = u32::try_from(span.links.len() - link.len()).unwrap_or(u32::MAX);
    let dropped_links_count = dropped.saturating_add(span.dropped_links_count).min(i32::MAX as u32);
    (!link.is_empty() || dropped_links_count > 0).then_some(Links { link, dropped_links_count })
}

#[cfg(test)]
mod tests {
    use super::super::text::CURRENT;
    use super::*;

    #[test]
    fn same_process_follows_the_flags_and_the_kind() {
        for (flags, kind, expected) in [
            (HAS_IS_REMOTE, SpanKind::Server, Some(true)),
            (HAS_IS_REMOTE | IS_REMOTE, SpanKind::Internal, Some(false)),
            (IS_REMOTE | 1, SpanKind::Internal, None),
            (1, SpanKind::Server, Some(false)),
            (1, SpanKind::Consumer, Some(false)),
            (1, SpanKind::Client, None),
        ] {
            let span =
                OtlpSpan { flags, kind: kind.into(), parent_span_id: vec![1; 8], ..Default::default() };
            let project: ProjectId = "mesh-project".parse().unwrap();
            let labels = ResourceLabels::new(None, &project, &CURRENT);
            let written = convert(&span, &labels, None, &project, &CURRENT);
            assert_eq!(written.same_process_as_parent_span, expected, "{flags:#x} {kind:?}");
            let root = OtlpSpan { parent_span_id: Vec::new(), ..span };
            let written = convert(&root, &labels, None, &project, &CURRENT);
            assert_eq!(written.same_process_as_parent_span, None, "a root has no parent");
        }
    }
}
