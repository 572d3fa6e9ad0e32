//! Reads the tree of a trace: one scan of its spans, and one of its lines.

use std::collections::HashMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::search::Search;
use super::{LineNode, MAX_LINES, MAX_SPANS, Node, Role, Tree};
use crate::store::{ReadResult, Snapshot, TraceSeq};

/// Further services have no filter and no clock of their own.
const MAX_SERVICES: usize = 1000;

/// A tree, with the names of its services.
pub(in crate::view) struct Loaded {
    pub(in crate::view) tree: Tree,
    pub(in crate::view) services: Vec<Arc<str>>,
}

/// Reads a tree, and marks what a search finds. `now` is in nanoseconds since 1970.
pub(in crate::view) fn load(
    snapshot: &Snapshot<'_>,
    trace: TraceSeq,
    search: Option<&Search>,
    now: u64,
) -> ReadResult<Loaded> {
    let mut services = Services::default();
    let mut spans = Vec::new();
    snapshot.each_span(trace, MAX_SPANS, |id, origin, span| {
        let (start, end) = (nanos(span.start_time_unix_nano), nanos(span.end_time_unix_nano));
        let service = services.of_origin(snapshot, origin)?;
        let role = match SpanKind::try_from(span.kind).unwrap_or_default() {
            SpanKind::Server => Role::Server,
            SpanKind::Producer => Role::Producer,
            SpanKind::Consumer => Role::Consumer,
            SpanKind::Unspecified | SpanKind::Internal | SpanKind::Client => Role::Other,
        };
        let node = Node {
            is_failed: span.status() == StatusCode::Error,
            role,
            is_match: search.is_some_and(|search| search.finds_span(id, span, services.name(service))),
            ..Node::new(id, span.parent_span_id, start, end, service)
        };
        spans.push(node.checked(now));
        Ok(())
    })?;
    let mut lines = Vec::new();
    snapshot.each_line(trace, MAX_LINES, |mark| {
        let node = LineNode::new(mark.key, super::Level::of(mark.severity));
        lines.push((node, mark.span_id));
    })?;
    if let Some(search) = search {
        let mut matches = lines.iter_mut();
        snapshot.each_line_row(trace, MAX_LINES, |row| {
            if let Some((node, _)) = matches.next() {
                node.is_match = search.finds_line(&row);
            }
        })?;
    }
    Ok(Loaded { tree: Tree::new(spans, lines), services: services.names })
}

fn nanos(unix_nano: u64) -> i64 {
    i64::try_from(unix_nano).unwrap_or(i64::MAX)
}

#[derive(Default)]
struct Services {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u16>,
    of_origins: HashMap<i64, u16>,
    last: Option<(i64, u16)>,
}

impl Services {
    fn of_origin(&mut self, snapshot: &Snapshot<'_>, origin: i64) -> ReadResult<u16> {
        let known = self.last.filter(|(last, _)| *last == origin).map(|(_, number)| number);
        let known = known.or_else(|| self.of_origins.get(&origin).copied());
        let number = match known {
            Some(number) => number,
            None => {
                let name = snapshot.emitter(origin, |emitter| Arc::from(&*emitter.service_name()))?;
                let number = self.number(name.unwrap_or_default());
                self.of_origins.insert(origin, number);
                number
            }
        };
        self.last = Some((origin, number));
        Ok(number)
    }

    fn number(&mut self, name: Arc<str>) -> u16 {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let next = u16::try_from(self.names.len()).ok().filter(|_| self.names.len() < MAX_SERVICES);
        let Some(number) = next else { return u16::MAX };
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    fn name(&self, number: u16) -> &str {
        self.names.get(usize::from(number)).map_or("", |name| name)
    }
}
