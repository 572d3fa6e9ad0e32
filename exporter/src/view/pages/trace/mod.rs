//! One trace: the waterfall of its spans, and the log lines of all services by time.
//!
//! ```text
//!  open ──► heading ──► spans: rows of the waterfall, each with its detail ──► lines, each with its line_text
//! ```

mod detail;
mod heading;
mod line_text;
mod lines;
mod spans;

use std::collections::{HashMap, HashSet};

use logtracer_core::{SpanId, TraceId};

use super::layout::{self, Refresh, Section};
use super::palette::Palette;
use crate::store::{LineKey, LineMark, ServiceNames, Snapshot, SpanKey, TraceSeq, TraceSummary};
use crate::view::bounded::Allowance;
use crate::view::respond::{PIECE_BYTES, Pieces, Progress};
use crate::view::waterfall::{Row, rows};

/// The limit of spans and of lines, so that browsers stay responsive. There is a link to more.
const MAX_ROWS: usize = 3000;

/// The size of the details of all spans, and of all lines. Further spans and lines have a link instead.
const MAX_DETAIL_BYTES: usize = 8 << 20;

/// The maximum number of marks of log lines on one bar.
const MAX_MARKS: usize = 40;

/// The state of the page while it is sent.
pub(super) struct TracePage {
    seq: TraceSeq,
    summary: TraceSummary,
    now: u64,
    palette: Palette,
    names: ServiceNames,
    /// The span whose details are open.
    open: Option<SpanId>,
    /// The number of spans before the first one on the page.
    spans_before: u64,
    rows: Vec<Row>,
    shown: HashSet<SpanId>,
    next_span: Option<SpanKey>,
    marks: HashMap<SpanId, Vec<LineMark>>,
    /// The rows of the table `origin` of the stored spans that lines belong to, or that are parents of shown ones.
    origins: HashMap<SpanId, i64>,
    /// The emitter of the last span with details.
    emitter: Option<(i64, detail::Emitter)>,
    details: Allowance,
    line_bytes: Allowance,
    part: Part,
    row: usize,
    /// The line before the next one.
    after: Option<LineKey>,
    begins_after_first_line: bool,
    lines: usize,
}

/// What the next piece begins with.
#[derive(Debug, Clone, Copy)]
enum Part {
    Heading,
    Spans,
    Lines,
    End,
}

/// Where a page begins, and what is open on it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Place {
    pub(super) open: Option<SpanId>,
    pub(super) first_span: Option<SpanKey>,
    pub(super) first_line: Option<LineKey>,
}

impl TracePage {
    /// Returns `None` if nothing of the trace is stored.
    pub(super) fn open(
        snapshot: &Snapshot<'_>,
        trace_id: TraceId,
        place: Place,
        now: u64,
    ) -> rusqlite::Result<Option<Self>> {
        let Some((seq, summary)) = snapshot.trace(trace_id)? else { return Ok(None) };
        let mut first_span = place.first_span;
        let mut keys = snapshot.span_keys(seq, first_span, MAX_ROWS + 1)?;
        // A span that is to be open is on the page.
        if let Some(open) = place.open
            && keys.len() > MAX_ROWS
            && !keys.iter().take(MAX_ROWS).any(|key| key.span_id == open)
            && let Some(key) = snapshot.span_key(seq, open)?
        {
            first_span = Some(key);
            keys = snapshot.span_keys(seq, first_span, MAX_ROWS + 1)?;
        }
        let next_span = keys.get(MAX_ROWS).copied();
        keys.truncate(MAX_ROWS);
        let mut names = ServiceNames::default();
        let mut nodes = Vec::with_capacity(keys.len());
        for key in &keys {
            nodes.extend(snapshot.span_node(seq, key.span_id, &mut names)?);
        }
        let after = place.first_line.map(LineKey::before);
        let mut marks: HashMap<SpanId, Vec<LineMark>> = HashMap::new();
        for mark in snapshot.line_marks(seq, after, MAX_ROWS)? {
            let of_span = marks.entry(mark.span_id).or_default();
            if of_span.len() < MAX_MARKS {
                of_span.push(mark);
            }
        }
        let parents = nodes.iter().filter_map(|node| node.parent);
        let wanted = parents.chain(marks.keys().copied()).collect();
        Ok(Some(Self {
            origins: snapshot.origins_of(seq, &wanted)?,
            palette: Palette::of_trace(summary.service_names.iter().map(String::as_str)),
            now,
            names,
            open: place.open,
            spans_before: first_span.map_or(Ok(0), |key| snapshot.spans_before(seq, key))?,
            rows: rows(&nodes),
            shown: nodes.iter().map(|node| node.span_id).collect(),
            next_span,
            marks,
            emitter: None,
            details: Allowance::new(MAX_DETAIL_BYTES),
            line_bytes: Allowance::new(MAX_DETAIL_BYTES),
            part: Part::Heading,
            row: 0,
            after,
            begins_after_first_line: after.is_some(),
            lines: 0,
            seq,
            summary,
        }))
    }

    fn title(&self) -> &str {
        match self.summary.root_name.as_str() {
            "" => "Unnamed trace",
            name => name,
        }
    }
}

impl Pieces for TracePage {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> rusqlite::Result<Progress> {
        while out.len() < PIECE_BYTES {
            match self.part {
                Part::Heading => {
                    let (head, _) = layout::frame(self.title(), Section::Traces, Refresh::No);
                    out.extend_from_slice(head.as_bytes());
                    out.extend_from_slice(self.heading().into_string().as_bytes());
                    out.extend_from_slice(b"<div class=\"trace\">");
                    self.part = Part::Spans;
                }
                Part::Spans => {
                    if self.spans(snapshot, out)? {
                        self.part = Part::Lines;
                    }
                }
                Part::Lines => {
                    if self.lines(snapshot, out)? {
                        self.part = Part::End;
                    }
                }
                Part::End => {
                    let (_, end) = layout::frame(self.title(), Section::Traces, Refresh::No);
                    out.extend_from_slice(b"</div>");
                    out.extend_from_slice(end.as_bytes());
                    return Ok(Progress::Complete);
                }
            }
        }
        Ok(Progress::More)
    }
}
