//! Text for a terminal.

use std::io::IsTerminal;

use jiff::Timestamp;
use serde_json::Value;

use crate::view::visible::characters;

/// Whether the output has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint(bool);

#[derive(Debug, Clone, Copy)]
pub(super) enum Colour {
    Red,
    Yellow,
    Cyan,
    Dim,
    Bold,
}

impl Paint {
    /// Colours are for terminals, unless `NO_COLOR` is set. See <https://no-color.org/>.
    pub(super) fn of_stdout() -> Self {
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(std::io::stdout().is_terminal() && !is_refused)
    }

    pub(super) fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Red => "31",
            Colour::Yellow => "33",
            Colour::Cyan => "36",
            Colour::Dim => "2",
            Colour::Bold => "1",
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Paints a severity, or a status.
    pub(super) fn severity(self, severity: &str) -> String {
        let padded = format!("{severity:<8}");
        match severity {
            "ERROR" | "CRITICAL" | "ALERT" | "EMERGENCY" => self.paint(Colour::Red, &padded),
            "WARNING" => self.paint(Colour::Yellow, &padded),
            "DEBUG" | "DEFAULT" => self.paint(Colour::Dim, &padded),
            _ => padded,
        }
    }
}

/// Makes a text safe for a terminal: control characters and overrides of the direction become visible. A longer text is
/// cut.
pub(super) fn clean(text: &str, max_chars: usize) -> String {
    let mut cleaned = String::new();
    for (index, (c, is_hidden)) in characters(text).enumerate() {
        if index >= max_chars {
            cleaned.push('…');
            break;
        }
        match c {
            '\n' | '\t' | '\r' => cleaned.push(' '),
            c if is_hidden => cleaned.extend(c.escape_unicode()),
            c => cleaned.push(c),
        }
    }
    cleaned
}

/// Returns a member that is a text, or an empty text.
pub(super) fn text<'a>(json: &'a Value, member: &str) -> &'a str {
    json[member].as_str().unwrap_or_default()
}

/// Returns a member that is a number of nanoseconds as text.
pub(super) fn nanos(json: &Value, member: &str) -> u64 {
    text(json, member).parse().unwrap_or(0)
}

/// Formats a time in UTC.
pub(super) fn time(unix_nano: u64) -> String {
    let timestamp = Timestamp::from_nanosecond(i128::from(unix_nano)).unwrap_or_default();
    timestamp.strftime("%Y-%m-%d %H:%M:%S.%3f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_controls_the_terminal() {
        assert_eq!(clean("a\x1b[31m\nb\u{202e}c", 100), "a\\u{1b}[31m b\\u{202e}c");
        assert_eq!(clean("abcdef", 3), "abc…");
        assert_eq!(clean("abc", 3), "abc");
    }

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(Paint(false).severity("ERROR"), "ERROR   ");
        assert_eq!(Paint(true).paint(Colour::Red, "x"), "\x1b[31mx\x1b[0m");
    }
}
