//! An estimate for requests in JSON.

use std::mem::size_of;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;

/// What a request in JSON takes in memory when decoded, at most.
///
/// Every member and element but the first of its object or array comes after a comma, and every object that is not
/// the value of a member is an element, a span or a log record at most; deep nesting the decoder refuses. What is no JSON is left to
/// the decoder, too.
pub(crate) fn decoded_bytes(body: &[u8]) -> usize {
    /// A value in the buffer of the decoder, or a text with its allocation.
    const VALUE_BYTES: usize = 64;
    const ELEMENT_BYTES: usize = size_of::<Span>();
    const { assert!(ELEMENT_BYTES >= size_of::<LogRecord>()) }
    let mut decoded_bytes = body.len();
    let mut bytes = body.iter();
    let mut last = b' ';
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b',' => decoded_bytes += VALUE_BYTES,
            b'{' if last != b':' => decoded_bytes += ELEMENT_BYTES,
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            last = *byte;
        }
    }
    decoded_bytes
}
