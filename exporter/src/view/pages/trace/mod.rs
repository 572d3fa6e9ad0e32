//! One trace: the tree of its spans with the log lines between them or after them, and the details of one of them.
//!
//! ```text
//!  state (the address) ──► open: the tree, and the window of rows ──► heading, toolbar
//!                                                              ──► rows, line_rows (marks) ──► detail, line_detail
//! ```
//!
//! A page has a window of [`open::WINDOW`] rows and the details of one row. The script takes further rows and details
//! from the same addresses that the links have.

mod axis;
mod detail;
mod found;
mod handlers;
mod heading;
mod hits;
mod indent;
mod line_detail;
mod line_rows;
mod line_text;
mod marks;
mod open;
mod row;
mod rows;
mod shown;
mod state;
mod toolbar;
mod value;

use logtracer_core::TraceId;
use maud::{Markup, html};

use super::brief::Brief;
use super::layout::{self, Refresh, Section};
use super::palette::Palette;
use crate::store::{LineKey, ReadResult, ServiceNames, Snapshot};
use crate::view::bounded::Allowance;
use crate::view::format::duration;
use crate::view::respond::{PIECE_BYTES, Pieces, Progress};
use detail::Detail;
pub(in crate::view) use handlers::{line, span, trace};
use heading::Root;
use line_detail::LineDetail;
pub(super) use line_detail::members;
use open::Opened;
use row::Row;
use state::State;
pub(super) use value::copy;

/// What the marks and the critical path of a page may take.
const MAX_DECORATION_BYTES: usize = 256 << 10;

/// The state of the page while it is sent.
struct TracePage {
    state: State,
    opened: Opened,
    root: Root,
    palette: Palette,
    names: ServiceNames,
    decorations: Allowance,
    /// The row whose details are open is on the page.
    has_open_row: bool,
    part: Part,
    /// The number of rows of this part that are sent.
    sent: usize,
}

/// What the next piece begins with.
#[derive(Debug, Clone, Copy)]
enum Part {
    Heading,
    Rows,
    Lines,
    End,
}

impl TracePage {
    /// Returns `None` if nothing of the trace is stored.
    fn open(
        snapshot: &Snapshot<'_>,
        trace_id: TraceId,
        mut state: State,
        now: u64,
    ) -> ReadResult<Option<Self>> {
        let Some(opened) = open::open(snapshot, trace_id, &mut state, now)? else { return Ok(None) };
        let mut root = Root::read(snapshot, &opened)?;
        let is_open_line = |key: LineKey| state.span.is_none() && state.line == Some(key);
        let has_open_row = opened.rows.items.iter().any(|row| match row {
            Row::Span(row) => state.span == Some(row.node.id),
            Row::Line(item) => is_open_line(item.node.key),
            Row::Sent => false,
        });
        let has_open_row = has_open_row || opened.lines.items.iter().any(|item| is_open_line(item.node.key));
        let names = opened.summary.service_names.iter().map(String::as_str);
        let palette = Palette::of_trace(names);
        if opened.summary.span_count == 0
            && let Some(first) = Brief::first(snapshot, trace_id)?
        {
            root = Root::of_line(&first);
        }
        Ok(Some(Self {
            root,
            palette,
            names: ServiceNames::default(),
            decorations: Allowance::new(MAX_DECORATION_BYTES),
            has_open_row,
            part: Part::Heading,
            sent: 0,
            state,
            opened,
        }))
    }

    fn title(&self) -> &str {
        &self.root.name
    }

