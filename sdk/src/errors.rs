//! The texts of errors and panics.

#[cfg(any(feature = "logging", feature = "server", feature = "client"))]
use std::any::Any;
use std::error::Error;
use std::fmt::{self, Write as _};

use logtracer_core::request::url;

/// An error with its causes, each once: `outer: inner: innermost`.
///
/// Many errors write their cause themselves, or have the text of their cause: such a cause is not repeated.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

/// The maximum number of causes. Further ones are omitted, because a chain of causes can be endless.
const MAX_CAUSES: usize = 16;

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        // If the error fails to format itself, its causes follow all the same.
        let _ = write!(text, "{}", self.0);
        let mut next = self.0.source();
        for _ in 0..MAX_CAUSES {
            let Some(cause) = next else { break };
            let end = text.len();
            let _ = write!(text, ": {cause}");
            let (before, added) = text.split_at_checked(end).unwrap_or_default();
            if includes(before, added.strip_prefix(": ").unwrap_or_default()) {
                text.truncate(end);
            }
            next = cause.source();
        }
        write_redacted(f, &text)
    }
}

/// Returns true if a text has another one in it, as whole words.
fn includes(text: &str, part: &str) -> bool {
    let is_edge = |neighbour: Option<char>| !neighbour.is_some_and(char::is_alphanumeric);
    part.is_empty()
        || text.match_indices(part).any(|(start, _)| {
            let (before, rest) = text.split_at_checked(start).unwrap_or_default();
            is_edge(before.chars().next_back()) && is_edge(rest.chars().nth(part.chars().count()))
        })
}

/// The text before the URL in an error of reqwest.
const BEFORE_URL: &str = "for url (";

/// Writes the text of an error, with the query of each URL redacted as in the line of the request.
fn write_redacted(f: &mut fmt::Formatter<'_>, mut text: &str) -> fmt::Result {
    while let Some((before, rest)) = text.split_once(BEFORE_URL) {
        // A URL contains no space, but it may contain parentheses.
        let word = rest.split(char::is_whitespace).next().unwrap_or_default();
        let end = word.rfind(')').unwrap_or(word.len());
        let (url, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let mut redacted = Vec::new();
        url::write_url(&mut redacted, url.as_bytes(), url::Query::default());
        write!(f, "{before}{BEFORE_URL}{}", String::from_utf8_lossy(&redacted))?;
        text = after;
    }
    f.write_str(text)
}

/// The failure of a service or a body, which need not be an [`Error`]. If it has one of the known types, such as a
/// boxed error, its causes follow.
#[cfg(any(feature = "server", feature = "client"))]
pub(crate) struct Failure<'a, E>(pub(crate) &'a E);

#[cfg(any(feature = "server", feature = "client"))]
impl<E: fmt::Display + 'static> fmt::Display for Failure<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any: &dyn Any = self.0;
        let error: Option<&(dyn Error + 'static)> = None
            .or_else(|| any.downcast_ref::<Box<dyn Error + Send + Sync>>().map(|error| &**error as _))
            .or_else(|| any.downcast_ref::<Box<dyn Error + Send>>().map(|error| &**error as _))
            .or_else(|| any.downcast_ref::<Box<dyn Error>>().map(|error| &**error))
            .or_else(|| any.downcast_ref::<std::io::Error>().map(|error| error as _));
        #[cfg(feature = "reqwest")]
        let error = error.or_else(|| any.downcast_ref::<reqwest::Error>().map(|error| error as _));
        #[cfg(feature = "reqwest-middleware")]
        let error = error.or_else(|| any.downcast_ref::<reqwest_middleware::Error>().map(|error| error as _));
        #[cfg(feature = "axum")]
        let error = error.or_else(|| any.downcast_ref::<axum::Error>().map(|error| error as _));
        match error {
            Some(error) => Chain(error).fmt(f),
            None => {
                let mut text = String::new();
                // A failure of the formatting must not panic.
                let _ = write!(text, "{}", self.0);
                write_redacted(f, &text)
            }
        }
    }
}

/// Returns the text of a panic.
#[cfg(any(feature = "logging", feature = "server", feature = "client"))]
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with this text, without a cause.
    #[derive(Debug)]
    struct Text(&'static str);

    impl fmt::Display for Text {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)?;
            if self.0 == "fails" { Err(fmt::Error) } else { Ok(()) }
        }
    }

    impl Error for Text {}

    #[test]
    fn queries_of_urls_are_redacted() {
        for (text, expected) in [
            ("refused", "refused"),
            ("fails", "fails"),
            ("for url (", "for url ("),
            ("for url (http://a/?b=c)", "for url (http://a/?b=REDACTED)"),
            (
                "x for url (http://me:pw@a/?b=c): refused (os 1)",
                "x for url (http://a/?b=REDACTED): refused (os 1)",
            ),
            ("for url (http://a/(b)?c=d)e) (f)", "for url (http://a/(b)?c=REDACTED) (f)"),
            ("for url (http://a/?b=c", "for url (http://a/?b=REDACTED"),
            ("for url (/a?b=c) for url (/a?b=c)", "for url (/a?b=REDACTED) for url (/a?b=REDACTED)"),
        ] {
            assert_eq!(Chain(&Text(text)).to_string(), expected);
            #[cfg(any(feature = "server", feature = "client"))]
            assert_eq!(Failure(&Text(text)).to_string(), expected);
        }
    }

    /// An error that writes this, with a cause.
    #[derive(Debug)]
    struct Caused(&'static str, Option<Box<Caused>>);

    impl fmt::Display for Caused {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Caused {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn each_cause_is_there_once() {
        for (texts, expected) in [
            (&["outer", "inner"][..], "outer: inner"),
            (&["disk gone", "disk gone", "disk gone"], "disk gone"),
            (&["disk gone", "disk gone", "os error 5"], "disk gone: os error 5"),
            (&["cannot open: disk gone", "disk gone"], "cannot open: disk gone"),
            (&["cannot open (disk gone)", "disk gone", "os error 5"], "cannot open (disk gone): os error 5"),
            (&["a: b: c", "b: c", "c"], "a: b: c"),
            (&["a", "b: c", "c"], "a: b: c"),
            (&["", "", "late"], ": late"),
            // Part of a word is not the cause.
            (&["timeouts", "timeout"], "timeouts: timeout"),
            (&["x1", "1"], "x1: 1"),
            (&["é1é 1", "1"], "é1é 1"),
        ] {
            let error =
                texts.iter().rev().fold(None, |cause, text| Some(Box::new(Caused(text, cause)))).unwrap();
            assert_eq!(Chain(&*error).to_string(), expected, "{texts:?}");
        }
    }
}
