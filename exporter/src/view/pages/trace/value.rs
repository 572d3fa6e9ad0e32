//! A value as people read it: with its line breaks, indented if it is JSON or SQL, and with what one wants to do with it.

use maud::{Markup, html};

use super::indent;
use super::state::encode;
use crate::view::parameters::{Parameters, TracesQuery};
use crate::view::visible::{self, Breaks};

/// A value of an attribute or of a member of a line.
pub(super) struct Value<'a> {
    pub(super) key: &'a str,
    /// The text, or the beginning of a long one.
    pub(super) text: &'a str,
    pub(super) is_all: bool,
    pub(super) whole: Option<Whole>,
    /// The name of the parameter of the list that finds spans with this value.
    pub(super) filter: Option<Filter>,
}

/// The address of what a value is cut from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whole {
    /// The value as text.
    Value(String),
    /// The line that has it.
    Line(String),
}

/// The parameter of the list that finds what has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    Attribute,
    Service,
    Route,
    Status,
}

/// A longer value is folded behind its beginning.
const FOLDED_CHARS: usize = 1200;
const FOLDED_LINES: usize = 12;

/// The lines of a stack trace, and of another long text, before the fold.
const STACK_LINES: usize = 3;

/// A longer value is not a filter.
const MAX_FILTER_BYTES: usize = 200;

impl Filter {
    /// Returns the filter of an attribute of a span.
    pub(super) fn of_attribute(key: &str) -> Self {
        match key {
            "service.name" => Self::Service,
            "http.route" => Self::Route,
            "http.response.status_code" | "http.status_code" => Self::Status,
            _ => Self::Attribute,
        }
    }

    /// Returns the address of the list with what has this value, if the list accepts it.
    pub(super) fn link(self, key: &str, value: &str) -> Option<String> {
        let (name, value) = match self {
            // The first equals sign ends the key.
            Self::Attribute if key.is_empty() || key.contains('=') => return None,
            Self::Attribute => ("attribute", format!("{key}={value}")),
            Self::Service => ("service", value.to_owned()),
            Self::Route => ("route", value.to_owned()),
            Self::Status => ("status", value.to_owned()),
        };
        let parameters = Parameters::new([(name.to_owned(), value.clone())]);
        TracesQuery::parse(&parameters, 0).ok()?;
        Some(format!("/?{name}={}", encode(&value)))
    }
}

impl Value<'_> {
    /// Renders the value in at most about `max_bytes`, and as much again for a copy. Returns whether that is all of it.
    pub(super) fn render(&self, max_bytes: usize) -> (Markup, bool) {
        // A copy of what is indented comes from an attribute.
        let is_exact = self.text.chars().all(visible::has_reference);
        let formatted = if self.is_all && is_exact { self.formatted() } else { None };
        let shown = formatted.as_deref().unwrap_or(self.text);
        let (markup, fits) = self.text(shown, max_bytes);
        let is_all = fits && self.is_all;
        let is_url = is_all && is_web_address(self.text);
        let filter =
            self.filter.filter(|_| is_all && !self.text.is_empty() && self.text.len() <= MAX_FILTER_BYTES);
        let filter =
            filter.filter(|_| !self.text.contains('\n')).and_then(|filter| filter.link(self.key, self.text));
        // A copy of what was indented is the value as it was sent.
        let original = formatted.is_some().then_some(self.text);
        let markup = html! {
            div.value {
                @match (&filter, is_url) {
                    (_, true) => { a.text href=(self.text) rel="noreferrer noopener" { (markup) } }
                    (Some(filter), _) => { a.text href=(filter) title="Traces with this value" { (markup) } }
                    (None, _) => { div.text { (markup) } }
                }
                @if !is_all {
                    p.cut {
                        "Only the beginning is shown. "
                        @if let Some(Whole::Value(whole) | Whole::Line(whole)) = &self.whole { a href=(whole) { "Show all" } }
                    }
                }
                @if is_url {
                    @if let Some(filter) = &filter { a.filter href=(filter) title="Traces with this value" aria-label={ "Traces with this " (visible::plain(self.key, Breaks::Show, 80)) } { "≡" } }
                }
                @if is_all && !self.text.is_empty() { (copy(self.key, original)) }
                @if !is_all && let Some(Whole::Value(whole)) = &self.whole {
                    button.copy type="button" hidden data-whole=(whole) aria-label={ "Copy " (visible::plain(self.key, Breaks::Show, 80)) } { "Copy" }
                }
            }
        };
        (markup, is_all)
    }

    /// Renders a text. A long one is folded after its first lines.
    fn text(&self, text: &str, max_bytes: usize) -> (Markup, bool) {
        let lines = text.lines().count();
        let is_stack = is_stack_trace(self.key, text);
        let fold = match lines {
            _ if is_stack && lines > STACK_LINES + 1 => Some(STACK_LINES),
            _ if lines > FOLDED_LINES => Some(FOLDED_LINES / 2),
            _ => None,
        };
        let begin = match fold {
            Some(lines) => text.match_indices('\n').nth(lines - 1).map(|(at, _)| at + 1),
            None => text.char_indices().nth(FOLDED_CHARS).map(|(at, _)| at),
        };
        let Some((begin, rest)) = begin.and_then(|at| text.split_at_checked(at)) else {
            return visible::text(text, Breaks::Keep, max_bytes);
        };
        let (begin, has_begin) = visible::text(begin, Breaks::Keep, max_bytes);
        let left = max_bytes.saturating_sub(begin.0.len());
        let more = rest.lines().filter(|line| !line.is_empty()).count();
        let (rest, has_rest) = visible::text(rest, Breaks::Keep, left);
        let markup = html! {
            (begin)
            details.more {
                summary { @if fold.is_some() { (more) " more lines" } @else { "more" } }
                (rest)
            }
        };
        (markup, has_begin && has_rest)
    }

    fn formatted(&self) -> Option<String> {
        match self.key {
            "db.query.text" | "db.statement" => indent::sql(self.text),
            _ => indent::json(self.text),
        }
    }
}

