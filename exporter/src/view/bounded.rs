//! Texts of any length on a page: cut by their size in HTML, where one character can take six bytes.

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

#[cfg(test)]
mod tests {
    use super::*;
    use maud::html;

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
}
