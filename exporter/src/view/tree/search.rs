//! Finds a text in spans and lines, whatever the case of its ASCII letters.

use logtracer_core::SpanId;

use crate::otlp::in_place::{Attributes, RecordRef, SpanRef};
use crate::otlp::json;
use crate::store::{LineContent, LineRow, contains_text};

/// A longer number, list or object is searched up to here.
const MAX_VALUE_BYTES: usize = 4096;

/// What is searched for.
#[derive(Debug)]
pub(in crate::view) struct Search(String);

impl Search {
    /// Returns `None` if there is nothing to search for.
    pub(in crate::view) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(super) fn finds_span(&self, id: SpanId, span: &SpanRef<'_>, service: &str) -> bool {
        [span.name, service, span.status_message, span.trace_state].into_iter().any(|text| self.is_in(text))
            || self.is_in(&id.to_string())
            || self.is_in_attributes(span.attributes())
            || span.events().any(|event| self.is_in(event.name) || self.is_in_attributes(event.attributes()))
    }

    pub(super) fn finds_line(&self, row: &LineRow<'_>) -> bool {
        match row.content {
            LineContent::File { severity, message, line } => {
                [severity, message, line].into_iter().any(|text| self.is_in(text))
                    // The JSON can have escapes.
                    || (line.contains('\\') && self.is_in(&json::unescaped(line)))
            }
            LineContent::Record { body, .. } => {
                RecordRef::new(body).has_text(MAX_VALUE_BYTES, |text| self.is_in(text))
            }
        }
    }

    fn is_in_attributes(&self, attributes: Attributes<'_>) -> bool {
        attributes.has_text(MAX_VALUE_BYTES, |text| self.is_in(text))
    }

    fn is_in(&self, text: &str) -> bool {
        contains_text(text.as_bytes(), self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_of_letters_does_not_matter() {
        for (text, wanted, expected) in [
            ("GET /basket", "BASKET", true),
            ("GET /basket", "get /b", true),
            ("GET /basket", "baskets", false),
            ("", "a", false),
            ("zürich", "ZüRICH", true),
        ] {
            assert_eq!(Search::new(wanted).unwrap().is_in(text), expected, "{wanted} in {text}");
        }
        assert!(Search::new("  ").is_none());
    }

    #[test]
    fn a_line_is_searched_without_the_escapes_of_json() {
        let line = r#"{"user":"No\u00ebl","path":"a\/b","said":"\"hi\""}"#;
        let content = LineContent::File { severity: "INFO", message: "m", line };
        let row = LineRow { key: "7-1".parse().unwrap(), span_id: None, content };
        for (wanted, expected) in [("no\u{eb}l", true), ("A/b", true), ("\"hi\"", true), ("a//b", false)] {
            assert_eq!(Search::new(wanted).unwrap().finds_line(&row), expected, "{wanted}");
        }
    }
}
