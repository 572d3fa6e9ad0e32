//! The rows of spans: the name in the tree, the bar on the axis, and the duration.

use maud::{Markup, PreEscaped, html};

use super::TracePage;
use super::hits::target;
use super::marks::Mark;
use super::row::{Above, Fold, Parent, SpanRow};
use super::value::service_title;
use crate::otlp::arrival::TIME_SOURCE;
use crate::otlp::in_place::{AnyRef, SpanRef};
use crate::store::{ReadResult, Snapshot};
use crate::view::format::{count, duration, rfc3339};
use crate::view::pages::brief::Brief;
use crate::view::tree::{Level, Node};
use crate::view::visible::{self, Breaks};

/// The stylesheet has the classes `d1` to `d24`. Deeper rows have the number of their level.
pub(super) const MAX_INDENT: u32 = 24;

/// The size of a name, and the characters of a tooltip.
const NAME_BYTES: usize = 400;
const TITLE_CHARS: usize = 200;

/// The size of the elements of a mark, and of a part of the critical path.
const MARK_BYTES: usize = 240;
const SEGMENT_BYTES: usize = 24;

impl TracePage {
    /// Renders the row of a span. A span that was evicted meanwhile has none.
    pub(super) fn span_row(&mut self, snapshot: &Snapshot<'_>, row: &SpanRow) -> ReadResult<Markup> {
        let id = row.node.id;
        let found = snapshot.span(self.opened.seq, id, |stored| {
            let service = self.names.of_origin(snapshot, stored.origin)?;
            let name = visible::line(stored.span.name, NAME_BYTES);
            let title = visible::plain(stored.span.name, Breaks::Show, TITLE_CHARS);
            let (start, end) = (stored.span.start_time_unix_nano, stored.span.end_time_unix_nano);
            let length = (end < start, stored.span.duration_nano());
            let wrong = (wrong_time(&row.node, start, end), missing_time(&stored.span));
            Ok((service, name, title, length, wrong))
        })?;
        let Some((service, name, title, (ends_early, length), (wrong_time, missing_time))) = found else {
            return Ok(html! {});
        };
        let marks = self.marks(snapshot, &row.marks)?;
        let is_open = self.state.span == Some(id);
        let class = self.palette.class(&service);
        let indent = format!("d{}", row.depth.min(MAX_INDENT));
        let is_folded = matches!(row.fold, Fold::Collapsed { .. });
        let markup = html! {
            div.row.span.(class).(indent).failed[row.node.is_failed].match[row.node.is_match].open[is_open] id={ "s-" (id) } role="row" aria-level=(row.depth + 1) data-parent=[row.above.map(|above| self.above(above))] aria-expanded=[(row.fold != Fold::Nothing).then_some(if is_folded { "false" } else { "true" })] {
                div.name role="gridcell" {
                    (self.fold(row, &title))
                    i.dot {}
                    @if row.depth > MAX_INDENT { span.level title="Level in the tree" { (row.depth + 1) } }
                    @if row.node.is_failed { (error_glyph()) }
                    a.text href={ (self.href(id, is_open)) "#s-" (id) } title=(title) aria-expanded=(if is_open { "true" } else { "false" }) { bdi { @if name.0.is_empty() { "(no name)" } @else { (name) } } }
                    (parent(row.parent, &self.state))
                    @if let Fold::Collapsed { rows, error, found } = row.fold {
                        span.hidden-rows data-error=[error.map(|hit| target(&self.state, hit))] data-found=[found.map(|hit| target(&self.state, hit))] { "+" (rows) }
                    }
                    @if let Some((what, time)) = &wrong_time { span.badge.warn title={ "The " (what) " is " (time) ", so the clock was wrong" } { (time.get(..10).unwrap_or_default()) } }
                    @if let Some((badge, what)) = missing_time { span.badge.warn title=(what) { (badge) } }
                    @if ends_early { span.badge.warn title="The end is before the start" { "no duration" } }
                    span.from title=(service_title(&service)) { bdi { (visible::line(&service, 600)) } }
                }
                div.lane role="gridcell" { (self.bar(row, &marks)) }
                div.length role="gridcell" title={ "Self time " (duration(row.self_time)) } { (duration(length)) }
            }
        };
        Ok(markup)
    }

    /// Returns the address that opens the details of a span, or closes them.
    fn href(&self, id: logtracer_core::SpanId, is_open: bool) -> String {
        self.state.opening((!is_open).then_some(id), None)
    }

    /// Returns the address of the row above one, which is on an earlier page.
    pub(super) fn above(&self, above: Above) -> String {
        let first = Some(above.first).filter(|first| *first > 0);
        let page = self.state.with(|state| (state.row, state.span, state.line) = (first, None, None));
        format!("{page}#s-{}", above.span)
    }

    fn fold(&self, row: &SpanRow, title: &str) -> Markup {
        let id = row.node.id;
        let (verb, symbol) = match row.fold {
            Fold::Nothing => return html! { span.fold {} },
            Fold::Open => ("Collapse", "▾"),
            Fold::Collapsed { .. } => ("Expand", "▸"),
        };
        let href = self.state.with(|state| {
            let before = state.collapse.len();
            state.collapse.retain(|collapsed| *collapsed != id);
            if state.collapse.len() == before {
                state.collapse.push(id);
                let excess = state.collapse.len().saturating_sub(super::state::MAX_COLLAPSED);
                state.collapse.drain(..excess);
                // A row that is hidden is not open.
                if row.has_open {
                    (state.span, state.line) = (None, None);
                }
            }
        });
        html! { a.fold href={ (href) "#s-" (id) } aria-label={ (verb) " " (title) } title=(verb) { (symbol) } }
    }

