//! The entries of a call that Cloud Logging has not written
//! (<https://cloud.google.com/logging/docs/reference/v2/rpc/google.logging.v2#writelogentriespartialerrors>).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::super::http::Reply;
use crate::deliver::{Chunk, DeliveryError, Denied, FailedItems};
use crate::truncate::truncate;

/// The size up to which a response is read. A call has at most 1000 entries, and an error is a sentence.
pub(super) const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// The length to which the message of an error is truncated.
const MAX_REASON_BYTES: usize = 500;

/// The member of a response that names entries.
const NAMES_ENTRIES: &[u8] = b"\"logEntryErrors\"";

/// The code of an error that is none of `google.rpc.Code`.
const UNKNOWN: i32 = 2;

#[derive(Deserialize)]
struct Body {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    details: Vec<Detail>,
}

/// A detail of `google.rpc.Status`. Only `WriteLogEntriesPartialErrors` is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(default)]
    log_entry_errors: BTreeMap<u32, EntryError>,
}

/// A `google.rpc.Status`.
#[derive(Debug, Deserialize)]
struct EntryError {
    #[serde(default)]
    code: i32,
    #[serde(default)]
    message: String,
}

/// Returns the items whose entries were not written, one group for each code, with the first message of the group. None if
/// the response does not name entries: then all or none were written.
///
/// # Errors
///
/// Fails if the response names entries that cannot all be found. Then nothing is known about any of them.
pub(super) fn failed(reply: &Reply, chunk: &Chunk) -> Result<Vec<FailedItems>, DeliveryError> {
    let unreadable = |what: &str| DeliveryError::Failed {
        reason: format!("HTTP {}: {what}", reply.status),
        retry_after: reply.retry_after(),
    };
    let names_entries = reply.body.windows(NAMES_ENTRIES.len()).any(|window| window == NAMES_ENTRIES);
    if reply.is_cut && (names_entries || reply.status.is_success()) {
        return Err(unreadable("the response is too long"));
    }
    if !names_entries {
        return Ok(Vec::new());
    }
    let Ok(Body { error }) = serde_json::from_slice(&reply.body) else {
        return Err(unreadable("the errors of the entries cannot be read"));
    };
    let errors: BTreeMap<u32, EntryError> =
        error.details.into_iter().flat_map(|detail| detail.log_entry_errors).collect();
    // The entries are in the order of the items.
    let chunks = chunk.by_index(|index| errors.get(&index).map(EntryError::known_code));
    if chunks.values().map(|chunk| chunk.items() as usize).sum::<usize>() != errors.len() {
        return Err(unreadable("it names entries that are not in the call"));
    }
    let mut messages: BTreeMap<i32, &str> = BTreeMap::new();
    for error in errors.values() {
        messages.entry(error.known_code()).or_insert(&error.message);
    }
    let failed = chunks.into_iter().map(|(code, chunk)| {
        let message = messages.get(&code).copied().unwrap_or_default();
        FailedItems { chunk, error: meaning(code, message, reply.retry_after()) }
    });
    Ok(failed.collect())
}

impl EntryError {
    /// Returns the `google.rpc.Code`, of which there are few.
    fn known_code(&self) -> i32 {
        if (1..=16).contains(&self.code) { self.code } else { UNKNOWN }
    }
}

