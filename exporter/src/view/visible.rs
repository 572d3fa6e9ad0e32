//! Texts as people can trust them: what cannot be seen, or changes what is seen, is shown as a symbol.

use maud::{Markup, PreEscaped};

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
    for character in text.chars() {
        let symbol = symbol(character, breaks);
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
            Some(Symbol::Picture(picture)) => out.push(picture),
            Some(Symbol::Code(code)) => {
                // Cannot fail: a string takes all characters.
                let _ = std::fmt::Write::write_fmt(&mut out, format_args!("\\u{{{code:x}}}"));
            }
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
    let mut characters = text.chars();
    let mut out = String::new();
    for character in characters.by_ref().take(max_chars) {
        match symbol(character, breaks) {
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

/// The longest symbol, or escaped character.
const MAX_SYMBOL_BYTES: usize = 10;

/// What is shown instead of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Picture(char),
    /// The number of the character.
    Code(u32),
}

fn symbol(character: char, breaks: Breaks) -> Option<Symbol> {
    let code = u32::from(character);
    match character {
        '\n' | '\t' if breaks == Breaks::Keep => None,
        '\n' => Some(Symbol::Picture('↵')),
        '\t' => Some(Symbol::Picture('⇥')),
        '\0'..='\u{1f}' => char::from_u32(0x2400 + code).map(Symbol::Picture),
        '\u{7f}' => Some(Symbol::Picture('\u{2421}')),
        // Further controls, marks and overrides of the direction, and what takes no space. Joiners stay, because the
        // scripts and emoji that use them would fall apart.
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => Some(Symbol::Code(code)),
        _ => None,
    }
}

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
        assert_eq!(plain("a\u{202e}\u{1b}bcd", Breaks::Show, 4), "a\u{fffd}␛b…");
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
