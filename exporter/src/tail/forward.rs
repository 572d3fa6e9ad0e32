//! Appends log lines to the outbox as log records, for the sinks that take them.
//!
//! An outbox that is full, or cannot be written, stops the tail: the files keep the lines.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::runtime::Handle;

use super::host::Host;
use super::log_record::{self, OVERHEAD_BYTES};
use super::record_id::RecordId;
use crate::clock;
use crate::log::{self, Value};
use crate::metrics::Metrics;
use crate::otlp::Items;
use crate::outbox::{AppendError, BatchContent, Outbox};
use crate::shutdown::Shutdown;
use crate::storage::DirectoryId;
use crate::store::{LogLine, service_of_line};

/// The maximum size of a request, unless it has one line only.
const MAX_REQUEST_BYTES: usize = 1 << 20;

/// A record of a line of the maximum length fits. A longer text, in which U+FFFD replaces single bytes, is truncated.
const MAX_RECORD_BYTES: usize = MAX_REQUEST_BYTES + (64 << 10);

/// The maximum number of records in a request, because a record takes more memory than its bytes.
const MAX_RECORDS: usize = 4096;

/// An outbox that does not take a request of this size is too small for the tail.
const MIN_REQUEST_BYTES: usize = 2 * OVERHEAD_BYTES;

/// What a resource and its lists add to the size of a request, beside the name of the service.
const RESOURCE_BYTES: usize = 64;

/// The lines are not in the outbox, and the reason is logged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blocked;

/// A handle to the outbox.
#[derive(Debug, Clone)]
pub(crate) struct Forward {
    outbox: Outbox,
    runtime: Handle,
    metrics: Arc<Metrics>,
    directory: DirectoryId,
    host: Arc<Host>,
    /// Nothing is appended after it has begun. `None` for lines that cannot be read again.
    stop: Option<Shutdown>,
    /// The outage is logged.
    is_blocked: Arc<AtomicBool>,
}

impl Forward {
    /// Returns `None` if no sink takes the lines.
    pub(super) fn new(
        outbox: Outbox,
        dir: &Path,
        host: Host,
        metrics: Arc<Metrics>,
        stop: Shutdown,
    ) -> Option<Self> {
        let is_taken = outbox.takes(BatchContent::TailedLogs);
        is_taken.then(|| Self {
            outbox,
            runtime: Handle::current(),
            metrics,
            directory: DirectoryId::open(dir),
            host: Arc::new(host),
            stop: Some(stop),
            is_blocked: Arc::default(),
        })
    }

    /// Returns a handle that also appends during the shutdown.
    pub(super) fn until_the_end(&self) -> Self {
        Self { stop: None, ..self.clone() }
    }

    /// Returns the id of the data directory.
    pub(super) fn directory(&self) -> DirectoryId {
        self.directory
    }

    /// Counts and logs lines that no sink gets, because the exporter ends before the outbox has taken them.
    pub(super) fn count_dropped(&self, lines: usize) {
        self.outbox.count_dropped(&self.metrics, BatchContent::TailedLogs, lines as u64, "shutdown");
    }

    /// Appends the lines that are not in the outbox yet, and adds their number to `appended`. Blocks.
    pub(super) fn append(
        &self,
        lines: &[LogLine],
        ids: &[RecordId],
        appended: &mut usize,
    ) -> Result<(), Blocked> {
        let of_batch = lines.len();
        let mut max_bytes = MAX_RECORD_BYTES;
        while let (Some(lines @ [_, ..]), Some(ids)) = (lines.get(*appended..), ids.get(*appended..)) {
            if self.stop.as_ref().is_some_and(Shutdown::has_begun) {
                return Err(Blocked);
            }
            let (body, items) = request(lines, ids, &self.host, clock::unix_nanos(), max_bytes);
            let length = body.len();
            let appending = self.outbox.append(BatchContent::TailedLogs, body, items);
            match self.runtime.block_on(appending) {
                Ok(()) => {
                    *appended += items as usize;
                    self.metrics.received.add(Items { spans: 0, log_records: items.into() });
                    max_bytes = MAX_RECORD_BYTES;
                    if *appended == of_batch {
                        self.report_resumed();
                    }
                }
                // The size after the compression counts, which is known only then.
                Err(AppendError::TooLarge { .. }) if length / 2 >= MIN_REQUEST_BYTES => {
                    max_bytes = length / 2;
                }
                Err(error) => {
                    self.report_blocked(&error);
                    return Err(Blocked);
                }
            }
        }
        Ok(())
    }

