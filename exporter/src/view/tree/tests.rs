//! Tests of the tree and of what is computed from it, as tables.

use super::skew::needed_shift;
use super::*;
use crate::otlp::shared_span::server_span_id;

/// A span: id, parent, start, end, and the number of the service.
type Span = (u64, u64, i64, i64, u16);

fn tree(spans: &[Span]) -> Tree {
    tree_with_lines(spans, &[])
}

/// Returns a tree with lines, given as time and span.
fn tree_with_lines(spans: &[Span], lines: &[(i64, u64)]) -> Tree {
    let node = |(id, parent, start, end, service): &Span| {
        Node::new(SpanId::new(*id).unwrap(), SpanId::new(*parent), *start, *end, *service)
    };
    let mut nodes: Vec<Node> = spans.iter().map(node).collect();
    nodes.sort_by_key(|node| node.id.get().cast_signed());
    let line = |(time, span): &(i64, u64)| {
        let key = format!("{time}-1").parse().unwrap();
        let node = LineNode::new(key, Level::Plain);
        (node, SpanId::new(*span))
    };
    Tree::new(nodes, lines.iter().map(line).collect())
}

/// Returns the rows as (id of a span or negative time of a line, depth).
fn shown(tree: &Tree, filter: &Filter<'_>) -> Vec<(i64, u32)> {
    let row = |placed: &Placed| match placed.entry {
        Entry::Span(span) => (tree.spans[span].id.get().cast_signed(), placed.depth),
        Entry::Line(line) => (-tree.lines[line].time, placed.depth),
    };
    tree.rows(filter).iter().map(row).collect()
}

const ALL: Filter<'static> = Filter { subtree: None, is_shown: None, has_lines: true, collapsed: &[] };

/// Checks the rows, given as (id, depth, is parent missing), of spans, given as (id, parent) by start time.
#[track_caller]
fn check(spans: &[(u64, u64)], expected: &[(i64, u32, bool)]) {
    let spans: Vec<Span> =
        spans.iter().zip(0..).map(|((id, parent), start)| (*id, *parent, start, start + 1, 0)).collect();
    let tree = tree(&spans);
    let missing = |id: i64| {
        let index = tree.index(SpanId::new(id.cast_unsigned()).unwrap()).unwrap();
        tree.spans[index].missing_parent().is_some()
    };
    let got: Vec<_> = shown(&tree, &ALL).into_iter().map(|(id, depth)| (id, depth, missing(id))).collect();
    assert_eq!(got, expected);
}

#[test]
fn children_are_below_their_parents() {
    check(&[(1, 0), (2, 1), (3, 1), (4, 2)], &[(1, 0, false), (2, 1, false), (4, 2, false), (3, 1, false)]);
    check(&[(4, 0), (3, 4), (2, 4)], &[(4, 0, false), (3, 1, false), (2, 1, false)]);
}

#[test]
fn a_missing_parent_is_marked() {
    check(&[(1, 0), (2, 9), (3, 2)], &[(1, 0, false), (2, 0, true), (3, 1, false)]);
}

#[test]
fn circles_are_drawn_once() {
    check(&[(1, 1), (2, 3), (3, 2)], &[(1, 0, true), (2, 0, true), (3, 1, false)]);
    // The earliest span of the circle is its root, and not a span below it.
    check(&[(5, 3), (2, 3), (3, 2)], &[(2, 0, true), (3, 1, false), (5, 2, false)]);
}

#[test]
fn deep_traces_do_not_overflow() {
    let spans: Vec<Span> = (1..=100_000_u64).map(|id| (id, id - 1, id.cast_signed(), 200_000, 0)).collect();
    let tree = tree(&spans);
    assert_eq!(tree.rows(&ALL).last().map(|row| row.depth), Some(99_999));
    assert_eq!(tree.critical_path(0).len(), 100_000);
    assert_eq!(tree.rows_below(0, &ALL).len(), 99_999);
    assert!(size_of::<Node>() <= 48 && size_of::<LineNode>() <= 32);
}

