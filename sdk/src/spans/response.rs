//! [`Outcome`]: what the response of a receiver means for the spans of the request.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>
//!
//! Beyond the specification, a wrong token or a wrong endpoint is retried as well, because it is wrong for all spans
//! and an operator can correct it.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};
use logtracer_core::otlp;

use super::credentials::Secrets;
use super::dropped::{DropReason, Failure};
use super::endpoint::redact_url;
use super::http1::BodyPrefix;
use super::text::visible;

/// The result of one attempt to send spans.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The receiver has the spans, except for the rejected ones.
    Accepted { rejected_spans: u64, message: String },
    /// The request is too large.
    TooLarge(Failure),
    /// The same request will fail again.
    Rejected(Failure),
    /// A later attempt can succeed.
    Retry { failure: Failure, after: Option<Duration> },
}

impl Outcome {
    pub(super) fn retry(reason: DropReason, error: String) -> Self {
        Self::Retry { failure: Failure { reason, error }, after: None }
    }
}

/// Reads a response.
pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &BodyPrefix, secrets: &Secrets) -> Outcome {
    if status.is_success() {
        return read_success(status, headers, body, secrets);
    }
    let failure = |reason| Failure { reason, error: describe(status, headers, body, secrets) };
    let retry =
        |reason| Outcome::Retry { failure: failure(reason), after: retry_after(headers, SystemTime::now()) };
    match status.as_u16() {
        300..=399 => Outcome::Rejected(Failure {
            reason: DropReason::Redirected,
            error: describe_redirect(status, headers, secrets),
        }),
        413 => Outcome::TooLarge(failure(DropReason::TooLarge)),
        401 | 403 | 407 => retry(DropReason::Unauthorized),
        404 | 405 | 406 | 410 | 411 | 415 | 501 | 505 => retry(DropReason::WrongEndpoint),
        408 | 429 | 500.. => retry(DropReason::Unavailable),
        _ => Outcome::Rejected(failure(DropReason::Rejected)),
    }
}

