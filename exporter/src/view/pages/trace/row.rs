//! The rows of a page before they are rendered: ids, times and numbers without texts.

use logtracer_core::SpanId;

use super::hits::Target;
use super::marks::Mark;
use crate::store::{ReadResult, Snapshot, TraceSeq};
use crate::view::tree::{LineNode, Node};

/// A span as a row.
#[derive(Debug, Clone)]
pub(super) struct SpanRow {
    pub(super) node: Node,
    pub(super) depth: u32,
    pub(super) above: Option<Above>,
    pub(super) parent: Parent,
    pub(super) fold: Fold,
    /// The row whose details are open is below it.
    pub(super) has_open: bool,
    pub(super) self_time: u64,
    pub(super) lines: u32,
    pub(super) marks: Vec<Mark>,
    /// The parts of the critical path in this span.
    pub(super) critical: Vec<(i64, i64)>,
}

/// The row of the span above a row, if it is on an earlier page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Above {
    /// The first row of that page.
    pub(super) first: usize,
    pub(super) span: SpanId,
}

/// What the row of a span says of its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    /// It has none, or a row above.
    Fine,
    /// The caller is outside of what is traced here: the span is the server's, and has the parent of the earliest one.
    Outside(SpanId),
    Missing(SpanId),
    /// The parents form a circle.
    Circle,
    /// It is stored, and not among the spans of the tree.
    NotShown(SpanId),
}

/// Returns what the row of a span says of its parent. `outside` is the parent outside of the trace.
pub(super) fn parent(
    snapshot: &Snapshot<'_>,
    seq: TraceSeq,
    node: &Node,
    outside: Option<SpanId>,
) -> ReadResult<Parent> {
    let Some(missing) = node.missing_parent() else { return Ok(Parent::Fine) };
    if node.is_in_circle {
        return Ok(Parent::Circle);
    }
    Ok(match snapshot.span_origin(seq, missing)? {
        Some(_) => Parent::NotShown(missing),
        None if node.role.is_entry() && outside == Some(missing) => Parent::Outside(missing),
        None => Parent::Missing(missing),
    })
}

/// What is below a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    Nothing,
    Open,
    /// The number of hidden rows, and the first error and the first match among them.
    Collapsed {
        rows: usize,
        error: Option<Target>,
        found: Option<Target>,
    },
}

/// A log line as a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineItem {
    pub(super) node: LineNode,
    pub(super) depth: u32,
    pub(super) above: Option<Above>,
    /// The index of the service of its span.
    pub(super) service: Option<u16>,
}

#[derive(Debug, Clone)]
pub(super) enum Row {
    Span(Box<SpanRow>),
    Line(LineItem),
    /// It is rendered, and no longer needed.
    Sent,
}

/// A part of a list.
#[derive(Debug)]
pub(super) struct Window<T> {
    pub(super) items: Vec<T>,
    /// The number of items before it.
    pub(super) first: usize,
    pub(super) total: usize,
}

impl<T> Window<T> {
    pub(super) fn end(&self) -> usize {
        self.first + self.items.len()
    }
}
