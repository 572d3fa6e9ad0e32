//! [`Root`]: one configuration in one worker. It sends the spans of its streams to the exporter.

use core::time::Duration;
use std::sync::Arc;

use logtracer_core::otlp::{self, InstrumentationScope};

use crate::config::{Config, Exporter};
use crate::dropped_log::DroppedLog;
use crate::handover::{Handover, Heirs};
use crate::host::{ExportRequest, ExportResponse, Host, LogLevel, NodeHost, RootHost};
use crate::metrics::{self, Metric, SharedGauge};
use crate::node::Node;
use crate::plugin::Plugin;
use crate::recovery::Recovery;
use crate::reporter::{Flush, MAX_ATTEMPTS, Reporter, Response, SendResult};
use crate::shared::lock;

/// The longest time between two ticks, and so between two updates of the metrics.
const MAX_TICK: Duration = Duration::from_secs(5);
/// The same in an outage: a tick finds that another root has delivered a batch, or that the buffer has become full.
const OUTAGE_TICK: Duration = Duration::from_millis(500);

/// One configuration in one worker.
#[derive(Debug)]
pub struct Root {
    plugin: Arc<Plugin>,
    reporter: Reporter,
    dropped_log: DroppedLog,
    /// When the whole buffer is sent next.
    flush_at: u64,
    spans_held: SharedGauge,
    callouts_in_flight: SharedGauge,
    /// `None` without an exporter, and when the root is draining.
    handover: Option<Handover>,
    heirs: Heirs,
    is_draining: bool,
}

impl Root {
    /// Reads the configuration and what the proxy knows about itself. Logs an error and returns `None` if the
    /// configuration is invalid; the proxy then rejects it, too.
    pub fn configure(host: &(impl RootHost + NodeHost), json: &[u8]) -> Option<Self> {
        match Config::parse(json) {
            Ok(config) => {
                let node = Node::read(host);
                let config = config.for_node(&node, |key| Node::label(host, key));
                Some(Self::new(host, config, node))
            }
            Err(error) => {
                host.log(LogLevel::Error, &format!("logtracer: configuration rejected: {error}"));
                None
            }
        }
    }

    /// Starts to send spans in intervals.
    pub fn new(host: &impl RootHost, config: Config, node: Node) -> Self {
        let plugin = Plugin::new(config, node);
        // Rule 76: workers and proxies that are configured at the same time flush at different times.
        let first = plugin.flush_interval().mul_f64(0.5 + (random(host) % 512) as f64 / 1024.0);
        let now = host.monotonic_nanos();
        let recovery = plugin.config.exporter.as_ref().map(Recovery::of);
        let root = Self {
            reporter: recovery.map(Reporter::new).unwrap_or_default(),
            dropped_log: DroppedLog::default(),
            flush_at: after(now, first),
            spans_held: SharedGauge::new(Metric::SpansHeld),
            callouts_in_flight: SharedGauge::new(Metric::CalloutsInFlight),
            handover: Handover::of(&plugin),
            heirs: Heirs::default(),
            is_draining: false,
            plugin: Arc::new(plugin),
        };
        root.set_tick(host, now);
        root
    }

    /// Returns the state that the streams of this root share.
    pub fn plugin(&self) -> Arc<Plugin> {
        self.plugin.clone()
    }

    /// Sends what is due, and updates the metrics.
    pub fn on_tick(&mut self, host: &impl RootHost) {
        let now = host.monotonic_nanos();
        let flush = if now >= self.flush_at { Flush::All } else { Flush::Due };
        if flush == Flush::All {
            self.flush_at = after(now, self.plugin.flush_interval());
        }
        self.adopt();
        self.send(host, flush, now);
        self.set_tick(host, now);
        self.update_metrics(host);
    }

    /// Sends the whole buffer now, also during a back-off, because the proxy exits soon.
    pub fn flush(&mut self, host: &impl RootHost) {
        self.adopt();
        if self.reporter.in_flight() == 0 {
            self.reporter.end_backoff();
        }
        self.send(host, Flush::All, host.monotonic_nanos());
        self.update_metrics(host);
    }

    /// Returns the number of spans that are buffered, in flight or waiting for another attempt.
    pub fn held_spans(&self) -> usize {
        self.reporter.spans() + self.plugin.buffered_spans()
    }

    /// Buffers the spans that replaced roots left.
    fn adopt(&self) {
        if let Some(batch) = self.handover.as_ref().and_then(Handover::take) {
            self.plugin.buffer_again(&batch);
        }
    }

