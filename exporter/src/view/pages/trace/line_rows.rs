//! The rows of log lines: among the spans, or beside them.

use maud::{Markup, html};

use super::TracePage;
use super::row::LineItem;
use super::rows::{MAX_INDENT, error_glyph};
use super::value::{Filter, service_title};
use crate::otlp::in_place::RecordRef;
use crate::store::{LineContent, LineRow, ReadResult, Snapshot, convert_record};
use crate::view::format::rfc3339;
use crate::view::tree::Level;
use crate::view::visible;

/// The size of a message in a row.
const MESSAGE_BYTES: usize = 600;

/// What a row shows of a line.
pub(super) struct Brief {
    pub(super) severity: String,
    pub(super) service: Option<String>,
    /// The beginning of the message, without the name of the service before it.
    pub(super) message: String,
}

impl TracePage {
    /// Renders the row of a line. A line that was evicted meanwhile has none.
    pub(super) fn line_row(&mut self, snapshot: &Snapshot<'_>, item: &LineItem) -> ReadResult<Markup> {
        let key = item.node.key;
        let service =
            item.service.and_then(|service| self.opened.services.get(usize::from(service))).cloned();
        let brief =
            snapshot.line_at(self.opened.seq, key, |row| self.brief(snapshot, &row, service.as_deref()))?;
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
            div.row.line.(level).(class).(indent).match[item.node.is_match].open[is_open] id={ "l-" (key) } role="row" aria-level=(item.depth + 1) {
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

    /// Reads what a row shows of a line. The service of a line of a file is that of its span, or is before the message.
    pub(super) fn brief(
        &self,
        snapshot: &Snapshot<'_>,
        row: &LineRow<'_>,
        service_of_span: Option<&str>,
    ) -> ReadResult<Brief> {
        Ok(match row.content {
            LineContent::File { severity, message, .. } => {
                let (start, _) = crate::view::bounded::start(message, MESSAGE_BYTES);
                let (prefix, rest) = split_service(start);
                let service = service_of_span.or(prefix);
                let message = if service.is_some() && service == prefix { rest } else { start };
                Brief {
                    severity: severity.to_owned(),
                    service: service.map(str::to_owned),
                    message: message.trim().to_owned(),
                }
            }
            LineContent::Record { body, origin } => {
                let converted = snapshot.emitter(origin, |emitter| {
                    let service = emitter.service_name().into_owned();
                    let line = convert_record(
                        &RecordRef::new(body),
                        Some(self.opened.summary.trace_id),
                        (&service, ""),
                        MESSAGE_BYTES,
                    );
                    let (prefix, rest) = split_service(&line.message);
                    let message = if prefix == Some(&*service) { rest } else { &line.message };
                    Brief {
                        severity: line.severity.to_owned(),
                        message: message.trim().to_owned(),
                        service: Some(service),
                    }
                })?;
                converted.unwrap_or(Brief { severity: String::new(), service: None, message: String::new() })
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

/// Splits `service - message`.
fn split_service(message: &str) -> (Option<&str>, &str) {
    match message.split_once(" - ") {
        Some((service, rest))
            if !service.is_empty() && service.len() <= 200 && !service.contains(char::is_whitespace) =>
        {
            (Some(service), rest)
        }
        _ => (None, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_can_be_before_the_message() {
        for (message, expected) in [
            ("shop - basket is empty", (Some("shop"), "basket is empty")),
            ("basket is - empty", (None, "basket is - empty")),
            (" - x", (None, " - x")),
            ("x", (None, "x")),
        ] {
            assert_eq!(split_service(message), expected);
        }
    }
}
