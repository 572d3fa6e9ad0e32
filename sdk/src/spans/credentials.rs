//! [`Headers`]: the headers of requests with spans, among them secrets.

use std::fmt;
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::SpanExportError;
use super::dropped::{DropReason, Failure};
use super::text::visible;

/// A text that no log line and no `Debug` shows.
#[derive(Clone)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("REDACTED")
    }
}

/// The headers that the application adds to each request.
#[derive(Debug, Clone, Default)]
pub(super) struct Headers {
    /// All values are marked as sensitive.
    fixed: HeaderMap,
    token_file: Option<PathBuf>,
}

impl Headers {
    /// # Errors
    ///
    /// If a name or a value is invalid, or if the file has no token.
    pub(super) fn new(
        headers: &[(String, Secret)],
        token_file: Option<PathBuf>,
    ) -> Result<Self, SpanExportError> {
        let mut fixed = HeaderMap::new();
        for (name, value) in headers {
            let invalid = || SpanExportError::Header { name: visible(name) };
            let header = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| invalid())?;
            let value = sensitive(&value.0).ok_or_else(invalid)?;
            fixed.insert(header, value);
        }
        if let Some(path) = &token_file {
            read_token(path).map_err(|source| SpanExportError::TokenFile { path: path.clone(), source })?;
        }
        Ok(Self { fixed, token_file })
    }

    /// Returns the headers of one request. The token is read again, because it may have been rotated.
    pub(super) fn read(&self) -> Result<HeaderMap, Failure> {
        let mut headers = self.fixed.clone();
        if let Some(path) = &self.token_file {
            let failure = |error: &dyn fmt::Display| Failure {
                reason: DropReason::Unauthorized,
                error: visible(&format!("cannot read the token file {}: {error}", path.display())),
            };
            let token = read_token(path).map_err(|error| failure(&error))?;
            let value = sensitive(&format!("Bearer {}", token.0));
            headers.insert(header::AUTHORIZATION, value.ok_or_else(|| failure(&"the token is invalid"))?);
        }
        Ok(headers)
    }
}

/// Returns the value of a header, without spaces around it.
fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns the first line of the file that is not empty. While a token is rotated, the file of the exporter has two.
fn read_token(path: &Path) -> std::io::Result<Secret> {
    let text = std::fs::read_to_string(path)?;
    let token = text.lines().map(str::trim).find(|line| !line.is_empty());
    let token = token.filter(|token| sensitive(token).is_some());
    let invalid =
        || std::io::Error::new(std::io::ErrorKind::InvalidData, "expected a token in its first line");
    token.map(|token| Secret(token.to_owned())).ok_or_else(invalid)
}

/// Replaces the secrets of a request in the text of its response, because a server may return what it received.
pub(super) fn redact(mut text: String, headers: &HeaderMap) -> String {
    /// A shorter value is no secret, and could be a part of many words.
    const MIN_SECRET_BYTES: usize = 6;
    let values =
        headers.values().filter(|value| value.is_sensitive()).filter_map(|value| value.to_str().ok());
    for value in values {
        let words = value.split_whitespace().skip(usize::from(value.contains(' ')));
        for secret in [value].into_iter().chain(words).filter(|secret| secret.len() >= MIN_SECRET_BYTES) {
            if text.contains(secret) {
                text = text.replace(secret, "REDACTED");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Result<Headers, SpanExportError> {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).into(), Secret((*value).into()))).collect();
        Headers::new(&pairs, None)
    }

    #[test]
    fn no_value_is_shown() {
        let headers = headers(&[("x-key", "open sesame"), ("X-KEY", " Bearer opensesame ")]).unwrap();
        assert!(!format!("{headers:?} {:?}", Secret("sesame".into())).contains("sesame"));
        let headers = headers.read().unwrap();
        assert_eq!(headers["x-key"], "Bearer opensesame");
        let text = redact("got Bearer opensesame, and opensesame, from Bearer".into(), &headers);
        assert_eq!(text, "got REDACTED, and REDACTED, from Bearer");
    }

    #[test]
    fn an_invalid_header_is_named() {
        for (name, value) in [("x key", "secret"), ("", "secret"), ("x-key", "sec\nret")] {
            let error = headers(&[(name, value)]).unwrap_err().to_string();
            assert_eq!(error, format!("the name or the value of the header {name:?} is invalid"));
        }
    }
}
