//! Texts as people can trust them: what cannot be seen, or changes what is seen, is shown as a symbol.
//!
//! | for | function |
//! |---|---|
//! | the content of an element | [`text`], [`line`], [`name`] |
//! | a tooltip, or a text in a drawing | [`plain`], [`title`] |
//! | a value that the script or a form needs as it is | [`attribute`] |
//!
//! Invariant: no page has such a character as it is, because all HTML passes [`guard`] before it is sent
//! (`no_page_has_hidden_characters` in `tests/it/`).

mod symbols;

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};

pub(crate) use symbols::characters;
use symbols::{Symbol, symbols};

/// How line breaks and tabs are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breaks {
    Keep,
    /// As symbols, for what has to fit into one line.
    Show,
}

const BEGIN: &str = "<span class=\"ctl\">";
const END: &str = "</span>";

/// Returns the beginning of a text that takes at most `max_bytes` of HTML, and whether that is all of it.
pub(super) fn text(text: &str, breaks: Breaks, max_bytes: usize) -> (Markup, bool) {
    let mut out = String::new();
    let mut is_in_span = false;
    for (character, symbol) in symbols(text, breaks) {
        let change = match (is_in_span, symbol.is_some()) {
            (false, true) => BEGIN,
            (true, false) => END,
            _ => "",
        };
        // The end of a span has to fit, too.
        if out.len() + change.len() + MAX_SYMBOL_BYTES + END.len() > max_bytes {
            if is_in_span {
                out.push_str(END);
            }
            return (PreEscaped(out), false);
        }
        out.push_str(change);
        is_in_span = symbol.is_some();
        match symbol {
            Some(symbol) => symbol.push(&mut out),
            None => push_escaped(&mut out, character),
        }
    }
    if is_in_span {
        out.push_str(END);
    }
    (PreEscaped(out), true)
}

/// Returns a short text for one line. A longer one ends with an ellipsis.
pub(super) fn line(content: &str, max_bytes: usize) -> Markup {
    let (PreEscaped(mut shown), is_all) = text(content, Breaks::Show, max_bytes);
    if !is_all {
        shown.push('…');
    }
    PreEscaped(shown)
}

/// Returns a text without markup for an attribute, such as a tooltip: at most this many characters.
pub(super) fn plain(text: &str, breaks: Breaks, max_chars: usize) -> String {
    let mut characters = symbols(text, breaks);
    let mut out = String::new();
    for (character, symbol) in characters.by_ref().take(max_chars) {
        match symbol {
            Some(Symbol::Picture(picture)) => out.push(picture),
            Some(Symbol::Code(_)) => out.push(char::REPLACEMENT_CHARACTER),
            None => out.push(character),
        }
    }
    if characters.next().is_some() {
        out.push('…');
    }
    out
}

/// The part of a name that is shown, as a size in HTML, and the characters of a tooltip.
pub(super) const NAME_BYTES: usize = 240;
const TITLE_CHARS: usize = 400;

/// Shows a name in one line, whatever it contains. A longer one ends with an ellipsis and has a tooltip.
pub(super) fn name(content: &str) -> Markup {
    let (shown, is_all) = text(content, Breaks::Show, NAME_BYTES);
    // The direction of the text ends with the element.
    html! {
        @if is_all { bdi { (shown) } } @else { bdi title=(title(content)) { (shown) "…" } }
    }
}

/// Returns the text of a tooltip.
pub(super) fn title(text: &str) -> String {
    plain(text, Breaks::Show, TITLE_CHARS)
}

/// Returns the value of an attribute that is the text itself. NUL and the controls from U+0080 on have no form in HTML.
pub(super) fn attribute(text: &str) -> PreEscaped<String> {
    let mut out = String::with_capacity(text.len());
    for (character, symbol) in symbols(text, Breaks::Keep) {
        match symbol {
            Some(symbol) if !has_reference(character) => symbol.push(&mut out),
            Some(_) => {
                // Cannot fail: a string takes all characters.
                let _ = write!(out, "&#x{:x};", u32::from(character));
            }
            None => push_escaped(&mut out, character),
        }
    }
    PreEscaped(out)
}

/// Returns whether [`attribute`] has the form of a character in HTML.
pub(super) const fn has_reference(character: char) -> bool {
    !matches!(character, '\0' | '\u{80}'..='\u{9f}')
}