    fn report_blocked(&self, error: &AppendError) {
        if *error != AppendError::Closed && !self.is_blocked.swap(true, Ordering::Relaxed) {
            let fields = [("error", Value::Str(&error.to_string()))];
            log::warn("tail paused", &fields);
        }
    }

    fn report_resumed(&self) {
        if self.is_blocked.swap(false, Ordering::Relaxed) {
            log::info("tail resumed", &[]);
        }
    }
}

/// Returns a request with the first of these lines, at least one, and their number. A record is at most `max_bytes` long.
fn request(lines: &[LogLine], ids: &[RecordId], host: &Host, now: u64, max_bytes: usize) -> (Bytes, u32) {
    let host_bytes: usize = host.attributes.iter().map(|attribute| attribute.encoded_len() + 4).sum();
    let mut request = ExportLogsServiceRequest::default();
    let mut indexes: HashMap<Option<Cow<'_, str>>, usize> = HashMap::new();
    let (mut bytes, mut items) = (0, 0);
    for (line, id) in lines.iter().zip(ids).take(MAX_RECORDS) {
        let service = service_of_line(&line.message);
        let max_record_bytes = max_bytes.saturating_sub(MIN_REQUEST_BYTES / 2);
        let record = log_record::convert(line, *id, host.project.as_deref(), now, max_record_bytes);
        let name_bytes = service.as_ref().map_or(0, |name| name.len());
        let is_new = !indexes.contains_key(&service);
        bytes += record.encoded_len() + 8 + if is_new { name_bytes + RESOURCE_BYTES + host_bytes } else { 0 };
        if items > 0 && bytes > max_bytes.min(MAX_REQUEST_BYTES) {
            break;
        }
        items += 1;
        let index = *indexes.entry(service.clone()).or_insert(request.resource_logs.len());
        if is_new {
            let resource = Some(resource(service.as_deref(), host));
            let scope_logs = vec![ScopeLogs::default()];
            request.resource_logs.push(ResourceLogs { resource, scope_logs, ..ResourceLogs::default() });
        }
        let scope = request.resource_logs.get_mut(index).and_then(|logs| logs.scope_logs.first_mut());
        if let Some(scope) = scope {
            scope.log_records.push(record);
        }
    }
    (request.encode_to_vec().into(), items)
}

fn resource(service: Option<&str>, host: &Host) -> Resource {
    let service = service.map(|name| log_record::string("service.name", name.to_owned()));
    let attributes = service.into_iter().chain(host.attributes.iter().cloned()).collect();
    Resource { attributes, ..Resource::default() }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList};

    use super::*;
    use crate::otlp::Signal;
    use crate::otlp::check::{CheckResult, check};
    use crate::otlp::json::any::MAX_DEPTH;
    use crate::tail::line::parse;
    use crate::tail::record_id::Source;

    /// A line whose objects have this depth, as a request.
    fn nested(depth: usize) -> Bytes {
        let json = format!("{}{{\"leaf\":1}}{}", r#"{"object":"#.repeat(depth - 1), "}".repeat(depth - 1));
        let line = parse(json.as_bytes(), 7).unwrap();
        let source = Source { path: b"log", head: b"", offset: 0 };
        let id = RecordId::of(DirectoryId::OF_TESTS, source, &line);
        request(&[line], &[id], &Host::default(), 9, MAX_RECORD_BYTES).0
    }

    fn attributes(body: Bytes) -> usize {
        let request = ExportLogsServiceRequest::decode(body).unwrap();
        request.resource_logs[0].scope_logs[0].log_records[0].attributes.len()
    }

    #[test]
    fn the_deepest_line_that_is_converted_is_accepted_by_a_receiver() {
        let deepest = nested(MAX_DEPTH);
        assert_eq!(check(Signal::Logs, &deepest), CheckResult::Valid { items: 1 });
        assert_eq!(attributes(deepest.clone()), 2);
        // One level more is not converted, and would not be accepted.
        let deeper = nested(MAX_DEPTH + 1);
        assert_eq!((check(Signal::Logs, &deeper), attributes(deeper)), (CheckResult::Valid { items: 1 }, 1));
        let mut request = ExportLogsServiceRequest::decode(deepest).unwrap();
        let record = &mut request.resource_logs[0].scope_logs[0].log_records[0];
        let values = std::mem::take(&mut record.attributes);
        let value = Some(AnyValue { value: Some(Any::KvlistValue(KeyValueList { values })) });
        record.attributes.push(KeyValue { key: "object".to_owned(), value, key_strindex: 0 });
        assert_eq!(check(Signal::Logs, &request.encode_to_vec()), CheckResult::Invalid);
    }
}