/// Returns the tooltip of a service. The store cuts longer names.
pub(super) fn service_title(service: &str) -> String {
    visible::plain(service, Breaks::Show, 300)
}

/// Renders a button that copies a text, or else the text of the value before it. The script shows it.
pub(in crate::view::pages) fn copy(what: &str, text: Option<&str>) -> Markup {
    html! {
        button.copy type="button" hidden data-copy=[text.map(visible::attribute)] aria-label={ "Copy " (visible::plain(what, Breaks::Show, 80)) } { "Copy" }
    }
}

fn is_stack_trace(key: &str, text: &str) -> bool {
    let is_named = key.ends_with("stacktrace") || key.ends_with("stack_trace") || key.ends_with("stack");
    let is_frame = |line: &str| {
        let line = line.trim_start();
        line.starts_with("at ") || line.starts_with("File \"") || line.starts_with("...")
    };
    is_named || text.lines().skip(1).take(6).filter(|line| is_frame(line)).count() >= 2
}

/// Returns whether a whole value is an address that a browser may follow.
fn is_web_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_plain =
        |character: char| character.is_ascii_graphic() && !matches!(character, '"' | '<' | '>' | '\\' | '`');
    text.len() <= 2048 && rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(key: &'a str, text: &'a str) -> Value<'a> {
        let filter = Some(Filter::of_attribute(key));
        Value { key, text, is_all: true, whole: Some(Whole::Value("/whole".to_owned())), filter }
    }

    fn rendered(key: &str, text: &str) -> String {
        let (markup, is_all) = value(key, text).render(4096);
        assert!(is_all || markup.0.contains("href=\"/whole\""));
        markup.into_string()
    }

    #[test]
    fn a_value_is_a_link_to_what_has_it() {
        for (key, text, expected) in [
            ("url.path", "/a b", "<a class=\"text\" href=\"/?attribute=url.path%3D/a%20b\""),
            ("http.route", "/a", "href=\"/?route=/a\""),
            ("http.response.status_code", "500", "href=\"/?status=500\""),
            ("service.name", "a&b", "href=\"/?service=a%26b\""),
            (
                "url.full",
                "https://a.example/b?c=d",
                "href=\"https://a.example/b?c=d\" rel=\"noreferrer noopener\"",
            ),
            ("x", "javascript:alert(1)", "href=\"/?attribute=x%3Djavascript:alert%281%29\""),
            ("x", "https://a\u{202e}b", "\\u{202e}"),
        ] {
            let html = rendered(key, text);
            assert!(html.contains(expected), "{html}");
            assert_eq!(html.contains("rel="), text == "https://a.example/b?c=d", "{html}");
        }
    }

    #[test]
    fn a_value_that_the_list_does_not_accept_is_no_link() {
        for (key, text) in
            [("http.response.status_code", "0"), ("http.status_code", "teapot"), ("a=b", "c"), ("", "c")]
        {
            let html = rendered(key, text);
            assert!(!html.contains("href"), "{html}");
        }
        assert_eq!(Filter::Route.link("", &"/a".repeat(1000)), None);
        assert_eq!(Filter::Status.link("", "unavailable").as_deref(), Some("/?status=unavailable"));
    }

    #[test]
    fn long_texts_are_folded() {
        let stack = format!("Error: x\n{}", "    at f (a.js:1:2)\n".repeat(20));
        let html = rendered("exception.stacktrace", &stack);
        assert!(html.contains("<summary>18 more lines</summary>"), "{html}");
        assert!(rendered("message", &stack).contains("18 more lines"));
        assert!(rendered("text", &"line\n".repeat(13)).contains("7 more lines"));
        assert!(rendered("text", &"x".repeat(2000)).contains("<summary>more</summary>"));
        assert!(!rendered("text", "one\ntwo").contains("<details"));
        let cut = rendered("text", &"x".repeat(10_000));
        assert!(
            cut.contains("Only the beginning is shown") && cut.contains("data-whole=\"/whole\""),
            "{cut}"
        );
    }

    #[test]
    fn the_copy_of_an_indented_value_is_the_value() {
        let html = rendered("body", r#"{"some":"object","with":["members",1,2,3]}"#);
        assert!(html.contains("data-copy=\"{&quot;some&quot;:&quot;object&quot;"), "{html}");
        assert!(html.contains("{\n  &quot;some&quot;: "), "{html}");
        // However long the value is, as long as all of it is shown.
        let long = format!("[{}0]", "\"x\",".repeat(400));
        assert!(long.len() > 1600);
        let (markup, is_all) = value("body", &long).render(8 << 10);
        let expected = format!("data-copy=\"{}\"", long.replace('"', "&quot;"));
        assert!(is_all && markup.0.contains(&expected), "{}", markup.0);
        let query = format!("SELECT a FROM b WHERE {} c = 1", "d = 'e' AND ".repeat(150));
        assert!(value("db.query.text", &query).render(8 << 10).0.0.contains("data-copy="));
    }
}
