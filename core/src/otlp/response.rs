//! What a receiver of OTLP returns: [`read_partial_success`] and [`read_error_message`].
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>

/// The part of a request that a receiver did not accept.
///
/// ```
/// use logtracer_core::otlp::{PartialSuccess, read_partial_success};
///
/// // partial_success { rejected_spans: 3, error_message: "no" }
/// let body = [0x0a, 6, 0x08, 3, 0x12, 2, b'n', b'o'];
/// let expected = PartialSuccess { rejected_spans: 3, error_message: b"no" };
/// assert_eq!(read_partial_success(&body), Some(expected));
/// assert_eq!(read_partial_success(b""), Some(PartialSuccess::default())); // all spans are accepted
/// assert_eq!(read_partial_success(b"<html>"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartialSuccess<'m> {
    /// The number of spans that the receiver rejected. It must not be sent again.
    pub rejected_spans: u64,
    /// Why it rejected them, in UTF-8; or a warning, if it rejected none.
    pub error_message: &'m [u8],
}

/// Reads an `ExportTraceServiceResponse`. Returns `None` if the body is not a protobuf message.
pub fn read_partial_success(response: &[u8]) -> Option<PartialSuccess<'_>> {
    if !is_message(response) {
        return None;
    }
    let message = partial_success(response);
    let error_message = Fields(message).find_map(|field| field.bytes_of(partial_success::ERROR_MESSAGE));
    Some(PartialSuccess {
        rejected_spans: rejected_spans_of(message),
        error_message: error_message.unwrap_or_default(),
    })
}

/// Returns the number of rejected spans in an `ExportTraceServiceResponse`, and 0 for any other body.
///
/// The response may be truncated: the number precedes the error message, which can have any length.
///
/// ```
/// // partial_success { rejected_spans: 3 }
/// assert_eq!(logtracer_core::otlp::rejected_spans(&[0x0a, 2, 0x08, 3]), 3);
/// assert_eq!(logtracer_core::otlp::rejected_spans(b"<html>"), 0);
/// ```
pub fn rejected_spans(response: &[u8]) -> u64 {
    rejected_spans_of(partial_success(response))
}

/// Returns the message of a `google.rpc.Status`, which is the body of an error. Returns `None` for any other body.
///
/// ```
/// use logtracer_core::otlp::read_error_message;
///
/// // code: 3, message: "no"
/// assert_eq!(read_error_message(&[0x08, 3, 0x12, 2, b'n', b'o']), Some(b"no".as_slice()));
/// assert_eq!(read_error_message(b"not found"), None);
/// ```
pub fn read_error_message(status: &[u8]) -> Option<&[u8]> {
    if !is_message(status) {
        return None;
    }
    Fields(status).find_map(|field| field.bytes_of(status::MESSAGE))
}

/// Returns the message `ExportTracePartialSuccess`, empty if there is none.
fn partial_success(response: &[u8]) -> &[u8] {
    Fields(response).find_map(|field| field.bytes_of(export_response::PARTIAL_SUCCESS)).unwrap_or_default()
}

fn rejected_spans_of(partial_success: &[u8]) -> u64 {
    Fields(partial_success)
        .find_map(|field| match field {
            Field { number: partial_success::REJECTED_SPANS, value: FieldValue::Number(number) } => {
                Some(number)
            }
            _ => None,
        })
        // A negative number is invalid.
        .filter(|number| i64::try_from(*number).is_ok())
        .unwrap_or(0)
}

/// Returns true if all of these bytes are fields of a message.
fn is_message(bytes: &[u8]) -> bool {
    let mut fields = Fields(bytes);
    while !fields.0.is_empty() {
        match fields.read() {
            Some((field, Extent::Whole)) if field.number != 0 => {}
            _ => return false,
        }
    }
    true
}

mod export_response {
    pub(super) const PARTIAL_SUCCESS: u64 = 1;
}
mod partial_success {
    pub(super) const REJECTED_SPANS: u64 = 1;
    pub(super) const ERROR_MESSAGE: u64 = 2;
}
mod status {
    pub(super) const MESSAGE: u64 = 2;
}

/// An iterator over the fields of a message, up to the first malformed one. A truncated field ends with the input.
struct Fields<'m>(&'m [u8]);

struct Field<'m> {
    number: u64,
    value: FieldValue<'m>,
}

impl<'m> Field<'m> {
    fn bytes_of(&self, number: u64) -> Option<&'m [u8]> {
        match self.value {
            FieldValue::Bytes(bytes) if self.number == number => Some(bytes),
            _ => None,
        }
    }
}

/// How much of a field is there.
enum Extent {
    Whole,
    /// The field is longer than the input.
    Truncated,
}

enum FieldValue<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

impl<'m> Fields<'m> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, length: usize) -> Option<&'m [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Reads the next field, and whether it is all there.
    fn read(&mut self) -> Option<(Field<'m>, Extent)> {
        let tag = self.varint()?;
        let mut extent = Extent::Whole;
        let value = match tag & 7 {
            0 => FieldValue::Number(self.varint()?),
            1 => FieldValue::Bytes(self.bytes(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                if length > self.0.len() {
                    extent = Extent::Truncated;
                }
                FieldValue::Bytes(self.bytes(length.min(self.0.len()))?)
            }
            5 => FieldValue::Bytes(self.bytes(4)?),
            _ => return None,
        };
        Some((Field { number: tag >> 3, value }, extent))
    }
}

impl<'m> Iterator for Fields<'m> {
    type Item = Field<'m>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().map(|(field, _)| field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// The body of an error is a `google.rpc.Status`, or a page of a proxy.
    #[test]
    fn messages_of_errors() {
        for (body, expected) in [
            (b"\x08\x03\x12\x02no".as_slice(), Some(b"no".as_slice())),
            (b"\x12\x02no\x08\x03", Some(b"no")),
            (b"\x12\x00", Some(b"")),
            (b"\x08\x03", None),           // no message
            (b"", None),                   // no message
            (b"\x08\x03\x12\x03no", None), // longer than the body
            (b"\x10\x02", None),           // the message is a number
            (b"not found", None),
        ] {
            assert_eq!(read_error_message(body), expected, "{body:?}");
        }
    }
}
