//! The details of a log line: its members, one below the other.

use logtracer_core::{SpanId, TraceId};
use maud::{Markup, html};

use super::line_text::LineText;
use super::state::State;
use super::value::{Value, Whole, copy};
use crate::otlp::in_place::RecordRef;
use crate::store::{LineContent, LineRow, ReadResult, Snapshot, convert_record};
use crate::view::api;
use crate::view::bounded::Allowance;
use crate::view::pages::time;
use crate::view::visible::{self, Breaks};

/// The size of the details of a line, and of one of its values.
const MAX_BYTES: usize = 32 << 10;
const MAX_LINE_BYTES: usize = 16 << 10;
const MAX_VALUE_BYTES: usize = 8 << 10;

/// A line, and what its details show of its trace.
pub(super) struct LineDetail<'a> {
    pub(super) trace_id: TraceId,
    /// The project of Google Cloud, if the trace names it.
    pub(super) project: Option<&'a str>,
    pub(super) state: &'a State,
}

impl LineDetail<'_> {
    pub(super) fn render(&self, snapshot: &Snapshot<'_>, row: &LineRow<'_>) -> ReadResult<Markup> {
        let is_stored = |id: SpanId, snapshot: &Snapshot<'_>| -> ReadResult<bool> {
            Ok(match snapshot.trace(self.trace_id)? {
                Some((seq, _)) => snapshot.span_origin(seq, id)?.is_some(),
                None => false,
            })
        };
        let span = match row.span_id {
            Some(id) => Some((id, is_stored(id, snapshot)?)),
            None => None,
        };
        Ok(match row.content {
            LineContent::File { severity, message, line } => {
                self.texts(row, span, (severity, message, line), false)
            }
            LineContent::Record { body, origin } => {
                let converted = snapshot.emitter(origin, |emitter| {
                    let service = emitter.service_name();
                    let names = (&*service, emitter.scope.name);
                    convert_record(&RecordRef::new(body), Some(self.trace_id), names, MAX_LINE_BYTES)
                })?;
                match converted {
                    Some(line) => {
                        self.texts(row, span, (line.severity, &line.message, &line.line), line.is_cut)
                    }
                    None => html! {},
                }
            }
        })
    }

    fn texts(
        &self,
        row: &LineRow<'_>,
        span: Option<(SpanId, bool)>,
        (severity, message, line): (&str, &str, &str),
        is_cut: bool,
    ) -> Markup {
        let whole = api::line_path(self.trace_id, row.key);
        let (members, has_all) = members(line, &whole, MAX_BYTES);
        let is_cut = is_cut || !has_all;
        html! {
            h2 { bdi { (visible::line(message.trim_end(), 600)) } }
            @if is_cut { p.notice { "Only a part of this line is shown. " a href=(whole) { "The whole line" } "." } }
            dl.facts {
                div { dt { "Time" } dd { (time::full(row.time_unix_nano())) } }
                div { dt { "Severity" } dd { (visible::line(severity, 200)) } }
                @match span {
                    Some((id, true)) => { div { dt { "Span" } dd.mono { a href={ (self.state.opening(Some(id), None)) "#s-" (id) } { (id) } } } }
                    Some((id, false)) => { div { dt { "Span" } dd { span.mono { (id) } span.muted { " is not stored: it was not sampled, was dropped or evicted, or has not arrived yet" } } } }
                    None => {}
                }
            }
            p.actions {
                a.button href=(whole) { "Stored line" }
                (copy("query for the Logs Explorer", Some(&logs_explorer_query(self.project, self.trace_id))))
            }
            (members)
        }
    }
}

/// Renders the members of a line, and returns whether they are all. `whole` is the address of the whole line.
pub(in crate::view::pages) fn members(line: &str, whole: &str, max_bytes: usize) -> (Markup, bool) {
    let text = LineText::new(line, MAX_LINE_BYTES.min(max_bytes));
    let mut allowance = Allowance::new(max_bytes);
    let mut has_all = !text.is_cut;
    let mut members = Vec::new();
    for (name, value) in &text.members {
        let max_bytes = MAX_VALUE_BYTES.min(allowance.left());
        let value = Value {
            key: name,
            text: value,
            is_all: true,
            whole: Some(Whole::Line(whole.to_owned())),
            filter: None,
        };
        let (markup, is_all) = value.render(max_bytes);
        let (name, _) = visible::text(name, Breaks::Show, 1024.min(allowance.left()));
        has_all &= is_all;
        allowance.spend(markup.0.len() + name.0.len() + 64);
        members.push((name, markup));
    }
    let table = html! {
        table.attributes {
            @for (name, value) in &members {
                tr { th scope="row" { bdi { (name) } } td { (value) } }
            }
        }
    };
    (table, has_all)
}

/// Returns the query of Google's Logs Explorer for the lines of a trace.
pub(super) fn logs_explorer_query(project: Option<&str>, trace_id: TraceId) -> String {
    let is_name = |project: &&str| {
        project.len() <= 64
            && project.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.'))
    };
    match project.filter(is_name) {
        Some(project) => format!("trace=\"projects/{project}/traces/{trace_id}\""),
        None => format!("trace=~\"{trace_id}$\""),
    }
}
