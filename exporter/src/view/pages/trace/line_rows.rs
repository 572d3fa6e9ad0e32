//! The rows of log lines: among the spans, or beside them.

use maud::{Markup, html};

use super::TracePage;
use super::row::LineItem;
use super::rows::{MAX_INDENT, error_glyph};
use super::value::{Filter, service_title};
use crate::store::{ReadResult, Snapshot};
use crate::view::format::rfc3339;
use crate::view::pages::brief::{Brief, MESSAGE_BYTES};
use crate::view::tree::Level;
use crate::view::visible;

impl TracePage {
    /// Renders the row of a line. A line that was evicted meanwhile has none.
    pub(super) fn line_row(&mut self, snapshot: &Snapshot<'_>, item: &LineItem) -> ReadResult<Markup> {
        let key = item.node.key;
        let service =
            item.service.and_then(|service| self.opened.services.get(usize::from(service))).cloned();
        let brief = snapshot.line_at(self.opened.seq, key, |row| {
            Brief::read(snapshot, self.opened.summary.trace_id, &row, service.as_deref())
        })?;
        let Some(brief) = brief else { return Ok(html! {}) };
        let is_open = self.state.line == Some(key);
        let class = brief.service.as_deref().map(|service| self.palette.class(service)).unwrap_or_default();
        let href = self.state.opening(None, (!is_open).then_some(key));
        let time = key.time_ns().max(0).cast_unsigned();
        let severity = visible::line(&brief.severity, 60);
        let level = match item.node.level {
            Level::Error => "loud",
            Level::Warning => "warn",
            Level::Plain if matches!(&*brief.severity, "DEBUG" | "TRACE") => "quiet",
            Level::Plain => "plain",
        };
        let indent = format!("d{}", item.depth.min(MAX_INDENT));
        Ok(html! {
            div.row.line.(level).(class).(indent).match[item.node.is_match].open[is_open] id={ "l-" (key) } role="row" aria-level=(item.depth + 1) data-parent=[item.above.map(|above| self.above(above))] {
                div.name role="gridcell" {
                    span.fold {}
                    time title=(rfc3339(time)) { (self.opened.axis.offset(item.node.time)) }
                    @if item.node.level == Level::Error { (error_glyph()) }
                    span.severity { (severity) }
                    @if let Some(service) = &brief.service {
                        span.service title=(service_title(service)) { i {} bdi { (visible::line(service, 400)) } }
                    }
                }
                div.text-cell role="gridcell" {
                    a.message href={ (href) "#l-" (key) } aria-expanded=(if is_open { "true" } else { "false" }) dir="auto" {
                        @if brief.message.is_empty() { "(no message)" } @else { (visible::line(&brief.message, MESSAGE_BYTES)) }
                    }
                }
            }
        })
    }

    /// Renders a service as a link to its traces.
    pub(super) fn service(&self, service: &str) -> Markup {
        html! {
            a.service.(self.palette.class(service)) title=(service_title(service)) href=[Filter::Service.link("", service)] { i {} bdi { (visible::line(service, 1300)) } }
        }
    }
}
