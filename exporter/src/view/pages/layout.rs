//! The frame of all pages.

use maud::{DOCTYPE, Markup, html};

/// How a page is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresh {
    /// It is not refreshed.
    No,
    /// The script replaces `#live` every two seconds. Without scripts, the page reloads.
    Live,
}

/// Returns what is before and after the content of a page.
pub(super) fn frame(title: &str, refresh: Refresh) -> (String, String) {
    // Texts are escaped, so no title contains it.
    const CONTENT: &str = "<!--content-->";
    let page = page(title, refresh, &maud::PreEscaped(CONTENT.to_owned())).into_string();
    let (before, after) = page.split_once(CONTENT).unwrap_or((&page, ""));
    (before.to_owned(), after.to_owned())
}

pub(super) fn page(title: &str, refresh: Refresh, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · logtracer" }
                link rel="icon" type="image/svg+xml" href="/assets/icon.svg";
                link rel="stylesheet" href="/assets/style.css";
                script src="/assets/page.js" defer {}
                @if refresh == Refresh::Live {
                    noscript { meta http-equiv="refresh" content="5"; }
                }
            }
            body {
                header.top {
                    a.brand href="/" {
                        img src="/assets/icon.svg" width="22" height="22" alt="";
                        "logtracer"
                    }
                    form.find action="/" role="search" {
                        input type="search" name="find" placeholder="Paste a trace id or a trace header" aria-label="Find a trace by id" autocomplete="off" spellcheck="false";
                    }
                    @if refresh == Refresh::Live {
                        button.live type="button" hidden title="Pause or resume the live list" aria-live="polite" { "Live" }
                    }
                }
                main { (main) }
            }
        }
    }
}
