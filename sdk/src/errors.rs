//! What errors and panics say of themselves.

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Write as _};

use logtracer_core::request::url;

/// An error with its causes: `outer: inner: innermost`.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

/// An error whose causes go in a circle, or nearly so, does not fill the line.
const MAX_CAUSES: usize = 16;

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        // An error that fails to print itself has its causes all the same.
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

/// What stands before the URL in an error of reqwest, whatever the error is wrapped in.
const BEFORE_URL: &str = "for url (";

/// Writes what errors say; the query of a URL is told no more than in the line of its request.
fn write_redacted(f: &mut fmt::Formatter<'_>, mut text: &str) -> fmt::Result {
    while let Some((before, rest)) = text.split_once(BEFORE_URL) {
        // A URL has no space in it, but may have brackets of its own.
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

/// What a service or a body has failed with, which need not be an [`Error`]: with its causes where it is one of the
/// types that are told apart here, as boxed errors are.
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
                // It may fail to print itself, which is no reason to panic.
                let _ = write!(text, "{}", self.0);
                write_redacted(f, &text)
            }
        }
    }
}

/// What was said with `panic!`, which is a text in nearly all cases.
#[cfg(any(feature = "logging", feature = "server", feature = "client"))]
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error that says this, and has no cause.
    #[derive(Debug)]
    struct Says(&'static str);

    impl fmt::Display for Says {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)?;
            if self.0 == "fails" { Err(fmt::Error) } else { Ok(()) }
        }
    }

    impl Error for Says {}

    #[test]
    fn urls_in_texts_tell_no_query() {
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
            assert_eq!(Chain(&Says(text)).to_string(), expected);
            #[cfg(any(feature = "server", feature = "client"))]
            assert_eq!(Failure(&Says(text)).to_string(), expected);
        }
    }
}
