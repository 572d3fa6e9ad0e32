//! [`Destination`]: one cluster of the exporter, and the delivery of the spans that it gets.
//!
//! Each cluster has its own buffer, callouts and back-off, so that one that is unavailable delays no other.

use core::time::Duration;
use std::sync::Mutex;

use logtracer_core::otlp::{self, InstrumentationScope};
use logtracer_core::span_buffer::SpanBuffer;

use crate::config::{Cluster, Exporter};
use crate::dropped_log::DroppedLog;
use crate::handover::{Handover, Heirs};
use crate::host::{ExportRequest, ExportResponse, Host, LogLevel, RootHost};
use crate::metrics::{self, Metric};
use crate::plugin::Plugin;
use crate::recovery::Recovery;
use crate::reporter::{Flush, MAX_ATTEMPTS, MAX_BATCHES, Reporter, Response, SendResult};
use crate::shared::lock;

/// A cluster of the exporter. The buffer of its spans is in [`Plugin::buffers`].
#[derive(Debug)]
pub(crate) struct Destination {
    cluster: Cluster,
    pub(crate) reporter: Reporter,
    /// `None` when the root is draining.
    handover: Option<Handover>,
    heirs: Heirs,
    dropped_log: DroppedLog,
}

impl Destination {
    /// Creates the destinations of a root, one for each buffer of the plugin.
    pub(crate) fn all(plugin: &Plugin) -> Vec<Self> {
        let of_exporter = |exporter: &Exporter| {
            let max_batches = (MAX_BATCHES / exporter.clusters.len().max(1)).max(1);
            let of_cluster = |cluster: &Cluster| Self {
                cluster: cluster.clone(),
                reporter: Reporter::new(max_batches, Recovery::of(exporter, cluster)),
                handover: Some(Handover::of(plugin, exporter, cluster)),
                heirs: Heirs::default(),
                dropped_log: DroppedLog::default(),
            };
            exporter.clusters.iter().map(of_cluster).collect()
        };
        plugin.config.exporter.as_ref().map(of_exporter).unwrap_or_default()
    }

    /// Buffers the spans that replaced roots left. They have counted them as buffered.
    pub(crate) fn adopt(&self, buffer: &Mutex<SpanBuffer>) {
        let Some(batch) = self.handover.as_ref().and_then(Handover::take) else { return };
        let mut buffer = lock(buffer);
        for span in batch.iter() {
            Plugin::count_dropped(buffer.push(|out| out.extend_from_slice(span)));
        }
    }

    /// Sends what is due.
    pub(crate) fn send(
        &mut self,
        host: &impl RootHost,
        plugin: &Plugin,
        buffer: &Mutex<SpanBuffer>,
        flush: Flush,
        now: u64,
    ) {
        let Some(exporter) = &plugin.config.exporter else { return };
        let was_failing = self.reporter.is_failing();
        let call = |spans: &[u8]| call_exporter(host, plugin, exporter, &self.cluster, spans);
        let result = self.reporter.flush(flush, now, random(host), buffer, plugin.batch_limits, call);
        if let Some(result) = result {
            self.report(host, result, None, was_failing);
        }
    }

    /// Handles the response to a callout; `None` if there is none, because the callout failed. Returns false if this
    /// destination has not made it.
    pub(crate) fn on_response(
        &mut self,
        host: &impl RootHost,
        buffer: &Mutex<SpanBuffer>,
        token: u32,
        response: Option<&ExportResponse>,
        now: u64,
    ) -> bool {
        let status = response.and_then(|response| response.status);
        let retry_after = response.filter(|_| status >= Some(400)).and_then(retry_after);
        let was_failing = self.reporter.is_failing();
        let handled = {
            let buffer = lock(buffer);
            self.reporter.on_response(token, Response { status, retry_after }, now, random(host), &buffer)
        };
        let Some((result, duration)) = handled else { return false };
        metrics::count(Metric::Callouts);
        metrics::add(Metric::CalloutMilliseconds, duration.as_millis() as i64);
        let result = match (result, response) {
            // The exporter may accept the request and reject single spans of it.
            (SendResult::Delivered(spans), Some(ExportResponse { body, .. })) if !body.is_empty() => {
                let rejected = otlp::rejected_spans(body).min(spans as u64) as usize;
                metrics::add(Metric::DroppedRejected, rejected as i64);
                SendResult::Delivered(spans - rejected)
            }
            (result, _) => result,
        };
        self.report(host, result, status, was_failing);
        true
    }