/// Makes hidden characters visible in HTML, from this byte on.
pub(super) fn guard(html: &mut Vec<u8>, start: usize) {
    let added = html.get(start..).unwrap_or_default();
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
    if added.iter().all(is_plain) {
        return;
    }
    let text = String::from_utf8_lossy(added);
    if symbols(&text, Breaks::Keep).all(|(_, symbol)| symbol.is_none()) {
        return;
    }
    let mut safe = String::with_capacity(text.len() + 64);
    for (character, symbol) in symbols(&text, Breaks::Keep) {
        match symbol {
            Some(symbol) => symbol.push(&mut safe),
            None => safe.push(character),
        }
    }
    html.truncate(start);
    html.extend_from_slice(safe.as_bytes());
}

/// Returns HTML with its hidden characters visible.
pub(super) fn guarded(PreEscaped(html): Markup) -> Markup {
    let mut bytes = html.into_bytes();
    guard(&mut bytes, 0);
    PreEscaped(String::from_utf8(bytes).unwrap_or_default())
}

/// The longest symbol, or escaped character.
const MAX_SYMBOL_BYTES: usize = 10;

fn push_escaped(out: &mut String, character: char) {
    match character {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        _ => out.push(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_shown() {
        for (content, breaks, expected) in [
            ("a<b>&\"", Breaks::Keep, "a&lt;b&gt;&amp;&quot;"),
            ("a\nb\tc", Breaks::Keep, "a\nb\tc"),
            ("a\nb\r", Breaks::Show, "a<span class=\"ctl\">↵</span>b<span class=\"ctl\">␍</span>"),
            ("\u{1b}[0m", Breaks::Keep, "<span class=\"ctl\">␛</span>[0m"),
            ("\u{202e}\u{200b}x", Breaks::Keep, "<span class=\"ctl\">\\u{202e}\\u{200b}</span>x"),
            ("e\u{301}\u{1f469}\u{200d}\u{1f680}", Breaks::Show, "e\u{301}\u{1f469}\u{200d}\u{1f680}"),
        ] {
            let (PreEscaped(html), is_all) = text(content, breaks, 1000);
            assert_eq!((&*html, is_all), (expected, true), "{content:?}");
        }
        for (content, expected) in [
            ("a\u{200d}b", "a<span class=\"ctl\">\\u{200d}</span>b"),
            ("\u{5d0}\u{200c}", "\u{5d0}<span class=\"ctl\">\\u{200c}</span>"),
            ("\u{5d0}\u{200c}\u{5d1}", "\u{5d0}\u{200c}\u{5d1}"),
            ("\u{1f469}\u{200d}\u{200d}", "\u{1f469}<span class=\"ctl\">\\u{200d}\\u{200d}</span>"),
        ] {
            assert_eq!(text(content, Breaks::Keep, 1000).0.0, expected, "{content:?}");
        }
        assert_eq!(plain("a\u{202e}\u{1b}bcd", Breaks::Show, 4), "a\u{fffd}␛b…");
    }

    #[test]
    fn an_attribute_is_the_text_itself() {
        assert_eq!(attribute("a\"\u{202e}\u{1b}\n").0, "a&quot;&#x202e;&#x1b;\n");
        assert_eq!(attribute("\u{85}").0, "\\u{85}");
    }

    #[test]
    fn nothing_hidden_leaves_a_page() {
        for (html, expected) in [
            ("<p>\u{202e}a\u{1b}</p>", "<p>\\u{202e}a␛</p>"),
            (
                "<p title=\"&#x202e;\">ä\u{1f469}\u{200d}\u{1f680}\n</p>",
                "<p title=\"&#x202e;\">ä\u{1f469}\u{200d}\u{1f680}\n</p>",
            ),
        ] {
            let mut bytes = b"\x1b".to_vec();
            bytes.extend_from_slice(html.as_bytes());
            guard(&mut bytes, 1);
            assert_eq!(String::from_utf8(bytes).unwrap(), format!("\u{1b}{expected}"));
        }
    }

    #[test]
    fn a_long_name_has_a_tooltip() {
        assert_eq!(name("shop").into_string(), "<bdi>shop</bdi>");
        let html = name(&"x".repeat(10_000)).into_string();
        assert!(html.contains("…</bdi>") && html.len() < NAME_BYTES + TITLE_CHARS + 100, "{html}");
    }

    #[test]
    fn it_takes_no_more_than_is_allowed() {
        for content in ["<\u{1}".repeat(1000), "\u{e0001}".repeat(1000), "x".repeat(1000)] {
            for max_bytes in [0, 30, 100, 1000] {
                let (PreEscaped(html), is_all) = text(&content, Breaks::Keep, max_bytes);
                assert!(html.len() <= max_bytes && !is_all, "{max_bytes}: {html}");
                assert_eq!(html.matches("<span").count(), html.matches("</span>").count(), "{html}");
            }
        }
        assert_eq!(line(&"x".repeat(100), 50).into_string(), format!("{}…", "x".repeat(34)));
    }
}
