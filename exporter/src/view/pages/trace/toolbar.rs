//! The tools of a page: find, the next error, and the switches. All of them are links and forms.

use maud::{Markup, html};

use super::TracePage;
use super::hits::{Hits, target};
use super::open::WINDOW;
use super::row::Window;
use super::state::{Lines, Path, State, Time};
use crate::view::format::count;
use crate::view::visible;

/// The services that the form offers.
const MAX_SERVICES: usize = 50;

impl TracePage {
    pub(super) fn toolbar(&self) -> Markup {
        let (state, opened) = (&self.state, &self.opened);
        let is_skewed = opened.offsets.iter().any(|offset| *offset != 0);
        let switch = |label: &str, is_on: bool, href: String| {
            html! { a href=(href) aria-current=[is_on.then_some("true")] { (label) } }
        };
        html! {
            div.tools {
                form.find-in role="search" {
                    (hidden(state, &["find", "span", "line", "row", "first"]))
                    input type="search" name="find" value=(visible::attribute(&state.find)) placeholder="Find in this trace" aria-label="Find in this trace" maxlength="200" autocomplete="off" spellcheck="false";
                    button type="submit" { "Find" }
                }
                @if !state.find.is_empty() { (hits(state, &opened.matches, "match", "matches", "found")) }
                @if opened.errors.total > 0 { (hits(state, &opened.errors, "error", "errors", "error")) }
                @if opened.summary.log_count > 0 {
                    nav.switch aria-label="Log lines" {
                        (switch("Lines between", state.lines == Lines::Interleaved, state.with(|state| { state.lines = Lines::Interleaved; state.of = None; state.row = None; })))
                        (switch("Lines after", state.lines == Lines::Beside, state.with(|state| { state.lines = Lines::Beside; state.row = None; })))
                    }
                }
                @if opened.root.is_some() {
                    nav.switch aria-label="Spans" {
                        (switch("All spans", state.path == Path::All, state.with(|state| { state.path = Path::All; state.row = None; })))
                        (switch("Critical path", state.path == Path::Critical, state.with(|state| { state.path = Path::Critical; state.row = None; })))
                    }
                }
                @if is_skewed || state.time == Time::Aligned {
                    nav.switch aria-label="Clocks" {
                        (switch("Raw times", state.time == Time::Raw, state.with(|state| state.time = Time::Raw)))
                        (switch("Aligned", state.time == Time::Aligned, state.with(|state| state.time = Time::Aligned)))
                    }
                }
                @if opened.services.len() > 1 || !state.services.is_empty() { (self.service_menu()) }
                span.grow {}
                span.connection role="status" {}
                button.help type="button" hidden aria-haspopup="dialog" title="Keys" { "?" }
            }
        }
    }

    fn service_menu(&self) -> Markup {
        let (state, services) = (&self.state, &self.opened.services);
        let is_chosen = |name: &str| state.services.iter().any(|chosen| chosen == name);
        let label = match state.services.len() {
            0 => "All services".to_owned(),
            chosen => count(chosen as u64, "service"),
        };
        html! {
            details.menu {
                summary { (label) }
                form {
                    (hidden(state, &["services", "row", "first"]))
                    @for name in services.iter().take(MAX_SERVICES) {
                        label class=(self.palette.class(name)) { input type="checkbox" name="services" value=(visible::attribute(name)) checked[is_chosen(name)]; i {} bdi { (visible::line(name, 1300)) } }
                    }
                    @if services.len() > MAX_SERVICES { p.muted { "and " (services.len() - MAX_SERVICES) " more" } }
                    p { button type="submit" { "Show only these" } " " a href=(state.with(|state| { state.services.clear(); state.row = None; })) { "All services" } }
                }
            }
        }
    }

    /// Renders the link to the rows before those of the page, for the top of it.
    pub(super) fn rows_before(&self) -> Markup {
        let first = self.opened.rows.first;
        let row = first.checked_sub(WINDOW).filter(|row| *row > 0);
        html! {
            @if first > 0 {
                nav.pages.before aria-label="Rows before" {
                    span { (count(first as u64, "row")) " before" }
                    a.previous href={ (self.state.with(|state| (state.row, state.span, state.line) = (row, None, None))) "#rows" } { "Previous " (WINDOW.min(first)) }
                }
            }
        }
    }

    /// Renders the links to the rows before and after those of the page.
    pub(super) fn row_links(&self) -> Markup {
        let href = |row: Option<usize>| {
            self.state.with(|state| (state.row, state.span, state.line) = (row, None, None))
        };
        links(&self.opened.rows, "rows", "#rows", &href)
    }

    pub(super) fn line_links(&self) -> Markup {
        let href = |line: Option<usize>| {
            self.state.with(|state| (state.first_line, state.line) = (line.unwrap_or(0), None))
        };
        links(&self.opened.lines, "lines", "#log", &href)
    }

    /// Renders the list of keys, which the script opens.
    pub(super) fn help(&self) -> Markup {
        let keys = [
            ("/", "Find in this trace"),
            ("n, N", "Next, previous match"),
            ("j, k", "Next, previous row"),
            ("Enter", "Details of the row"),
            ("Esc", "Close the details"),
            ("←, →", "Collapse, expand"),
            ("e, E", "Next, previous error"),
            ("c", "Show the critical path, or all spans"),
            ("l", "Log lines between or after the spans"),
            ("?", "This list"),
        ];
        html! {
            dialog.keys aria-label="Keys" {
                h2 { "Keys" }
                dl { @for (key, what) in keys { div { dt { kbd { (key) } } dd { (what) } } } }
                form method="dialog" { button type="submit" { "Close" } }
            }
        }
    }
}

/// Renders the parameters of a form that stay as they are.
fn hidden(state: &State, without: &[&str]) -> Markup {
    html! {
        @for (name, values) in state.pairs() {
            @if !without.contains(&name) {
                @for value in values { input type="hidden" name=(name) value=(visible::attribute(&value)); }
            }
        }
    }
}

fn hits(state: &State, hits: &Hits, one: &str, many: &str, class: &str) -> Markup {
    let noun = if hits.total == 1 { one } else { many };
    html! {
        span.hits.(class)
            data-before=[hits.before_page.map(|hit| target(state, hit))]
            data-after=[hits.after_page.map(|hit| target(state, hit))]
        {
            output { @if let Some(current) = hits.current { (current) " of " } (hits.total) " " (noun) }
            @if let Some(hit) = hits.previous { a rel="prev" href=(target(state, hit)) aria-label={ "Previous " (one) } title={ "Previous " (one) } { "↑" } }
            @if let Some(hit) = hits.next { a rel="next" href=(target(state, hit)) aria-label={ "Next " (one) } title={ "Next " (one) } { "↓" } }
        }
    }
}

fn links<T>(window: &Window<T>, noun: &str, anchor: &str, href: &dyn Fn(Option<usize>) -> String) -> Markup {
    let (first, end, total) = (window.first, window.end(), window.total);
    html! {
        @if first > 0 || end < total {
            nav.pages.around aria-label={ "More " (noun) } data-first=(first) data-end=(end) data-total=(total) {
                span { (noun) " " (first + 1) " to " (end) " of " (total) }
                @if first > 0 {
                    a.previous href={ (href(first.checked_sub(WINDOW).filter(|row| *row > 0))) (anchor) } { "Previous " (WINDOW.min(first)) }
                }
                @if end < total {
                    a.next href={ (href(Some(end))) (anchor) } { "Next " (WINDOW.min(total - end)) }
                }
            }
        }
    }
}
