//! The form of a filter: a field for each parameter, and a link that removes each value.

use logtracer_core::line::Severity;
use maud::{Markup, html};

use crate::view::parameters::Parameters;
use crate::view::visible;

/// A field of the form.
pub(in crate::view) struct Field {
    pub(in crate::view) name: &'static str,
    label: &'static str,
    placeholder: &'static str,
    input: Input,
}

enum Input {
    Text,
    /// A text with suggestions.
    Suggested(&'static [&'static str]),
    /// A text, for which the names of the services are suggestions.
    Service,
    /// One of these values. The first is the default; an empty one is "any".
    Choice(&'static [&'static str]),
}

const fn text(name: &'static str, label: &'static str, placeholder: &'static str) -> Field {
    Field { name, label, placeholder, input: Input::Text }
}

/// The number of services that a field suggests.
const MAX_SUGGESTIONS: usize = 200;

const AGES: &[&str] = &["-15m", "-1h", "-6h", "-1d", "-3d"];

const SERVICE: Field = Field { name: "service", label: "Service", placeholder: "any", input: Input::Service };
const FROM: Field =
    Field { name: "from", label: "From (UTC)", placeholder: "-15m", input: Input::Suggested(AGES) };
const TO: Field = Field { name: "to", label: "To (UTC)", placeholder: "now", input: Input::Suggested(AGES) };

pub(super) const OF_TRACES: [Field; 11] = [
    text("q", "Text", "in span names and log lines"),
    SERVICE,
    text("name", "Span name", "part of it"),
    text("route", "Route", "/basket/{id}"),
    Field {
        name: "status",
        label: "Status",
        placeholder: "5xx, error",
        input: Input::Suggested(&["error", "5xx", "4xx", "500", "503", "404"]),
    },
    text("attribute", "Attribute", "key=value"),
    text("min_duration", "Longer than", "250ms"),
    text("max_duration", "Shorter than", "2s"),
    FROM,
    TO,
    Field {
        name: "sort",
        label: "Sort",
        placeholder: "",
        input: Input::Choice(&["newest", "oldest", "longest"]),
    },
];

pub(in crate::view) const OF_LINES: [Field; 6] = [
    text("q", "Text", "in the line"),
    Field {
        name: "severity",
        label: "Severity",
        placeholder: "",
        input: Input::Choice(&[
            "",
            "DEBUG",
            "INFO",
            "NOTICE",
            "WARNING",
            "ERROR",
            "CRITICAL",
            "ALERT",
            "EMERGENCY",
        ]),
    },
    SERVICE,
    text("trace", "Trace", "32 hexadecimal digits"),
    FROM,
    TO,
];

pub(in crate::view) const OF_RANGE: [Field; 3] = [SERVICE, FROM, TO];

/// Returns the form of a list at this path.
pub(in crate::view) fn form(
    path: &str,
    fields: &[Field],
    parameters: &Parameters,
    services: &[String],
) -> Markup {
    let given: Vec<_> =
        parameters.iter().filter(|(name, _)| !matches!(*name, "cursor" | "limit" | "sort")).collect();
    html! {
        form.filters method="get" action=(path) role="search" aria-label="Filter" {
            @for field in fields { (field.label(parameters, services)) }
            // The other attributes stay.
            @for (name, value) in parameters.iter() {
                @if name == "attribute" || name == "limit" { input type="hidden" name=(name) value=(visible::attribute(value)); }
            }
            div.actions { button type="submit" { "Search" } }
        }
        @if !given.is_empty() {
            p.chips {
                @for (name, value) in &given {
                    a.chip href=(parameters.without(name, value).link(path)) title={ "Remove " (name) } {
                        span.muted { (name) } " " (visible::name(value)) " ✕"
                    }
                }
                a href=(path) { "Clear all" }
            }
        }
    }
}

impl Field {
    fn label(&self, parameters: &Parameters, services: &[String]) -> Markup {
        // A form adds an attribute to the others.
        let given = if self.name == "attribute" { None } else { parameters.get(self.name) };
        let value = given.map(visible::attribute);
        let list = format!("of-{}", self.name);
        html! {
            label class={ "f-" (self.name) } {
                span { (self.label) }
                @match &self.input {
                    Input::Choice(values) => {
                        select name=(self.name) {
                            @for choice in *values {
                                option value=(choice) selected[given.is_some_and(|value| is_chosen(value, choice))] { @if choice.is_empty() { "any" } @else { (choice) } }
                            }
                        }
                    }
                    Input::Text => {
                        input type="search" name=(self.name) value=[value] placeholder=(self.placeholder) autocomplete="off" spellcheck="false";
                    }
                    Input::Suggested(_) | Input::Service => {
                        input type="search" name=(self.name) value=[value] placeholder=(self.placeholder) list=(list) autocomplete="off" spellcheck="false";
                    }
                }
            }
            @match &self.input {
                Input::Suggested(values) => { datalist id=(list) { @for value in *values { option value=(value) {} } } }
                Input::Service => { datalist id=(list) { @for name in suggested(services) { option value=(name) {} } } }
                Input::Text | Input::Choice(_) => {}
            }
        }
    }
}

/// Returns the services that a field suggests. A suggestion cannot show what is hidden in a name.
fn suggested(services: &[String]) -> impl Iterator<Item = &String> {
    let is_visible = |name: &&String| visible::characters(name).all(|(_, is_hidden)| !is_hidden);
    services.iter().filter(is_visible).take(MAX_SUGGESTIONS)
}

/// Returns whether a value is a choice, or another name of a severity.
fn is_chosen(value: &str, choice: &str) -> bool {
    let severity = Severity::from_text(value).map(Severity::as_str);
    value.eq_ignore_ascii_case(choice) || severity == Some(choice)
}