    fn before_rows(&self) -> Markup {
        let axis = &self.opened.axis;
        let total = axis.duration();
        html! {
            link rel="stylesheet" href="/assets/trace.css";
            @for name in ["trace-rows", "trace", "trace-live"] { script src={ "/assets/" (name) ".js" } defer {} }
            (self.heading())
            (self.toolbar())
            (self.notices())
            (maud::PreEscaped(r#"<div class="trace"><section class="card spans" aria-label="Spans and log lines">"#))
            (self.rows_before())
            (maud::PreEscaped(self.rows_begin()))
            div.axis role="row" {
                div.label role="columnheader" { "Span" }
                div.ticks role="columnheader" aria-label="Time" { span { "0" } @for quarter in 1..=4_u64 { span { (duration(total / 4 * quarter)) } } }
                div.length role="columnheader" { "Duration" }
            }
            @if let Some(reason) = self.no_rows() { div.row role="row" { div.name role="gridcell" { (reason) } } }
        }
    }

    /// Renders the beginning of the list. The script reads the place of its rows, and what it compares to find new ones.
    fn rows_begin(&self) -> String {
        let (rows, trace) = (&self.opened.rows, &self.opened.summary);
        let collapsed: Vec<String> = self.state.collapse.iter().map(ToString::to_string).collect();
        format!(
            r#"<div class="rows" id="rows" role="treegrid" aria-label="Spans and log lines" data-first="{}" data-items="{}-{}" data-collapse="{}">"#,
            rows.first,
            trace.span_count,
            trace.log_count,
            collapsed.join(",")
        )
    }

    /// Renders the next row, and the details of it if they are open. Returns true after the last one.
    fn next_row(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<bool> {
        let Some(row) = self.opened.rows.items.get_mut(self.sent) else {
            out.extend_from_slice(b"</div>");
            out.extend_from_slice(self.row_links().into_string().as_bytes());
            out.extend_from_slice(b"</section>");
            return Ok(true);
        };
        // A row is rendered once, so what it holds is taken out of the page.
        let row = std::mem::replace(row, Row::Sent);
        self.sent += 1;
        match row {
            Row::Span(row) => {
                let markup = self.span_row(snapshot, &row)?;
                out.extend_from_slice(markup.0.as_bytes());
                if self.state.span == Some(row.node.id) {
                    let detail = Detail {
                        trace_id: self.opened.summary.trace_id,
                        trace_start: self.opened.trace_start,
                        span_id: row.node.id,
                        parent: row.node.parent_id,
                        has_parent: !matches!(row.parent, row::Parent::Missing(_) | row::Parent::Outside(_)),
                        self_time: row.self_time,
                        lines: row.lines.into(),
                        offset: self.opened.offsets.get(usize::from(row.node.service)).copied().unwrap_or(0),
                        state: &self.state,
                    };
                    let found = snapshot.span(self.opened.seq, row.node.id, |stored| {
                        detail.render(snapshot, &stored.span, stored.origin)
                    })?;
                    if let Some(detail) = found {
                        let close = format!("{}#s-{}", self.state.opening(None, None), row.node.id);
                        let service = self.opened.services.get(usize::from(row.node.service));
                        let class = service.map(|service| self.palette.class(service)).unwrap_or_default();
                        out.extend_from_slice(panel(&detail, &close, &class).0.as_bytes());
                    }
                }
            }
            Row::Line(item) => {
                let markup = self.line_row(snapshot, &item)?;
                out.extend_from_slice(markup.0.as_bytes());
                self.line_panel(snapshot, item.node.key, out)?;
            }
            Row::Sent => {}
        }
        Ok(false)
    }

    /// Renders the next line beside the spans. Returns true after the last one.
    fn next_line(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<bool> {
        if self.state.lines != state::Lines::Beside {
            return Ok(true);
        }
        if self.sent == 0 {
            let heading = html! {
                (maud::PreEscaped(r#"<section class="card log" id="log" aria-label="Log lines">"#))
                h2 {
                    "Log lines "
                    @match self.state.of {
                        Some(span) => {
                            span.muted { "of the span " span.mono { (span) } " " }
                            a href={ (self.state.with(|state| { state.of = None; state.first_line = 0; })) "#log" } { "All lines" }
                        }
                        None if self.is_filtered() => { span.muted { "of the spans above, by time" } }
                        None => { span.muted { "of all services, by time" } }
                    }
                }
                (maud::PreEscaped(r#"<div class="rows" role="treegrid" aria-label="Log lines">"#))
                @if self.opened.lines.total == 0 { div.row role="row" { div.name role="gridcell" { "No log lines" } } }
            };
            out.extend_from_slice(heading.0.as_bytes());
        }
        let Some(item) = self.opened.lines.items.get(self.sent).copied() else {
            out.extend_from_slice(b"</div>");
            out.extend_from_slice(self.line_links().0.as_bytes());
            out.extend_from_slice(b"</section>");
            return Ok(true);
        };
        self.sent += 1;
        let markup = self.line_row(snapshot, &item)?;
        out.extend_from_slice(markup.0.as_bytes());
        self.line_panel(snapshot, item.node.key, out)?;
        Ok(false)
    }

    fn line_panel(&self, snapshot: &Snapshot<'_>, key: LineKey, out: &mut Vec<u8>) -> ReadResult<()> {
        if self.state.line != Some(key) || self.state.span.is_some() {
            return Ok(());
        }
        let detail = LineDetail {
            trace_id: self.opened.summary.trace_id,
            project: self.root.project.as_deref(),
            state: &self.state,
        };
        let found = snapshot.line_at(self.opened.seq, key, |row| detail.render(snapshot, &row))?;
        if let Some(detail) = found {
            let close = format!("{}#l-{key}", self.state.opening(None, None));
            out.extend_from_slice(panel(&detail, &close, "").0.as_bytes());
        }
        Ok(())
    }
}

/// Renders details as a row below theirs. On a wide page it is at the side.
fn panel(detail: &Markup, close: &str, class: &str) -> Markup {
    html! {
        div.panel.(class) role="row" {
            div.detail role="gridcell" {
                a.close href=(close) aria-label="Close the details" title="Close (Esc)" { "×" }
                (detail)
            }
        }
    }
}

impl Pieces for TracePage {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        while out.len() < PIECE_BYTES {
            match self.part {
                Part::Heading => {
                    let (head, _) = layout::frame(self.title(), Section::Traces, Refresh::No);
                    out.extend_from_slice(head.as_bytes());
                    out.extend_from_slice(self.before_rows().0.as_bytes());
                    self.part = Part::Rows;
                }
                Part::Rows => {
                    if self.next_row(snapshot, out)? {
                        (self.part, self.sent) = (Part::Lines, 0);
                    }
                }
                Part::Lines => {
                    if self.next_line(snapshot, out)? {
                        self.part = Part::End;
                    }
                }
                Part::End => {
                    let (_, end) = layout::frame(self.title(), Section::Traces, Refresh::No);
                    out.extend_from_slice(b"</div>");
                    out.extend_from_slice(self.help().0.as_bytes());
                    out.extend_from_slice(end.as_bytes());
                    return Ok(Progress::Complete);
                }
            }
        }
        Ok(Progress::More)
    }
}