    /// Handles the response to a callout; `None` if there is none, because the callout failed. Returns true if
    /// [`Self::on_done`] waits for no other callout.
    pub fn on_response(
        &mut self,
        host: &impl RootHost,
        token: u32,
        response: Option<&ExportResponse>,
    ) -> bool {
        let status = response.and_then(|response| response.status);
        let retry_after = response.filter(|_| status >= Some(400)).and_then(retry_after);
        let was_failing = self.reporter.is_failing();
        let now = host.monotonic_nanos();
        let handled = {
            let buffer = lock(&self.plugin.buffer);
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
        // The next batch may be sent now.
        self.send(host, if self.is_draining { Flush::All } else { Flush::Due }, now);
        let is_done = self.is_draining && self.reporter.in_flight() == 0;
        if !self.is_draining {
            self.set_tick(host, now);
        } else if is_done {
            self.leave_remaining(host);
        }
        self.update_metrics(host);
        is_done
    }

    /// Returns whether a stream has the state of this root, and may leave a span.
    pub fn has_streams(&self) -> bool {
        Arc::strong_count(&self.plugin) > 1
    }

    /// Returns whether the configuration is not replaced.
    pub const fn is_active(&self) -> bool {
        !self.is_draining
    }

    /// Sends the whole buffer, because the configuration was replaced. What cannot be sent is left to the new root.
    /// Returns false if callouts are in flight: the last call of [`Self::on_response`] then returns true.
    pub fn on_done(&mut self, host: &impl RootHost) -> bool {
        self.adopt();
        self.is_draining = true;
        self.heirs = self.handover.take().map(Handover::end).unwrap_or_default();
        self.reporter.end_backoff();
        self.send(host, Flush::All, host.monotonic_nanos());
        let is_done = self.reporter.in_flight() == 0;
        if is_done {
            self.leave_remaining(host);
        }
        self.update_metrics(host);
        is_done
    }

    /// Drops all spans, because the filter ends: Envoy exits, or no listener has the filter any more. Envoy runs no
    /// callout after that, and may make no other callback.
    pub fn on_end(&mut self, host: &impl RootHost) {
        self.adopt();
        self.is_draining = true;
        self.handover = None;
        self.leave_remaining(host);
        self.update_metrics(host);
    }

    /// Leaves the spans that were buffered after [`Self::on_done`] to another root.
    pub fn on_delete(&mut self, host: &impl RootHost) {
        self.leave_remaining(host);
        self.update_metrics(host);
    }

    /// Passes the metrics on to Envoy. A draining root adds nothing to the gauges, because no callback follows if
    /// the filter ends before its callouts do.
    fn update_metrics(&mut self, host: &impl RootHost) {
        let (in_flight, held) =
            if self.is_draining { (0, 0) } else { (self.reporter.in_flight(), self.held_spans()) };
        self.callouts_in_flight.set(in_flight);
        self.spans_held.set(held);
        metrics::flush(host);
    }

    /// Sets the next tick to the next flush, the end of the back-off or the next update of the metrics, whichever
    /// comes first.
    fn set_tick(&self, host: &impl RootHost, now: u64) {
        let next_send = self.reporter.next_send(self.plugin.has_full_batch());
        let next = next_send.map_or(self.flush_at, |at| at.min(self.flush_at));
        // A tick that comes too early has nothing to send.
        let wait = Duration::from_nanos(next.saturating_sub(now)) + Duration::from_millis(1);
        let longest = if self.reporter.is_failing() { OUTAGE_TICK } else { MAX_TICK };
        host.set_tick(wait.min(longest));
    }

    fn send(&mut self, host: &impl RootHost, flush: Flush, now: u64) {
        let plugin = &*self.plugin;
        let Some(exporter) = &plugin.config.exporter else { return };
        let was_failing = self.reporter.is_failing();
        let call = |spans: &[u8]| call_exporter(host, plugin, exporter, spans);
        let result = self.reporter.flush(flush, now, random(host), &plugin.buffer, plugin.batch_limits, call);
        if let Some(result) = result {
            self.report(host, result, None, was_failing);
        }
    }

    /// Counts the spans of a result. Logs dropped spans, and the start and the end of an outage.
    fn report(&mut self, host: &impl RootHost, result: SendResult, status: Option<u16>, was_failing: bool) {
        match result {
            SendResult::Delivered(spans) => {
                metrics::add(Metric::SpansSent, spans as i64);
                if was_failing {
                    host.log(LogLevel::Info, "logtracer: delivery to the exporter resumed");
                }
            }
            SendResult::Retrying(spans) => {
                metrics::add(Metric::SpansRetried, spans as i64);
                if !was_failing {
                    let reason = status.map_or_else(
                        || "no connection, or no such cluster".to_owned(),
                        |status| format!("status {status}"),
                    );
                    let message = format!("logtracer: exporter unavailable ({reason}), retrying");
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
            host.log(LogLevel::Warn, &format!("logtracer: dropped {spans} spans: {reason}"));
        }
    }

    /// Leaves every span that is not delivered to another root, or drops and counts it.
    fn leave_remaining(&mut self, host: &impl Host) {
        let buffered = self.plugin.take_buffered();
        let remaining = self.reporter.take_all().chain(buffered);
        let dropped = self.heirs.leave(remaining);
        if dropped > 0 {
            metrics::add(Metric::DroppedShutdown, dropped as i64);
            // Not limited in rate, because nothing follows.
            host.log(LogLevel::Warn, &format!("logtracer: dropped {dropped} spans: shutdown"));
        }
    }
}

/// Returns the time that is `wait` after `now`.
fn after(now: u64, wait: Duration) -> u64 {
    now.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
}

/// Returns the `Retry-After` of a callout's response if it is a number of seconds; a date is ignored.
fn retry_after(response: &ExportResponse) -> Option<Duration> {
    let seconds = core::str::from_utf8(response.retry_after.as_ref()?).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Makes a callout with these spans. The request of the callout is never traced (`b3: 0`; see also
/// [`Exporter::is_export`]).
fn call_exporter(host: &impl RootHost, plugin: &Plugin, exporter: &Exporter, spans: &[u8]) -> Option<u32> {
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
        (":authority", exporter.authority.as_str()),
        ("content-type", "application/x-protobuf"),
        ("user-agent", Exporter::USER_AGENT),
        ("b3", "0"),
    ];
    headers.extend(exporter.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    host.send(&ExportRequest {
        cluster: &exporter.cluster,
        headers: &headers,
        body: &body,
        timeout: exporter.timeout,
    })
}

fn random(host: &impl Host) -> u64 {
    host.random().map_or(0, u64::from_le_bytes)
}