    fn bar(&mut self, row: &SpanRow, marks: &[(Mark, String)]) -> Markup {
        let axis = &self.opened.axis;
        let start = axis.fraction(row.node.start);
        let length = (axis.fraction(row.node.end) - start).max(0.002);
        let path = self.critical(row);
        html! {
            svg width="100%" height="24" role=[(!marks.is_empty()).then_some("group")] aria-label=[(!marks.is_empty()).then_some("Log lines")] {
                rect.implausible[!row.node.is_plausible] x=(percent(start.min(0.998))) y="5" width=(percent(length.min(1.))) height="9" rx="2" {}
                (path)
                @for (mark, message) in marks { (self.mark(mark, message)) }
            }
        }
    }

    /// Draws the critical path: in thousandths of the axis, below the bar.
    fn critical(&mut self, row: &SpanRow) -> Markup {
        if row.critical.is_empty() || !self.decorations.spend(row.critical.len() * SEGMENT_BYTES + 120) {
            return html! {};
        }
        let axis = &self.opened.axis;
        let mut path = String::new();
        for (start, end) in &row.critical {
            let (start, end) = (axis.fraction(*start) * 1000., axis.fraction(*end) * 1000.);
            // Cannot fail: a string takes all characters.
            let _ = std::fmt::Write::write_fmt(
                &mut path,
                format_args!("M{start:.1} 0h{:.1}v1H{start:.1}z", (end - start).max(1.5)),
            );
        }
        html! { svg.critical y="15" width="100%" height="2" viewBox="0 0 1000 1" preserveAspectRatio="none" { path d=(path) {} } }
    }

    /// Reads the messages of the marks.
    fn marks(&mut self, snapshot: &Snapshot<'_>, marks: &[Mark]) -> ReadResult<Vec<(Mark, String)>> {
        let mut shown = Vec::new();
        for mark in marks {
            if !self.decorations.spend(MARK_BYTES) {
                break;
            }
            let message = snapshot.line_at(self.opened.seq, mark.key, |row| {
                Brief::read(snapshot, self.opened.summary.trace_id, &row, None)
            })?;
            let message = message
                .map(|brief| visible::plain(&brief.message, Breaks::Show, TITLE_CHARS))
                .unwrap_or_default();
            self.decorations.spend(message.len());
            shown.push((*mark, message));
        }
        Ok(shown)
    }

    fn mark(&self, mark: &Mark, message: &str) -> Markup {
        let (class, shape) = match mark.level {
            Level::Error => ("loud", "M0 -5 5 0 0 5 -5 0z"),
            Level::Warning => ("warn", "M0 -4.5 4.5 3.5H-4.5z"),
            Level::Plain if mark.lines > 1 => ("plain", "M-4 -3H4V3H-4z"),
            Level::Plain => ("plain", "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z"),
        };
        let title = match mark.lines {
            1 => message.to_owned(),
            lines => format!("{}: {message}", count(lines.into(), "line")),
        };
        // Lines among the spans have links of their own.
        let tab = (self.state.lines == super::state::Lines::Interleaved).then_some("-1");
        html! {
            a.mark.(class) href={ (self.state.opening(None, Some(mark.key))) "#l-" (mark.key) } aria-label=(title) tabindex=[tab] {
                title { (title) }
                svg x=(percent(self.opened.axis.fraction(mark.time))) y="18" overflow="visible" { path d=(shape) {} }
            }
        }
    }
}

/// Returns which time of a span cannot be right, and the time.
fn wrong_time(node: &Node, start: u64, end: u64) -> Option<(&'static str, String)> {
    if node.is_plausible {
        return None;
    }
    Some(if node.has_wrong_start { ("start", rfc3339(start)) } else { ("end", rfc3339(end)) })
}

/// Returns which times of a span are made up, because it was sent without them.
fn missing_time(span: &SpanRef<'_>) -> Option<(&'static str, &'static str)> {
    let is_source = |(key, _): &(&str, AnyRef<'_>)| *key == TIME_SOURCE;
    match span.attributes().iter().find(is_source)?.1 {
        AnyRef::Text("arrival") => {
            Some(("no times", "It was sent without times: these are those of its arrival"))
        }
        AnyRef::Text("start") => Some(("no end", "It was sent without an end: this is its start")),
        AnyRef::Text("end") => Some(("no start", "It was sent without a start: this is its end")),
        _ => None,
    }
}

fn percent(fraction: f64) -> String {
    format!("{:.2}%", fraction * 100.)
}

/// Draws a cross, so that errors have a shape as well as a colour.
pub(super) fn error_glyph() -> Markup {
    PreEscaped(r#"<svg class="error" width="12" height="12" viewBox="0 0 12 12" role="img" aria-label="Error"><circle cx="6" cy="6" r="6"></circle><path d="M3.5 3.5 8.5 8.5M8.5 3.5 3.5 8.5"></path></svg>"#.to_owned())
}

fn parent(parent: Parent, state: &super::state::State) -> Markup {
    html! {
        @match parent {
            Parent::Fine => {}
            Parent::Outside(id) => { span.outside title={ "The caller's span " (id) " is not stored: the caller is outside of what is traced here" } { "called from outside" } }
            Parent::Missing(id) => { span.badge.warn title={ "The parent " (id) " is not stored: it was not sampled, was dropped or evicted, or has not arrived yet" } { "no parent" } }
            Parent::Circle => { span.badge.warn title="The parents of this span lead back to it" { "circle of parents" } }
            Parent::NotShown(id) => { a.badge.warn href={ (state.opening(Some(id), None)) "#s-" (id) } title={ "The parent " (id) " is stored, but this trace is too long for a tree of all of its spans" } { "parent not shown" } }
        }
    }
}
