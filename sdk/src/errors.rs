//! The texts of errors and panics.

#[cfg(any(feature = "logging", feature = "server", feature = "client"))]
use std::any::Any;
use std::error::Error;
use std::fmt::{self, Write as _};

use logtracer_core::request::url;

/// An error with its causes: `outer: inner: innermost`.
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
            let _ = write!(text, ": {cause}");
            next = cause.source();
        }
        write_redacted(f, &text)
    }
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
}
