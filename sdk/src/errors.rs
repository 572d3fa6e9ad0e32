//! What errors and panics say of themselves.

use std::any::Any;
use std::error::Error;
use std::fmt;

#[cfg(feature = "reqwest")]
use logtracer_core::request::url;

/// An error with its causes: `outer: inner: innermost`.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

/// An error whose causes go in a circle, or nearly so, does not fill the line.
const MAX_CAUSES: usize = 16;

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_link(f, self.0)?;
        let mut next = self.0.source();
        for _ in 0..MAX_CAUSES {
            let Some(cause) = next else { break };
            f.write_str(": ")?;
            write_link(f, cause)?;
            next = cause.source();
        }
        Ok(())
    }
}

/// One error of a chain; what stands in the query of a URL is told no more than in the line of its request.
fn write_link(f: &mut fmt::Formatter<'_>, error: &(dyn Error + 'static)) -> fmt::Result {
    #[cfg(feature = "reqwest")]
    if let Some(url) = url_of(error) {
        let mut redacted = Vec::new();
        url::write_url(&mut redacted, url.as_str().as_bytes(), url::Query::Redact);
        return f.write_str(&error.to_string().replace(url.as_str(), &String::from_utf8_lossy(&redacted)));
    }
    write!(f, "{error}")
}

/// The URL that an error tells.
#[cfg(feature = "reqwest")]
fn url_of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e reqwest::Url> {
    #[cfg(feature = "reqwest-middleware")]
    if let Some(reqwest_middleware::Error::Reqwest(error)) = error.downcast_ref() {
        return error.url();
    }
    error.downcast_ref::<reqwest::Error>()?.url()
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
            None => self.0.fmt(f),
        }
    }
}

/// What was said with `panic!`, which is a text in nearly all cases.
#[cfg(any(feature = "logging", feature = "server", feature = "client"))]
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}
