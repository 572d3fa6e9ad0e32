//! Decoding: the bytes of a request become a batch, which is protobuf and contains only valid spans.
//!
//! A valid protobuf body is stored unchanged: [`check::examine`] reads it without decoding it.
//! JSON, and a protobuf body with invalid parts or without times, is written again, with a permit for the memory that
//! this takes.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::body::{BufferedBody, spawn_if_large};
use super::budget::Budget;
use super::error::RequestError;
use super::memory::Permit;
use super::zipkin::json as zipkin;
use crate::clock;
use crate::otlp::Signal;
use crate::otlp::check::{self, CheckResult, MAX_DECODED_BYTES, Needs};
use crate::otlp::left_out::{LeftOut, Reason};
use crate::otlp::{arrival, json, mend, merge};

/// The format of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Protobuf(Signal),
    Json(Signal),
    /// A list of spans of Zipkin's v2 API.
    Zipkin,
}

/// A batch for the outbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ValidBatch {
    pub(super) signal: Signal,
    /// The export request of the signal as protobuf, with valid items only.
    pub(super) body: Bytes,
    pub(super) items: u32,
    pub(super) left_out: LeftOut,
}

impl Format {
    pub(super) const fn signal(self) -> Signal {
        match self {
            Self::Protobuf(signal) | Self::Json(signal) => signal,
            Self::Zipkin => Signal::Traces,
        }
    }

    /// Returns the name for messages.
    const fn name(self) -> &'static str {
        match self {
            Self::Protobuf(Signal::Traces) => "an ExportTraceServiceRequest in protobuf",
            Self::Protobuf(Signal::Logs) => "an ExportLogsServiceRequest in protobuf",
            Self::Json(Signal::Traces) => "an ExportTraceServiceRequest in JSON",
            Self::Json(Signal::Logs) => "an ExportLogsServiceRequest in JSON",
            Self::Zipkin => "a list of Zipkin v2 spans in JSON",
        }
    }

    fn malformed(self, error: impl fmt::Display) -> RequestError {
        RequestError::Malformed { expected: self.name(), error: error.to_string() }
    }
}

/// What the first pass over a body finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checked {
    /// The body can be stored unchanged.
    Valid { items: u32 },
    /// The body has to be written again, which takes at most this memory beside the body.
    Rewrite { max_bytes: usize },
}

/// Turns a request into a batch. The returned permit is for the body of the batch.
///
/// Permits go along with work on another thread, because that continues if the request is cancelled.
pub(super) async fn decode(
    budget: &Budget,
    format: Format,
    body: BufferedBody,
) -> Result<(ValidBatch, Permit), RequestError> {
    let (mut body, checked) = spawn_if_large(body.bytes.len(), move || {
        let checked = check_body(format, &body.bytes)?;
        Ok((body, checked))
    })
    .await?;
    let mut max_bytes = match checked {
        Checked::Valid { items } => {
            let BufferedBody { bytes, permit } = body;
            let left_out = LeftOut::default();
            return Ok((ValidBatch { signal: format.signal(), body: bytes, items, left_out }, permit));
        }
        Checked::Rewrite { max_bytes } => max_bytes,
    };
    loop {
        let decoding_permit = budget.acquire_decoding(max_bytes).await?;
        let (returned, result) = spawn_if_large(body.bytes.len(), move || {
            let result = rewrite(format, &body.bytes, max_bytes);
            Ok(((body, decoding_permit), result))
        })
        .await?;
        let _until_the_body_is_replaced;
        (body, _until_the_body_is_replaced) = returned;
        match result {
            // Unusual spans, and items without a time, take more than expected.
            Err(RequestError::TooLargeDecoded) if max_bytes < MAX_DECODED_BYTES => {
                max_bytes = MAX_DECODED_BYTES;
            }
            Err(error) => return Err(error),
            Ok((bytes, items, left_out)) => {
                let BufferedBody { bytes, permit } = body.replaced_by(bytes)?;
                return Ok((ValidBatch { signal: format.signal(), body: bytes, items, left_out }, permit));
            }
        }
    }
}

