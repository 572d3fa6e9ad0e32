//! [`Headers`]: the headers of requests with spans, among them secrets.

use std::cmp::Reverse;
use std::fmt;
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::SpanExportError;
use super::dropped::{DropReason, Failure};
use super::environment::decode;
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
            let invalid = || SpanExportError::Header { name: shown_name(name).to_owned() };
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

/// Returns the part of a name that an error shows. What follows the characters of a name can be a secret, as in
/// `Authorization: Basic …`.
fn shown_name(name: &str) -> &str {
    let is_of_name = |byte: char| byte.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(byte);
    name.trim().split(|character| !is_of_name(character)).next().unwrap_or_default()
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

/// The secrets of a request. A server may return what it received, and no log line shows them.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<Secret>);

impl Secrets {
    /// Returns the sensitive values of the headers, and the values of the query in a path.
    pub(super) fn of(headers: &HeaderMap, path: &str) -> Self {
        let mut secrets = Self::default();
        for value in headers.values().filter(|value| value.is_sensitive()) {
            let value = String::from_utf8_lossy(value.as_bytes());
            secrets.add(&value);
            // A scheme such as `Bearer` is not a secret.
            value
                .split_whitespace()
                .skip(usize::from(value.contains(' ')))
                .for_each(|word| secrets.add(word));
        }
        let (_, query) = path.split_once('?').unwrap_or_default();
        for (_, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            secrets.add(value);
            secrets.add(&decode(value).unwrap_or_default());
        }
        // A secret can contain another one.
        secrets.0.sort_by_key(|Secret(text)| Reverse(text.len()));
        secrets
    }

    fn add(&mut self, secret: &str) {
        /// A shorter value is not a secret, and could be a part of many words.
        const MIN_BYTES: usize = 6;
        if secret.len() >= MIN_BYTES {
            self.0.push(Secret(secret.to_owned()));
        }
    }

    /// Replaces the secrets in a text, which must be whole: a part of a secret is not found.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for Secret(secret) in self.0.iter() {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "REDACTED");
            }
        }
        text
    }
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
        let secrets = Secrets::of(&headers, "/v1/traces?key=s%C3%A9same7&a=b");
        assert!(!format!("{secrets:?}").contains("same"));
        let text =
            secrets.redact("got Bearer opensesame, and opensesame, from Bearer, s%C3%A9same7 or sésame7");
        assert_eq!(text, "got REDACTED, and REDACTED, from Bearer, REDACTED or REDACTED");
    }

    #[test]
    fn a_value_that_is_not_ascii_is_redacted() {
        let headers = headers(&[("x-key", "sésame ouvre-toi")]).unwrap().read().unwrap();
        assert_eq!(
            Secrets::of(&headers, "/").redact("<sésame ouvre-toi>, ouvre-toi"),
            "<REDACTED>, REDACTED"
        );
    }

    #[test]
    fn an_invalid_header_is_named() {
        for (name, expected) in [
            ("x-key", "x-key"),
            (" x key", "x"),
            ("Authorization: Basic dXNlcjpzZWNyZXQ", "Authorization"),
            ("Authorization Bearer secret", "Authorization"),
            ("", ""),
        ] {
            assert_eq!(shown_name(name), expected);
        }
        for (name, value) in [("x key", "secret"), ("", "secret"), ("x-key", "sec\nret")] {
            let error = headers(&[(name, value)]).unwrap_err().to_string();
            let shown = shown_name(name);
            assert_eq!(error, format!("the name or the value of the header {shown:?} is invalid"));
        }
    }
}
