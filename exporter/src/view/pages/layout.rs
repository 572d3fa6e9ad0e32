//! The frame of all pages.

use maud::{DOCTYPE, Markup, html};

use super::time;
use crate::view::visible;

/// How a page is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresh {
    /// It is not refreshed.
    No,
    /// The script adds new rows. Without scripts, there is a link that loads the page again.
    Live,
}

/// The part of the viewer that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Traces,
    Logs,
    Services,
}

impl Section {
    const ALL: [(Self, &str, &str); 3] = [
        (Self::Traces, "/", "Traces"),
        (Self::Logs, "/logs", "Logs"),
        (Self::Services, "/services", "Services"),
    ];
}

/// Returns what is before and after the content of a page.
pub(super) fn frame(title: &str, section: Section, refresh: Refresh) -> (String, String) {
    // Texts are escaped, so no title contains it.
    const CONTENT: &str = "<!--content-->";
    let page = page(title, section, refresh, &maud::PreEscaped(CONTENT.to_owned())).into_string();
    let (before, after) = page.split_once(CONTENT).unwrap_or((&page, ""));
    (before.to_owned(), after.to_owned())
}

pub(super) fn page(title: &str, section: Section, refresh: Refresh, main: &Markup) -> Markup {
    visible::guarded(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · logtracer" }
                link rel="icon" type="image/svg+xml" href="/assets/icon.svg";
                link rel="stylesheet" href="/assets/style.css";
                link rel="stylesheet" href="/assets/list.css";
                script src="/assets/values.js" defer {}
                script src="/assets/list.js" defer {}
                @if refresh == Refresh::Live { script src="/assets/live.js" defer {} }
            }
            body {
                header.top {
                    a.brand href="/" {
                        img src="/assets/icon.svg" width="22" height="22" alt="";
                        "logtracer"
                    }
                    nav aria-label="Sections" {
                        @for (of, path, name) in Section::ALL {
                            a href=(path) aria-current=[(of == section).then_some("page")] { (name) }
                        }
                    }
                    form.find action="/" role="search" {
                        input type="search" name="find" placeholder="Paste a trace id or a trace header" aria-label="Find a trace by id" autocomplete="off" spellcheck="false";
                    }
                    (time::switch())
                    @if refresh == Refresh::Live {
                        button.live type="button" hidden title="Pause or resume live rows" { "Live" }
                        noscript { a.button href="" { "Refresh" } }
                    }
                }
                main { (main) }
            }
        }
    })
}