    /// Prepares the last attempt before the root ends. From now on other roots get what cannot be sent.
    pub(crate) fn drain(&mut self) {
        self.heirs = self.handover.take().map(Handover::end).unwrap_or_default();
        self.reporter.end_backoff();
    }

    /// From now on, no other root gets what cannot be sent.
    pub(crate) fn end(&mut self) {
        self.handover = None;
    }

    /// Leaves every span that is not delivered to another root. Returns the number of spans that are dropped.
    pub(crate) fn leave_remaining(&mut self, buffer: &Mutex<SpanBuffer>) -> usize {
        let buffered = lock(buffer).take_batch(usize::MAX, usize::MAX);
        let remaining = self.reporter.take_all().chain(buffered);
        self.heirs.leave(remaining)
    }

    /// Counts the spans of a result. Logs dropped spans, and the start and the end of an outage.
    fn report(&mut self, host: &impl RootHost, result: SendResult, status: Option<u16>, was_failing: bool) {
        let cluster = &self.cluster.name;
        match result {
            SendResult::Delivered(spans) => {
                metrics::add(Metric::SpansSent, spans as i64);
                if was_failing {
                    let message = format!("logtracer: delivery to the exporter resumed, cluster {cluster}");
                    host.log(LogLevel::Info, &message);
                }
            }
            SendResult::Retrying(spans) => {
                metrics::add(Metric::SpansRetried, spans as i64);
                if !was_failing {
                    let reason = status.map_or_else(
                        || "no connection, or no such cluster".to_owned(),
                        |status| format!("status {status}"),
                    );
                    let message =
                        format!("logtracer: exporter unavailable ({reason}), retrying, cluster {cluster}");
                    host.log(LogLevel::Warn, &message);
                }
            }
            SendResult::Split(spans) => metrics::add(Metric::SpansRetried, spans as i64),
            SendResult::TooLarge(spans) => {
                metrics::add(Metric::DroppedTooLarge, spans as i64);
                self.log_dropped(host, spans, "too large for the exporter");
            }
            SendResult::RequestRejected(spans) => {
                metrics::add(Metric::DroppedRefused, spans as i64);
                let status = status.unwrap_or_default();
                self.log_dropped(host, spans, &format!("rejected by the exporter (status {status})"));
            }
            SendResult::RetriesExhausted(spans) => {
                metrics::add(Metric::DroppedRetriesExhausted, spans as i64);
                self.log_dropped(host, spans, &format!("not delivered in {MAX_ATTEMPTS} attempts"));
            }
        }
    }

    fn log_dropped(&mut self, host: &impl Host, spans: usize, reason: &str) {
        if let Some(spans) = self.dropped_log.add(spans, host.monotonic_nanos()) {
            let cluster = &self.cluster.name;
            let message = format!("logtracer: dropped {spans} spans: {reason}, cluster {cluster}");
            host.log(LogLevel::Warn, &message);
        }
    }
}

/// Returns the `Retry-After` of a callout's response if it is a number of seconds; a date is ignored.
fn retry_after(response: &ExportResponse) -> Option<Duration> {
    let seconds = core::str::from_utf8(response.retry_after.as_ref()?).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Makes a callout with these spans. The request of the callout is never traced (`b3: 0`; see also
/// [`Exporter::is_export`]).
fn call_exporter(
    host: &impl RootHost,
    plugin: &Plugin,
    exporter: &Exporter,
    cluster: &Cluster,
    spans: &[u8],
) -> Option<u32> {
    let mut body = Vec::new();
    let scope = InstrumentationScope { name: "logtracer", version: env!("CARGO_PKG_VERSION") };
    let resource = |resource: &mut otlp::Attributes<'_>| {
        resource.text("service.name", &plugin.service_name);
        resource.text("gcp.project_id", plugin.project_id.as_deref().unwrap_or_default());
        for (key, value) in &plugin.resource {
            resource.text(key, value);
        }
    };
    otlp::write_request(&mut body, resource, scope, spans);
    let mut headers = vec![
        (":method", "POST"),
        (":path", exporter.path.as_str()),
        (":authority", cluster.authority.as_str()),
        ("content-type", "application/x-protobuf"),
        ("user-agent", Exporter::USER_AGENT),
        ("b3", "0"),
    ];
    headers.extend(exporter.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    host.send(&ExportRequest {
        cluster: &cluster.name,
        headers: &headers,
        body: &body,
        timeout: exporter.timeout,
    })
}

pub(crate) fn random(host: &impl Host) -> u64 {
    host.random().map_or(0, u64::from_le_bytes)
}