#[test]
fn lines_are_among_the_children_by_time() {
    let tree = tree_with_lines(
        &[(1, 0, 0, 100, 0), (2, 1, 10, 20, 1), (3, 1, 30, 40, 0)],
        &[(5, 1), (15, 2), (25, 1), (50, 9), (60, 0)],
    );
    let rows = [(1, 0), (-5, 1), (2, 1), (-15, 2), (-25, 1), (3, 1), (-50, 0), (-60, 0)];
    assert_eq!(shown(&tree, &ALL), rows);
    for (filter, expected) in [
        (Filter { has_lines: false, ..Filter::default() }, &[(1, 0), (2, 1), (3, 1)][..]),
        (Filter { subtree: tree.index(SpanId::new(2).unwrap()), ..ALL }, &[(2, 0), (-15, 1)]),
        (Filter { is_shown: Some(&|span| tree.spans[span].service == 1), ..ALL }, &[(2, 0), (-15, 1)]),
        (Filter { collapsed: &[0], ..ALL }, &[(1, 0), (-50, 0), (-60, 0)]),
    ] {
        assert_eq!(shown(&tree, &filter), expected);
    }
    // What is collapsed is counted as the filter shows it.
    let of_service = |span: usize| tree.spans[span].service == 0;
    for (filter, expected) in [
        (ALL, 5),
        (Filter { collapsed: &[0, 1], ..ALL }, 5),
        (Filter { has_lines: false, ..ALL }, 2),
        (Filter { is_shown: Some(&of_service), ..ALL }, 3),
    ] {
        assert_eq!(tree.rows_below(0, &filter).len(), expected);
    }
}

#[test]
fn a_shared_id_is_the_servers_for_what_it_calls() {
    let server = server_span_id(SpanId::new(2).unwrap()).get();
    let tree = tree(&[(2, 1, 0, 9, 0), (server, 2, 1, 8, 1), (3, 2, 2, 3, 1), (4, 2, 4, 5, 0)]);
    let parent = |id| tree.spans[tree.index(SpanId::new(id).unwrap()).unwrap()].parent_id.unwrap().get();
    assert_eq!((parent(3), parent(4), parent(server)), (server, 2, 2));
}

#[test]
fn self_time_is_what_no_child_covers() {
    for (children, expected) in [
        (&[][..], 100),
        (&[(10, 20), (30, 40)], 80),
        (&[(10, 40), (20, 30), (35, 50)], 60),
        (&[(-50, 10), (90, 200)], 80),
        (&[(0, 100)], 0),
        (&[(200, 300)], 100),
    ] {
        let mut spans = vec![(1, 0, 0, 100, 0)];
        spans.extend((2..).zip(children).map(|(id, (start, end))| (id, 1, *start, *end, 0)));
        assert_eq!(tree(&spans).self_time(0), expected, "{children:?}");
    }
}

#[test]
fn the_critical_path_goes_through_the_child_that_ends_last() {
    for (spans, expected) in [
        // One after the other, with gaps in the parent.
        (
            &[(1, 0, 0, 100, 0), (2, 1, 10, 40, 0), (3, 1, 50, 90, 0)][..],
            &[(1, 0, 10), (1, 40, 50), (1, 90, 100), (2, 10, 40), (3, 50, 90)][..],
        ),
        // At the same time: the one that ends earlier does not count.
        (
            &[(1, 0, 0, 100, 0), (2, 1, 10, 40, 0), (3, 1, 20, 90, 0)],
            &[(1, 0, 20), (1, 90, 100), (3, 20, 90)],
        ),
        // What a child does after its parent ends does not count.
        (&[(1, 0, 0, 100, 0), (2, 1, 50, 300, 0)], &[(1, 0, 50), (2, 50, 100)]),
        (&[(1, 0, 0, 100, 0), (2, 1, 150, 300, 0)], &[(1, 0, 100)]),
        // Deeper.
        (&[(1, 0, 0, 9, 0), (2, 1, 0, 9, 0), (3, 2, 4, 9, 0)], &[(2, 0, 4), (3, 4, 9)]),
    ] {
        let tree = tree(spans);
        let path = tree.critical_path(0);
        let got: Vec<_> =
            path.iter().map(|part| (tree.spans[part.span].id.get(), part.start, part.end)).collect();
        assert_eq!(got, expected, "{spans:?}");
        let total: i64 = path.iter().map(|part| part.end - part.start).sum();
        assert_eq!(total.cast_unsigned(), tree.spans[0].duration());
    }
}