pub(super) fn check_body(format: Format, body: &[u8]) -> Result<Checked, RequestError> {
    if let Format::Protobuf(signal) = format {
        return match check::examine(signal, body) {
            (CheckResult::Valid { items }, Needs { times: false, merge: false }) => {
                Ok(Checked::Valid { items })
            }
            (CheckResult::Valid { .. }, needs) => {
                let merged_bytes = if needs.merge { merge::merged_bytes(body) } else { 0 };
                let max_bytes = merged_bytes + arrival::completed_bytes(signal, body);
                Ok(Checked::Rewrite {
                    max_bytes: if needs.merge { max_bytes.min(MAX_DECODED_BYTES) } else { max_bytes },
                })
            }
            (CheckResult::Invalid, _) => Ok(Checked::Rewrite { max_bytes: mend::written_bytes(body) }),
            (result, _) => Err(request_error(result)),
        };
    }
    let text_bytes = json::text_bytes(body);
    // Text that is UTF-8 is not copied.
    let copied_bytes = if text_bytes == body.len() { 0 } else { text_bytes };
    let written_bytes = match format {
        Format::Zipkin => zipkin::usual_bytes(text_bytes),
        _ => json::written_bytes(text_bytes),
    };
    // The syntax is checked before anything is written.
    let max_bytes = copied_bytes + written_bytes.max(json::check_bytes(body));
    Ok(Checked::Rewrite {
        max_bytes: if format == Format::Zipkin { max_bytes.min(MAX_DECODED_BYTES) } else { max_bytes },
    })
}

/// Converts a result other than [`CheckResult::Valid`]. What is written here is valid, unless it is too large.
fn request_error(result: CheckResult) -> RequestError {
    match result {
        CheckResult::TooManyItems => RequestError::TooManyItems,
        _ => RequestError::TooLargeDecoded,
    }
}

/// Writes a request as protobuf, without the parts that are invalid and with the times that are missing. Returns it with
/// the number of its items.
pub(super) fn rewrite(
    format: Format,
    body: &[u8],
    max_bytes: usize,
) -> Result<(Vec<u8>, u32, LeftOut), RequestError> {
    let now = clock::unix_nanos();
    let (body, left_out) = match format {
        Format::Protobuf(signal) if matches!(check::check(signal, body), CheckResult::Valid { .. }) => {
            (Cow::Borrowed(body), LeftOut::default())
        }
        Format::Protobuf(signal) => owned(mend::mend(signal, body).map_err(|reason| match reason {
            Reason::OutOfRange => RequestError::TooLargeDecoded,
            reason => format.malformed(reason.as_str()),
        })?),
        Format::Json(signal) => {
            owned(json::to_protobuf(signal, &json::text(body)).map_err(|error| format.malformed(error))?)
        }
        Format::Zipkin => {
            let text = json::text(body);
            let copied_bytes = if matches!(text, Cow::Owned(_)) { text.len() } else { 0 };
            let max_bytes = max_bytes.saturating_sub(copied_bytes);
            owned(zipkin::convert(&text, now, max_bytes).map_err(|error| match error {
                zipkin::ConvertError::Malformed(error) => format.malformed(error),
                zipkin::ConvertError::TooManySpans => RequestError::TooManyItems,
                zipkin::ConvertError::TooLarge => RequestError::TooLargeDecoded,
            })?)
        }
    };
    let (body, items) = completed(format.signal(), body, now, max_bytes)?;
    Ok((body, items, left_out))
}

fn owned((body, left_out): (Vec<u8>, LeftOut)) -> (Cow<'static, [u8]>, LeftOut) {
    (Cow::Owned(body), left_out)
}

/// Writes a request with each field once, and with the times that are missing. Returns it with the number of its items.
fn completed(
    signal: Signal,
    mut body: Cow<'_, [u8]>,
    now: u64,
    max_bytes: usize,
) -> Result<(Vec<u8>, u32), RequestError> {
    let (CheckResult::Valid { items }, needs) = check::examine(signal, &body) else {
        return Err(request_error(check::check(signal, &body)));
    };
    // What was received is not part of the memory.
    let written = |body: &Cow<'_, [u8]>| if matches!(body, Cow::Owned(_)) { body.len() } else { 0 };
    if needs.merge {
        if written(&body) + merge::merged_bytes(&body) > max_bytes {
            return Err(RequestError::TooLargeDecoded);
        }
        body = Cow::Owned(merge::merge(signal, &body).map_err(|_| RequestError::TooLargeDecoded)?);
    }
    if needs.times {
        if written(&body) + arrival::completed_bytes(signal, &body) > max_bytes {
            return Err(RequestError::TooLargeDecoded);
        }
        body = Cow::Owned(arrival::complete(signal, &body, now));
    }
    Ok((body.into_owned(), items))
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
