//! Texts of any length on a page: cut by their size in HTML, where one character can take six bytes.

use maud::{Markup, html};

/// Returns the beginning of a text that takes at most `max_bytes` in HTML, and whether that is all of it.
pub(super) fn start(text: &str, max_bytes: usize) -> (&str, bool) {
    let mut bytes = 0;
    for (index, character) in text.char_indices() {
        bytes += escaped_bytes(character);
        if bytes > max_bytes {
            return (text.get(..index).unwrap_or_default(), false);
        }
    }
    (text, true)
}

/// Returns the size of a text in HTML.
pub(super) fn size(text: &str) -> usize {
    text.chars().map(escaped_bytes).sum()
}

/// Returns the size of a character, as maud escapes it.
const fn escaped_bytes(character: char) -> usize {
    match character {
        '"' => 6,
        '&' => 5,
        '<' | '>' => 4,
        _ => character.len_utf8(),
    }
}

/// What a part of a page may still take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance(usize);

impl Allowance {
    pub(super) const fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Returns the beginning of a text that is allowed, up to `max_bytes`, and whether that is all of it.
    pub(super) fn take<'a>(&mut self, text: &'a str, max_bytes: usize) -> (&'a str, bool) {
        let (start, is_all) = start(text, max_bytes.min(self.0));
        self.0 -= size(start).min(self.0);
        (start, is_all)
    }

    /// Takes this many bytes. Returns false if they are not allowed.
    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }

    pub(super) const fn left(self) -> usize {
        self.0
    }
}

/// The part of a name that is shown, and the part that its tooltip has, as sizes in HTML.
pub(super) const SHOWN_BYTES: usize = 240;
const TITLE_BYTES: usize = 2048;

/// Shows a name in one line, whatever it contains. A longer one ends with an ellipsis and has a tooltip.
pub(super) fn name(text: &str) -> Markup {
    let (shown, is_all) = start(text, SHOWN_BYTES);
    // A direction of the text or an override of it ends with the element.
    html! {
        @if is_all { bdi { (shown) } } @else { bdi title=(title(text)) { (shown) "…" } }
    }
}

/// Returns the text of a tooltip.
pub(super) fn title(text: &str) -> String {
    let (start, is_all) = start(text, TITLE_BYTES);
    format!("{start}{}", if is_all { "" } else { "…" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_their_size_in_html() {
        for (text, max_bytes, expected) in [
            ("", 0, ("", true)),
            ("abc", 3, ("abc", true)),
            ("abc", 2, ("ab", false)),
            ("aäb", 2, ("a", false)),
            ("<<<", 8, ("<<", false)),
            ("\"\"", 11, ("\"", false)),
            ("&a", 6, ("&a", true)),
        ] {
            assert_eq!(start(text, max_bytes), expected, "{text} {max_bytes}");
            let (start, _) = expected;
            assert_eq!(size(start), html! { (start) }.into_string().len().max(start.len()), "{start}");
        }
        let mut allowance = Allowance::new(10);
        assert_eq!((allowance.take("<<<", 100), allowance.left()), (("<<", false), 2));
        assert!(allowance.spend(2) && !allowance.spend(1));
    }

    #[test]
    fn a_long_name_has_a_tooltip() {
        assert_eq!(name("shop").into_string(), "<bdi>shop</bdi>");
        let long = "x".repeat(10_000);
        let html = name(&long).into_string();
        assert!(html.contains("…</bdi>") && html.len() < SHOWN_BYTES + TITLE_BYTES + 100, "{html}");
    }
}
