//! The JSON documents of a file, one after the other: the viewer's download is one, and a Collector writes one a line.

use serde::de::IgnoredAny;

use crate::otlp::Signal;
use crate::otlp::json::{Reader, Token};

/// A document, or what is in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// The line where it begins. The first line is 1.
    pub(super) line: usize,
    /// The document, or the reason why the text is not one.
    pub(super) text: Result<&'a str, String>,
}

/// Divides a text. After an error, the next document is on the next line that begins with an object.
pub(super) fn split(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut at, mut line, mut counted) = (0, 1, 0);
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let rest = rest.trim_start();
        let start = text.len() - rest.len();
        line += newlines(text.get(counted..start).unwrap_or_default());
        counted = start;
        if rest.is_empty() {
            break;
        }
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        let end = match values.next() {
            Some(Ok(_)) => Ok(values.byte_offset()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("it is empty".to_owned()),
        };
        match end {
            Ok(length) => {
                let document = rest.get(..length).unwrap_or_default();
                documents.push(Document { line, text: known(document) });
                at = start + length;
            }
            Err(reason) => {
                documents.push(Document { line, text: Err(format!("it is not OTLP/JSON: {reason}")) });
                at = rest.find("\n{").map_or(text.len(), |newline| start + newline + 1);
            }
        }
    }
    if documents.is_empty() {
        documents.push(Document { line: 1, text: Err("it is not OTLP/JSON: it is empty".to_owned()) });
    }
    documents
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// Returns a document if a signal is in it.
fn known(document: &str) -> Result<&str, String> {
    if has(Signal::Traces, document) || has(Signal::Logs, document) {
        return Ok(document);
    }
    Err("it is not OTLP/JSON: no \"resourceSpans\" and no \"resourceLogs\"".to_owned())
}

/// Returns whether a document has the list of a signal.
pub(super) fn has(signal: Signal, document: &str) -> bool {
    let names = match signal {
        Signal::Traces => ["resourceSpans", "resource_spans"],
        Signal::Logs => ["resourceLogs", "resource_logs"],
    };
    let Ok(mut reader) = Reader::new(document) else { return false };
    if reader.token() != Token::Object {
        return false;
    }
    while let Some(key) = reader.key() {
        if names.contains(&&*key.word()) {
            return true;
        }
        reader.skip();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(usize, Result<&str, &str>)]) {
        let documents = split(text);
        assert_eq!(documents.len(), expected.len(), "{documents:?}");
        for (document, (line, expected)) in documents.iter().zip(expected) {
            assert_eq!(document.line, *line, "{documents:?}");
            match (&document.text, expected) {
                (Ok(text), Ok(expected)) => assert_eq!(text, expected),
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
                (text, _) => panic!("{text:?}"),
            }
        }
    }

    #[test]
    fn a_bad_document_costs_no_other() {
        let good = r#"{"resourceSpans":[]}"#;
        let logs = r#"{ "a": 1, "resource_logs": null }"#;
        let pretty = "{\n  \"resourceSpans\": [\n    {}\n  ]\n}";
        let deep = format!(r#"{{"resourceSpans":[],"a":{}1e999{}}}"#, "[".repeat(150), "]".repeat(150));
        for (text, expected) in [
            (format!("{good}\n{logs}"), vec![(1, Ok(good)), (2, Ok(logs))]),
            (format!("{good}{good}\r\n\n"), vec![(1, Ok(good)), (1, Ok(good))]),
            (format!("\n{pretty}\n{good}"), vec![(2, Ok(pretty)), (7, Ok(good))]),
            (deep.clone(), vec![(1, Ok(&deep[..]))]),
            // A line that was cut.
            (
                format!("{good}\n{{\"resourceSpans\":[{{\"a\n{good}\n{{\"resourceSp"),
                vec![(1, Ok(good)), (2, Err("not OTLP/JSON")), (3, Ok(good)), (4, Err("not OTLP/JSON"))],
            ),
            (format!("# text\n{good}"), vec![(1, Err("expected")), (2, Ok(good))]),
            ("{}".to_owned(), vec![(1, Err("no \"resourceSpans\""))]),
            ("[]".to_owned(), vec![(1, Err("no \"resourceSpans\""))]),
            (String::new(), vec![(1, Err("empty"))]),
        ] {
            check(&text, &expected);
        }
    }
}