#[test]
fn an_implausible_span_takes_neither_the_critical_path_nor_self_time() {
    const NOW: i64 = 1_700_000_000_000_000_000;
    for (children, path, self_time) in [
        (&[(NOW, i64::MAX), (NOW + 10, NOW + 40)][..], &[(1, 0, 10), (1, 40, 100), (3, 10, 40)][..], 70),
        (&[(5, NOW + 50), (NOW + 10, NOW + 40)], &[(1, 0, 10), (1, 40, 100), (3, 10, 40)], 70),
    ] {
        let mut nodes = vec![Node::new(SpanId::new(1).unwrap(), None, NOW, NOW + 100, 0)];
        nodes.extend(
            (2..).zip(children).map(|(id, (start, end))| {
                Node::new(SpanId::new(id).unwrap(), SpanId::new(1), *start, *end, 0)
            }),
        );
        let nodes = nodes.into_iter().map(|node| node.checked(NOW.unsigned_abs())).collect();
        let tree = Tree::new(nodes, Vec::new());
        let got: Vec<_> = tree
            .critical_path(0)
            .iter()
            .map(|part| (tree.spans[part.span].id.get(), part.start - NOW, part.end - NOW))
            .collect();
        assert_eq!((&*got, tree.self_time(0)), (path, self_time), "{children:?}");
    }
    // Spans with the same wrong clock are compared with each other.
    let node = |id, parent, start, end| {
        Node::new(SpanId::new(id).unwrap(), SpanId::new(parent), start, end, 0).checked(NOW.unsigned_abs())
    };
    let tree = Tree::new(vec![node(1, 0, 0, 100), node(2, 1, 10, 90)], Vec::new());
    assert_eq!((tree.critical_path(0).len(), tree.self_time(0)), (3, 20));
}

#[test]
fn a_call_outside_of_its_caller_is_moved_into_it() {
    for (caller, call, expected) in [
        ((0, 100), (10, 90), 0),
        ((0, 100), (-40, 20), 60),
        ((0, 100), (80, 140), -60),
        ((0, 100), (50, 350), 0),
        ((0, 100), (-50, 350), 50),
        ((i64::MIN, i64::MAX), (0, 1), 0),
    ] {
        assert_eq!(needed_shift(caller, call), expected, "{caller:?} {call:?}");
    }
}

#[test]
fn clocks_are_compared_with_those_of_the_callers() {
    const S: i64 = 1_000_000_000;
    for (spans, expected) in [
        // The second service is ahead by five seconds, and calls one with the clock of the first.
        (
            &[(1, 0, 0, 10 * S, 0), (2, 1, 9 * S, 11 * S, 1), (3, 2, 4 * S + S / 2, 5 * S + S / 2, 2)][..],
            &[0, -5 * S, 0][..],
        ),
        // A third one that shares the wrong clock moves with it.
        (&[(1, 0, 0, 10 * S, 0), (2, 1, 9 * S, 11 * S, 1), (3, 2, 9 * S, 10 * S, 2)], &[0, -5 * S, -5 * S]),
        // Most calls are within their caller, so one that ends later is work that goes on.
        (
            &[(1, 0, 0, 10 * S, 0), (2, 1, S, 2 * S, 1), (3, 1, 2 * S, 3 * S, 1), (4, 1, 9 * S, 12 * S, 1)],
            &[0, 0, 0],
        ),
        // Of two calls, the one with the smaller difference.
        (&[(1, 0, 0, 10 * S, 0), (2, 1, S, 2 * S, 1), (3, 1, 9 * S, 12 * S, 1)], &[0, 0, 0]),
        (&[(1, 0, 0, 10 * S, 0), (2, 1, -4 * S, -3 * S, 1), (3, 1, S, 2 * S, 1)], &[0, 0, 0]),
        // Less than what a response takes to be flushed.
        (&[(1, 0, 0, S, 0), (2, 1, 10, S + 50_000, 1)], &[0, 0, 0]),
        (&[(2, 9, 0, S, 1), (1, 0, 0, S, 0)], &[0, 0, 0]),
    ] {
        assert_eq!(tree(spans).clock_offsets(3), expected, "{spans:?}");
    }
}

#[test]
fn messages_say_nothing_of_clocks() {
    const S: i64 = 1_000_000_000;
    let node = |id: u64, parent: u64, start: i64, service: u16, role: Role| Node {
        role,
        ..Node::new(SpanId::new(id).unwrap(), SpanId::new(parent), start, start + S, service)
    };
    for (caller, call, expected) in [
        (Role::Producer, Role::Consumer, 0),
        (Role::Other, Role::Consumer, 0),
        (Role::Producer, Role::Other, 0),
        (Role::Other, Role::Server, -60 * S),
    ] {
        let nodes = vec![node(1, 0, 0, 0, caller), node(2, 1, 60 * S, 1, call)];
        let offsets = Tree::new(nodes, Vec::new()).clock_offsets(2);
        assert_eq!(offsets, [0, expected], "{caller:?} {call:?}");
    }
}

#[test]
fn aligned_spans_take_their_lines_along() {
    let mut tree = tree_with_lines(&[(1, 0, 0, 10, 0), (2, 1, 50, 55, 1)], &[(52, 2), (3, 1)]);
    tree.shift(&[0, -48], 0);
    assert_eq!(shown(&tree, &ALL), [(1, 0), (2, 1), (-4, 2), (-3, 1)]);
    assert_eq!((tree.spans[1].start, tree.spans[1].end), (2, 7));
}