/// A success with a page of HTML, or with a body that is not the message it claims to be, does not come from a
/// receiver of OTLP.
fn read_success(status: StatusCode, headers: &HeaderMap, body: &BodyPrefix, secrets: &Secrets) -> Outcome {
    let kind = ContentType::of(headers);
    let not_otlp = || {
        let error = format!("the response is not OTLP: {}", describe(status, headers, body, secrets));
        Outcome::retry(DropReason::WrongEndpoint, error)
    };
    match kind {
        ContentType::Html => return not_otlp(),
        ContentType::Other => {
            return Outcome::Accepted { rejected_spans: 0, message: String::new() };
        }
        ContentType::Json => {
            let rejected_spans = rejected_spans_of_json(&body.bytes);
            let message = if rejected_spans > 0 { error_text(kind, body, secrets) } else { String::new() };
            return Outcome::Accepted { rejected_spans, message };
        }
        ContentType::Protobuf => {}
    }
    match otlp::read_partial_success(&body.bytes) {
        Some(partial) => Outcome::Accepted {
            rejected_spans: partial.rejected_spans,
            message: shown(&String::from_utf8_lossy(partial.error_message), secrets),
        },
        // The number precedes the message, which can be too long to read.
        None if !body.is_complete => {
            Outcome::Accepted { rejected_spans: otlp::rejected_spans(&body.bytes), message: String::new() }
        }
        None => not_otlp(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentType {
    /// Also if there is no content type.
    Protobuf,
    Json,
    Html,
    Other,
}

impl ContentType {
    fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(header::CONTENT_TYPE) else { return Self::Protobuf };
        let value = value.to_str().unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        if is("application/x-protobuf") || is("application/protobuf") {
            Self::Protobuf
        } else if is("application/json") {
            Self::Json
        } else if is("text/html") || is("application/xhtml+xml") {
            Self::Html
        } else {
            Self::Other
        }
    }
}

/// Returns the status and the text of an error.
fn describe(status: StatusCode, headers: &HeaderMap, body: &BodyPrefix, secrets: &Secrets) -> String {
    match error_text(ContentType::of(headers), body, secrets) {
        text if text.is_empty() => status.to_string(),
        text => format!("{status}: {text}"),
    }
}

/// Returns the message of a `google.rpc.Status`, or the start of any other text.
fn error_text(kind: ContentType, body: &BodyPrefix, secrets: &Secrets) -> String {
    let message = match kind {
        ContentType::Protobuf => otlp::read_error_message(&body.bytes),
        _ => None,
    };
    shown(&String::from_utf8_lossy(message.unwrap_or(&body.bytes)), secrets)
}

/// Returns the start of a text without secrets: they are replaced before the text is cut.
fn shown(text: &str, secrets: &Secrets) -> String {
    visible(&secrets.redact(text))
}

fn describe_redirect(status: StatusCode, headers: &HeaderMap, secrets: &Secrets) -> String {
    match headers.get(header::LOCATION).and_then(|location| location.to_str().ok()) {
        Some(location) => format!("{status} to {}", shown(&redact_url(location), secrets)),
        None => status.to_string(),
    }
}

/// Returns the time until the `Retry-After`, which is a number of seconds or a date; zero for a date that has passed.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

/// Returns the number in `"rejectedSpans": "3"`, which may also be without quotes.
fn rejected_spans_of_json(body: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(body);
    let Some((_, rest)) = text.split_once("\"rejectedSpans\"") else { return 0 };
    let number = rest.trim_start_matches([' ', '\t', '\r', '\n', ':', '"']);
    let end = number.find(|character: char| !character.is_ascii_digit()).unwrap_or(number.len());
    number.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const STATUS: &[u8] = b"\x08\x03\x12\x08no name\n";

    fn outcome(status: u16, content_type: &'static str, body: &[u8]) -> Outcome {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let body = BodyPrefix { bytes: body.to_vec(), is_complete: true };
        read(StatusCode::from_u16(status).unwrap(), &headers, &body, &Secrets::default())
    }

    #[test]
    fn failures() {
        use DropReason::{Redirected, Rejected, TooLarge, Unauthorized, Unavailable, WrongEndpoint};
        for (status, content_type, body, expected, error) in [
            (400, "application/x-protobuf", STATUS, Rejected, "400 Bad Request: no name"),
            (400, "", STATUS, Rejected, "400 Bad Request: no name"),
            (400, "text/plain", b"bad\x07", Rejected, "400 Bad Request: bad\\u{7}"),
            (
                400,
                "application/json",
                b"{\"message\":\"no\"}",
                Rejected,
                "400 Bad Request: {\"message\":\"no\"}",
            ),
            (422, "", b"", Rejected, "422 Unprocessable Entity"),
            (302, "text/html", b"<p>", Redirected, "302 Found"),
            (413, "", b"", TooLarge, "413 Payload Too Large"),
            (401, "", b"", Unauthorized, "401 Unauthorized"),
            (403, "", b"", Unauthorized, "403 Forbidden"),
            (407, "", b"", Unauthorized, "407 Proxy Authentication Required"),
            (404, "text/plain", b"not found", WrongEndpoint, "404 Not Found: not found"),
            (405, "", b"", WrongEndpoint, "405 Method Not Allowed"),
            (415, "", b"", WrongEndpoint, "415 Unsupported Media Type"),
            (501, "", b"", WrongEndpoint, "501 Not Implemented"),
            (408, "", b"", Unavailable, "408 Request Timeout"),
            (429, "", b"", Unavailable, "429 Too Many Requests"),
            (500, "", b"", Unavailable, "500 Internal Server Error"),
            (503, "", b"", Unavailable, "503 Service Unavailable"),
        ]
            as [(u16, &str, &[u8], DropReason, &str); 18]
        {
            let failure = Failure { reason: expected, error: error.into() };
            let expected = match expected {
                Redirected | Rejected => Outcome::Rejected(failure),
                TooLarge => Outcome::TooLarge(failure),
                _ => Outcome::Retry { failure, after: None },
            };
            assert_eq!(outcome(status, content_type, body), expected);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_450);
        for (text, expected) in [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(30)),
            ("Wednesday, 21-Oct-15 07:28:00 GMT", Some(30)),
            ("Wed Oct 21 07:28:00 2015", Some(30)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);

        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_str(&date).unwrap())]);
        let outcome =
            read(StatusCode::SERVICE_UNAVAILABLE, &headers, &BodyPrefix::default(), &Secrets::default());
        let Outcome::Retry { after: Some(after), .. } = outcome else { panic!("{outcome:?}") };
        assert!((50..=60).contains(&after.as_secs()), "{after:?}");
    }

    #[test]
    fn successes() {
        let accepted =
            |rejected_spans, message: &str| Outcome::Accepted { rejected_spans, message: message.into() };
        let partial: &[u8] = &[0x0a, 6, 0x08, 3, 0x12, 2, b'n', b'o'];
        let json = br#"{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "no"}}"#;
        for (content_type, body, expected) in [
            ("", b"", accepted(0, "")),
            ("application/x-protobuf", b"", accepted(0, "")),
            ("application/x-protobuf", partial, accepted(3, "no")),
            ("", partial, accepted(3, "no")),
            ("application/json", b"{}", accepted(0, "")),
            ("application/json; charset=utf-8", json, accepted(3, std::str::from_utf8(json).unwrap())),
            ("text/plain", b"accepted", accepted(0, "")),
        ] as [(&str, &[u8], Outcome); 7]
        {
            assert_eq!(outcome(200, content_type, body), expected);
        }
        for (content_type, body) in
            [("text/html; charset=utf-8", "<html>"), ("application/x-protobuf", "<html>"), ("", "<html>")]
        {
            let error = "the response is not OTLP: 200 OK: <html>".to_owned();
            let expected = Outcome::retry(DropReason::WrongEndpoint, error);
            assert_eq!(outcome(200, content_type, body.as_bytes()), expected);
        }
    }

    /// Its message is longer than what is read.
    #[test]
    fn a_truncated_partial_success() {
        let body = BodyPrefix { bytes: vec![0x0a, 127, 0x08, 3, 0x12, 120, b'n'], is_complete: false };
        let expected = Outcome::Accepted { rejected_spans: 3, message: String::new() };
        assert_eq!(read(StatusCode::OK, &HeaderMap::new(), &body, &Secrets::default()), expected);
    }

    /// Also one that is longer than what is shown, or that crosses the end of it.
    #[test]
    fn a_response_that_returns_a_secret() {
        let token = "t0k3n-".repeat(100);
        let mut headers = HeaderMap::new();
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
        let secrets = Secrets::of(&headers, "/v1/traces?key=open-sesame");
        let before = "x".repeat(195);
        for (body, expected) in [
            (format!("token {token} is wrong"), "token REDACTED is wrong".to_owned()),
            (format!("{before} {token}"), format!("{before} REDA…")),
            (format!("{before} open-sesame"), format!("{before} REDA…")),
        ] {
            let body = BodyPrefix { bytes: body.into_bytes(), is_complete: true };
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            let outcome = read(StatusCode::BAD_REQUEST, &headers, &body, &secrets);
            let error = format!("400 Bad Request: {expected}");
            assert_eq!(outcome, Outcome::Rejected(Failure { reason: DropReason::Rejected, error }));
        }
    }

    #[test]
    fn a_redirect_shows_no_secret() {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_static("https://me:secret@login/?token=secret"));
        let Outcome::Rejected(failure) =
            read(StatusCode::FOUND, &headers, &BodyPrefix::default(), &Secrets::default())
        else {
            panic!("not rejected");
        };
        assert_eq!(failure.error, "302 Found to https://login/?token=REDACTED");
    }
}