/// Returns the meaning of a `google.rpc.Code`.
fn meaning(code: i32, message: &str, retry_after: Option<Duration>) -> DeliveryError {
    let reason = format!("gRPC code {code}: {}", truncate(message, MAX_REASON_BYTES));
    match code {
        // Cancelled, deadline exceeded, resource exhausted, aborted, unavailable.
        1 | 4 | 8 | 10 | 14 => DeliveryError::Unavailable { reason, retry_after },
        UNKNOWN | 13 => DeliveryError::Failed { reason, retry_after },
        // Not found, permission denied.
        5 | 7 => DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Resource },
        16 => DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Token },
        // No smaller part of the entries is accepted either.
        _ => DeliveryError::Undeliverable { reason },
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use prost::Message;
    use reqwest::StatusCode;
    use reqwest::header::{HeaderMap, RETRY_AFTER};
    use serde_json::{Value, json};

    use super::*;
    use crate::deliver::{Origin, Slice};
    use crate::otlp::Signal;

    /// A chunk with records of the times 0, 1, and so on.
    fn chunk(items: u32) -> Chunk {
        let record = |n: u32| LogRecord { time_unix_nano: n.into(), ..Default::default() };
        let scope_logs =
            vec![ScopeLogs { log_records: (0..items).map(record).collect(), ..Default::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
        let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        Chunk::new(Signal::Logs, Slice::new(Origin::Batch(1), items, body.into()))
    }

    fn reply(status: u16, body: &[u8]) -> Reply {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "7".parse().unwrap())]);
        let status = StatusCode::from_u16(status).unwrap();
        let read = body.get(..MAX_RESPONSE_BYTES).unwrap_or(body);
        Reply::new(status, &headers, read.to_vec().into(), read.len() < body.len(), MAX_RESPONSE_BYTES)
    }

    fn errors(errors: &Value) -> Vec<u8> {
        let details = json!([
            {"@type": "type.googleapis.com/google.rpc.Help"},
            {
                "@type": "type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors",
                "logEntryErrors": errors
            }
        ]);
        json!({"error": {"code": 400, "message": "no", "details": details}}).to_string().into_bytes()
    }

    fn times(chunk: &Chunk) -> Vec<u64> {
        let request = ExportLogsServiceRequest::decode(chunk.body()).unwrap();
        let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        scopes.flat_map(|scope| scope.log_records).map(|record| record.time_unix_nano).collect()
    }

    #[test]
    fn failed_entries_are_grouped_by_their_code() {
        let body = errors(&json!({
            "1": {"code": 3, "message": "too old"}, "4": {"code": 3, "message": "too large"},
            "2": {"code": 14, "message": "busy"}, "0": {"code": 99}
        }));
        let retry_after = Some(Duration::from_secs(7));
        let expected = [
            (DeliveryError::Failed { reason: "gRPC code 2: ".to_owned(), retry_after }, vec![0]),
            (DeliveryError::Undeliverable { reason: "gRPC code 3: too old".to_owned() }, vec![1, 4]),
            (DeliveryError::Unavailable { reason: "gRPC code 14: busy".to_owned(), retry_after }, vec![2]),
        ];
        for status in [200, 400, 503] {
            let failed = failed(&reply(status, &body), &chunk(5)).unwrap();
            let failed: Vec<_> = failed.into_iter().map(|it| (it.error, times(&it.chunk))).collect();
            assert_eq!(failed, expected, "{status}");
        }
    }

    #[test]
    fn the_errors_of_a_whole_call_fit() {
        let all: serde_json::Map<String, Value> = (0..1000)
            .map(|n| (n.to_string(), json!({"code": 14, "message": format!("{n} {}", "x".repeat(900))})))
            .collect();
        let failed = failed(&reply(200, &errors(&Value::Object(all))), &chunk(1000)).unwrap();
        assert_eq!(failed.iter().map(|it| it.chunk.items()).collect::<Vec<_>>(), [1000]);
    }

    #[test]
    fn entries_are_not_delivered_if_the_errors_cannot_all_be_read() {
        let long = errors(&json!({"1": {"code": 3, "message": "x".repeat(MAX_RESPONSE_BYTES)}}));
        let valid = errors(&json!({"1": {"code": 3}}));
        for (what, status, body) in [
            ("an index that is not in the call", 200, errors(&json!({"1": {"code": 3}, "9": {"code": 3}}))),
            ("an index that is not a number", 200, errors(&json!({"x": {"code": 3}}))),
            ("a list", 400, errors(&json!([{"code": 3}]))),
            ("half a response", 200, valid[..valid.len() - 5].to_vec()),
            ("too long", 400, long),
            ("a long success", 200, vec![b' '; MAX_RESPONSE_BYTES + 1]),
        ] {
            let error = failed(&reply(status, &body), &chunk(5)).unwrap_err();
            let DeliveryError::Failed { retry_after, .. } = error else { panic!("{what}: {error:?}") };
            assert_eq!(retry_after, Some(Duration::from_secs(7)), "{what}");
        }
        let long_page = "x".repeat(MAX_RESPONSE_BYTES + 1);
        for (status, body) in [
            (200, &b""[..]),
            (200, b"{}"),
            (200, b"<html>"),
            (403, br#"{"error":{"code":403,"message":"no"}}"#),
            (502, long_page.as_bytes()),
        ] {
            assert_eq!(failed(&reply(status, body), &chunk(5)), Ok(Vec::new()));
        }
    }
}
