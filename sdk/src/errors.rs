//! The texts of errors and panics.

#[cfg(any(feature = "logging", feature = "server", feature = "client"))]
use std::any::Any;
use std::error::Error;
use std::fmt::{self, Write as _};

use logtracer_core::request::url;

/// An error with its causes, each once: `outer: inner: innermost`.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

/// The maximum number of causes. Further ones are omitted, because a chain of causes can be endless.
const MAX_CAUSES: usize = 16;

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        // If the error fails to format itself, its causes follow all the same.
        let _ = write!(text, "{}", self.0);
        let mut cause_text = String::new();
        for cause in causes(self.0) {
            cause_text.clear();
            let _ = write!(cause_text, "{cause}");
            // Many errors contain the text of their cause, as `#[error("cannot pay: {0}")]` does.
            if !contains_phrase(&text, &cause_text) {
                text.push_str(if text.is_empty() { "" } else { ": " });
                text.push_str(&cause_text);
            }
        }
        write_redacted(f, &text)
    }
}

/// Returns the causes of an error, up to [`MAX_CAUSES`].
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source()).take(MAX_CAUSES)
}

/// Returns true if the text contains the phrase, and not only as a part of a word. Every text contains the empty phrase.
fn contains_phrase(text: &str, phrase: &str) -> bool {
    let is_boundary = |neighbour: Option<char>| !neighbour.is_some_and(char::is_alphanumeric);
    phrase.is_empty()
        || text.match_indices(phrase).any(|(at, _)| {
            let (before, from) = text.split_at_checked(at).unwrap_or_default();
            let after = from.strip_prefix(phrase).unwrap_or_default();
            is_boundary(before.chars().next_back()) && is_boundary(after.chars().next())
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

/// Returns the text of a panic.
#[cfg(any(feature = "logging", feature = "server", feature = "client"))]
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

#[cfg(any(feature = "server", feature = "client"))]
pub(crate) use failure::{Failure, KnownErrors};

#[cfg(any(feature = "server", feature = "client"))]
mod failure {
    use std::any::{Any, TypeId, type_name};
    use std::borrow::Cow;
    use std::error::Error;
    use std::fmt::{self, Write as _};
    use std::io;
    use std::sync::Arc;

    use super::{Chain, MAX_CAUSES, causes, write_redacted};

    /// Returns the value as an error, if it has the type that the function knows.
    type Read = for<'a> fn(&'a dyn Any) -> Option<&'a (dyn Error + 'static)>;

    /// The error types that a layer knows besides those of [`BUILT_IN`]. Only of a known type the causes can be read,
    /// because the error of a service need not implement [`Error`]: a boxed error does not.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct KnownErrors(Option<Arc<[Read]>>);

    impl KnownErrors {
        pub(crate) fn add<E: Error + 'static>(&mut self) {
            self.add_function(read::<E>);
        }

        #[cfg(feature = "actix")]
        pub(crate) fn add_response_error<E: actix_web::ResponseError + Error + 'static>(&mut self) {
            self.add_function(read_actix::<E>);
        }

        fn add_function(&mut self, read: Read) {
            let known = self.0.iter().flat_map(|known| known.iter().copied());
            self.0 = Some(known.chain([read]).collect());
        }

        fn read<'a>(&self, any: &'a dyn Any) -> Option<&'a (dyn Error + 'static)> {
            let known = self.0.iter().flat_map(|known| known.iter());
            known.chain(BUILT_IN).find_map(|read| read(any))
        }
    }

    fn read<E: Error + 'static>(any: &dyn Any) -> Option<&(dyn Error + 'static)> {
        any.downcast_ref::<E>().map(|error| error as _)
    }

    #[cfg(feature = "actix")]
    fn read_actix<E: actix_web::ResponseError + Error + 'static>(
        any: &dyn Any,
    ) -> Option<&(dyn Error + 'static)> {
        any.downcast_ref::<actix_web::Error>()?.as_error::<E>().map(|error| error as _)
    }

    const BUILT_IN: &[Read] = &[
        |any| any.downcast_ref::<Box<dyn Error + Send + Sync>>().map(|error| &**error as _),
        |any| any.downcast_ref::<Box<dyn Error + Send>>().map(|error| &**error as _),
        |any| any.downcast_ref::<Box<dyn Error>>().map(|error| &**error),
        read::<io::Error>,
        #[cfg(feature = "reqwest")]
        read::<reqwest::Error>,
        #[cfg(feature = "reqwest-middleware")]
        read::<reqwest_middleware::Error>,
        #[cfg(feature = "axum")]
        read::<axum::Error>,
        #[cfg(feature = "hyper")]
        read::<hyper_util::client::legacy::Error>,
        #[cfg(feature = "hyper")]
        read::<hyper::Error>,
        #[cfg(feature = "tonic")]
        read::<tonic::transport::Error>,
        #[cfg(feature = "tonic")]
        read::<tonic::Status>,
        #[cfg(feature = "actix")]
        read_actix::<io::Error>,
        #[cfg(feature = "actix")]
        |any| {
            let error = any.downcast_ref::<actix_web::Error>()?.as_error::<Box<dyn Error>>();
            error.map(|error| &**error as _)
        },
    ];

    /// The failure of a service or a body, which need not be an [`Error`]. If its type is known, its causes follow.
    pub(crate) struct Failure<'a, E> {
        error: &'a E,
        known: Option<&'a (dyn Error + 'static)>,
    }

    impl<'a, E: fmt::Display + 'static> Failure<'a, E> {
        pub(crate) fn new(error: &'a E, known_errors: &KnownErrors) -> Self {
            Self { error, known: known_errors.read(error) }
        }

        /// Returns the value of the attribute `error.type`: `timeout`, the kind of an I/O error such as
        /// `connection_refused`, or the name of the type.
        ///
        /// <https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/#error-type>
        pub(crate) fn error_type(&self) -> Cow<'static, str> {
            if self.is_timeout() {
                return "timeout".into();
            }
            if let Some(kind) = self.io_error_kind() {
                return snake_case(&format!("{kind:?}")).into();
            }
            let has_no_type = [
                TypeId::of::<Box<dyn Error + Send + Sync>>(),
                TypeId::of::<Box<dyn Error + Send>>(),
                TypeId::of::<Box<dyn Error>>(),
                TypeId::of::<String>(),
                TypeId::of::<&'static str>(),
            ]
            .contains(&TypeId::of::<E>());
            // The value of the conventions for an error without an identifier.
            if has_no_type { "_OTHER".into() } else { type_name::<E>().into() }
        }

        /// Returns true for an error of a time limit. Most types of such errors are private to their crates, or of
        /// crates that are not a dependency, but their texts are stable.
        pub(crate) fn is_timeout(&self) -> bool {
            self.is_timeout_with(|text| TIMEOUT_TEXTS.iter().any(|part| text.contains(part)))
        }

        /// Returns true for an error of a time limit, not for one that only mentions a time limit.
        pub(crate) fn is_time_limit(&self) -> bool {
            self.is_timeout_with(|text| TIME_LIMIT_TEXTS.contains(&text))
        }

        fn is_timeout_with(&self, is_text: impl Fn(&str) -> bool) -> bool {
            let is_timeout = |error: &(dyn Error + 'static)| {
                let is_io_timeout = error
                    .downcast_ref::<io::Error>()
                    .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
                is_io_timeout || is_text(&text_of(error))
            };
            match self.known {
                Some(known) => is_timeout(known) || causes(known).any(is_timeout),
                None => is_text(&text_of(self.error)),
            }
        }

        /// Returns the kind of the innermost I/O error.
        fn io_error_kind(&self) -> Option<io::ErrorKind> {
            let known = self.known?;
            std::iter::once(known).chain(causes(known)).filter_map(io_error_kind).last()
        }
    }

    impl<E: fmt::Display> fmt::Display for Failure<'_, E> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.known {
                Some(error) => Chain(error).fmt(f),
                None => {
                    let mut text = String::new();
                    // With `#`, the errors of `anyhow` and `eyre` contain their causes. A failure must not panic.
                    let _ = write!(text, "{:#}", self.error);
                    write_redacted(f, &text)
                }
            }
        }
    }

    /// Returns the kind of an I/O error, or of the one in it, which `source` skips.
    fn io_error_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
        let io_errors = std::iter::successors(error.downcast_ref::<io::Error>(), |error| {
            error.get_ref().and_then(|inner| inner.downcast_ref())
        });
        let kinds = io_errors.take(MAX_CAUSES).map(io::Error::kind);
        kinds.filter(|kind| *kind != io::ErrorKind::Other).last()
    }

    /// Parts of the texts of errors of time limits.
    const TIMEOUT_TEXTS: [&str; 4] =
        ["timed out", "Timeout expired", "deadline has elapsed", "deadline exceeded"];

    /// The whole texts of the errors of tower and reqwest, tonic and tokio.
    const TIME_LIMIT_TEXTS: [&str; 4] =
        ["request timed out", "operation timed out", "Timeout expired", "deadline has elapsed"];

    /// Returns the text of an error. A failure must not panic.
    fn text_of(error: &(impl fmt::Display + ?Sized)) -> String {
        let mut text = String::new();
        let _ = write!(text, "{error}");
        text
    }

    /// `ConnectionRefused` becomes `connection_refused`.
    fn snake_case(name: &str) -> String {
        let mut out = String::new();
        for letter in name.chars() {
            if letter.is_ascii_uppercase() && !out.is_empty() {
                out.push('_');
            }
            out.push(letter.to_ascii_lowercase());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with this text, and with the next ones as its causes.
    #[derive(Debug)]
    struct Text(&'static str, Option<Box<Text>>);

    impl Text {
        fn of(texts: &[&'static str]) -> Self {
            let (first, causes) = texts.split_first().unwrap();
            Self(first, (!causes.is_empty()).then(|| Box::new(Self::of(causes))))
        }
    }

    impl fmt::Display for Text {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)?;
            if self.0 == "fails" { Err(fmt::Error) } else { Ok(()) }
        }
    }

    impl Error for Text {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

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
            let error = Text(text, None);
            assert_eq!(Chain(&error).to_string(), expected);
            #[cfg(any(feature = "server", feature = "client"))]
            assert_eq!(Failure::new(&error, &KnownErrors::default()).to_string(), expected);
        }
    }

    #[test]
    fn each_cause_is_written_once() {
        for (texts, expected) in [
            (&["a", "b", "c"][..], "a: b: c"),
            (&["disk gone", "disk gone", "disk gone"], "disk gone"),
            (
                &["cannot pay: refused (os error 111)", "refused (os error 111)"],
                "cannot pay: refused (os error 111)",
            ),
            (&["cannot pay: no route: os 1", "no route: os 1", "os 1"], "cannot pay: no route: os 1"),
            (&["cannot pay: no route", "no route", "os 1"], "cannot pay: no route: os 1"),
            (&["discarded", "disc"], "discarded: disc"),
            (&["full disc", "disc full"], "full disc: disc full"),
            (&["\u{e9}disc", "disc"], "\u{e9}disc: disc"),
            (&["", "refused", ""], "refused"),
            (&["fails", "refused"], "fails: refused"),
        ] {
            assert_eq!(Chain(&Text::of(texts)).to_string(), expected, "{texts:?}");
        }
        let endless = vec!["a"; 100];
        assert_eq!(Chain(&Text::of(&endless)).to_string(), "a");
    }

    #[cfg(any(feature = "server", feature = "client"))]
    #[test]
    fn types_of_errors() {
        type BoxError = Box<dyn Error + Send + Sync>;
        let known = KnownErrors::default();
        #[track_caller]
        fn check<E: fmt::Display + 'static>(error: E, known: &KnownErrors, expected: &str) {
            assert_eq!(Failure::new(&error, known).error_type(), expected);
        }
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        check(refused(), &known, "connection_refused");
        check(BoxError::from(std::io::Error::other(refused())), &known, "connection_refused");
        check(std::io::Error::from(std::io::ErrorKind::TimedOut), &known, "timeout");
        check(BoxError::from("deadline has elapsed"), &known, "timeout");
        check(BoxError::from("out of eggs"), &known, "_OTHER");
        check("out of eggs", &known, "_OTHER");
        let text = || Text::of(&["no payments", "request timed out"]);
        check(text(), &known, "logtracer_sdk::errors::tests::Text");
        let is_time_limit = |error: BoxError| Failure::new(&error, &known).is_time_limit();
        assert!(is_time_limit(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
        assert!(is_time_limit(BoxError::from("request timed out")));
        assert!(!is_time_limit(BoxError::from("no payments: request timed out")));
        let mut registered = known.clone();
        registered.add::<Text>();
        check(text(), &registered, "timeout");
        assert_eq!(Failure::new(&text(), &registered).to_string(), "no payments: request timed out");
    }
}
