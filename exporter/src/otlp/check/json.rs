//! Estimating the decoded size of a request in JSON.

use std::mem::size_of;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;

/// Returns an upper limit for the memory that a request in JSON takes when decoded.
///
/// Every member and element except the first of its object or array follows a comma. Every object that is not the value
/// of a member is an element of a list, at most as large as a span or a log record. Deep nesting and invalid JSON are
/// not checked here: the decoder rejects them.
pub(crate) fn decoded_bytes(body: &[u8]) -> usize {
    /// The size of a value in the buffer of the decoder, or of a text with its allocation.
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
