//! `OTEL_EXPORTER_OTLP_HEADERS`: `name=value,name=value`, percent-encoded
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specifying-headers-via-environment-variables>).

use anyhow::{Context, anyhow};
use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// Parses the headers. An error names the header, never its value.
pub(super) fn parse(text: &str) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').context("expected name=value, and commas between such pairs")?;
        let name = name.trim();
        let not_valid = |what: &str| anyhow!("the {what} of the header {name:?} is not valid");
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| not_valid("name"))?;
        let value = decode(value.trim()).ok_or_else(|| not_valid("value"))?;
        let mut value = HeaderValue::from_bytes(&value).map_err(|_| not_valid("value"))?;
        value.set_sensitive(true);
        headers.append(header, value);
    }
    Ok(headers)
}

/// Decodes `%XX`. Returns `None` if a `%` has no two digits.
fn decode(text: &str) -> Option<Vec<u8>> {
    let is_complete = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    let is_valid = text.split('%').skip(1).all(is_complete);
    is_valid.then(|| percent_decode_str(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_parsed() {
        let headers = parse(" api-key = secret%20key ,x-scope=a=b,,").unwrap();
        assert_eq!(
            (&headers["api-key"], &headers["x-scope"]),
            (&HeaderValue::from_static("secret key"), &HeaderValue::from_static("a=b"))
        );
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn an_error_does_not_show_the_value() {
        for (text, message) in [
            ("secret", "expected name=value, and commas between such pairs"),
            ("a b=secret", "the name of the header \"a b\" is not valid"),
            ("a=secret%", "the value of the header \"a\" is not valid"),
            ("a=secret%0a", "the value of the header \"a\" is not valid"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
    }
}
