//! The heading of a trace: what the list shows of it.

use maud::{Markup, html};

use super::TracePage;
use crate::view::bounded;
use crate::view::format::{clock_time, count, duration, rfc3339};

impl TracePage {
    pub(super) fn heading(&self) -> Markup {
        let trace = &self.summary;
        let started = trace.start_unix_nano;
        html! {
            div.bar {
                h1 { (bounded::name(self.title())) }
                @if trace.error_count > 0 { span.badge.bad { (count(trace.error_count, "error")) } }
                span.grow {}
                a.button href={ "/api/traces/" (trace.trace_id) } { "JSON" }
            }
            dl.facts {
                div { dt { "Trace id" } dd.mono { (trace.trace_id) } }
                div { dt { "Started (UTC)" } dd { time datetime=(rfc3339(started)) { (clock_time(started, self.now)) } } }
                div { dt { "Duration" } dd { (duration(trace.duration_nano)) } }
                div { dt { "Spans" } dd { (trace.span_count) } }
                div { dt { "Log lines" } dd { (trace.log_count) } }
                @if !trace.service_names.is_empty() {
                    div { dt { "Services" } dd.services {
                        @for service in &trace.service_names {
                            span class={ "service " (self.palette.class(service)) } title=(service) { i {} bdi { (service) } }
                        }
                    } }
                }
            }
        }
    }
}
