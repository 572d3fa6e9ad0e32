//! Texts of others in log lines: bounded, and without control characters.

use std::fmt::Write as _;

/// The maximum number of characters of a text that a line or an error shows.
const MAX_SHOWN_CHARS: usize = 200;

/// Returns the start of a text, with control characters as escapes.
pub(super) fn visible(text: &str) -> String {
    let text = text.trim();
    let mut shown = String::new();
    for character in text.chars().take(MAX_SHOWN_CHARS) {
        if character.is_control() || is_format(character) {
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
    }
    if text.chars().nth(MAX_SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// Returns true for characters that change how others are displayed: line separators, and directions of writing.
const fn is_format(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, expected) in [
            (" no\n", "no"),
            ("a\r\nb\u{1b}[31m", "a\\r\\nb\\u{1b}[31m"),
            ("\u{202e}a", "\\u{202e}a"),
            ("größe", "größe"),
        ] {
            assert_eq!(visible(text), expected);
        }
        assert_eq!(visible(&"ä".repeat(1000)), format!("{}…", "ä".repeat(200)));
    }
}
