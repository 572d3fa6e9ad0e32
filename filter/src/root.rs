//! [`Root`]: one plugin configuration in one worker. It creates the streams and sends their spans to the exporter.

use core::time::Duration;
use std::rc::Rc;

use logtracer_core::otlp::{self, InstrumentationScope};

use crate::config::{Config, Exporter};
use crate::dropped_log::DroppedLog;
use crate::handover::{Handover, Heirs};
use crate::hostcalls::{self, LogLevel, MapType};
use crate::metrics::{self, Metric, SharedGauge};
use crate::plugin::Plugin;
use crate::recovery::Recovery;
use crate::reporter::{Flush, MAX_ATTEMPTS, Reporter, Response, SendResult};

/// The longest time between two ticks, and so between two updates of the metrics.
const MAX_TICK: Duration = Duration::from_secs(5);
/// The same in an outage: a tick finds that another root has delivered a batch, or that the buffer has become full.
const OUTAGE_TICK: Duration = Duration::from_millis(500);

/// One plugin configuration in one worker.
#[derive(Debug)]
pub(crate) struct Root {
    /// `None` until the root is configured.
    plugin: Option<Rc<Plugin>>,
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

impl Default for Root {
    fn default() -> Self {
        Self {
            plugin: None,
            reporter: Reporter::default(),
            dropped_log: DroppedLog::default(),
            flush_at: 0,
            spans_held: SharedGauge::new(Metric::SpansHeld),
            callouts_in_flight: SharedGauge::new(Metric::CalloutsInFlight),
            handover: None,
            heirs: Heirs::default(),
            is_draining: false,
        }
    }
}

impl Root {
    /// Returns the state that the streams of this root share; `None` until the root is configured.
    pub(crate) fn plugin(&self) -> Option<Rc<Plugin>> {
        self.plugin.clone()
    }

    /// Reads the configuration. Returns false if it is invalid; Envoy then rejects it, too.
    pub(crate) fn on_configure(&mut self) -> bool {
        let config = match Config::parse(&hostcalls::plugin_configuration()) {
            Ok(config) => config,
            Err(error) => {
                hostcalls::log(LogLevel::Error, &format!("logtracer: configuration rejected: {error}"));
                return false;
            }
        };
        metrics::define();
        let plugin = Plugin::new(config);
        // Rule 76: workers and proxies that are configured at the same time flush at different times.
        let first = plugin.flush_interval().mul_f64(0.5 + (random() % 512) as f64 / 1024.0);
        let now = hostcalls::now_monotonic_nanos();
        self.flush_at = after(now, first);
        if let Some(exporter) = &plugin.config.exporter {
            self.reporter = Reporter::new(Recovery::of(exporter));
        }
        self.handover = Handover::of(&plugin.config, &plugin.service_name);
        self.set_tick(&plugin, now);
        self.plugin = Some(Rc::new(plugin));
        true
    }

    /// Sends what is due, and updates the metrics.
    pub(crate) fn on_tick(&mut self) {
        if let Some(plugin) = self.plugin.clone() {
            let now = hostcalls::now_monotonic_nanos();
            let flush = if now >= self.flush_at { Flush::All } else { Flush::Due };
            if flush == Flush::All {
                self.flush_at = after(now, plugin.flush_interval());
            }
            self.adopt();
            self.send(&plugin, flush, now);
            self.set_tick(&plugin, now);
        }
        self.update_metrics();
    }

    /// Buffers the spans that replaced roots left.
    fn adopt(&self) {
        if let (Some(plugin), Some(handover)) = (&self.plugin, &self.handover)
            && let Some(batch) = handover.take()
        {
            plugin.buffer_again(&batch);
        }
    }

    /// Handles the response to a callout. Without headers there is no response: the callout failed.
    pub(crate) fn on_http_call_response(&mut self, token: u32, has_headers: bool, body_size: usize) {
        let status =
            has_headers.then(|| hostcalls::header(MapType::HttpCallResponseHeaders, ":status")).flatten();
        let status: Option<u16> = status.and_then(|digits| core::str::from_utf8(&digits).ok()?.parse().ok());
        let retry_after = status.filter(|status| *status >= 400).and_then(|_| retry_after());
        let was_failing = self.reporter.is_failing();
        let now = hostcalls::now_monotonic_nanos();
        let response = Response { status, retry_after };
        let Some(plugin) = self.plugin.clone() else { return };
        let answered = plugin
            .buffer
            .try_borrow()
            .ok()
            .and_then(|buffer| self.reporter.on_response(token, response, now, random(), &buffer));
        let Some((result, duration)) = answered else { return };
        metrics::count(Metric::Callouts);
        metrics::add(Metric::CalloutMilliseconds, duration.as_millis() as i64);
        match result {
            // The exporter may accept the request and reject single spans of it.
            SendResult::Delivered(spans) if body_size > 0 => {
                let rejected =
                    otlp::rejected_spans(&hostcalls::http_call_response_body()).min(spans as u64) as usize;
                metrics::add(Metric::DroppedRejected, rejected as i64);
                self.report(SendResult::Delivered(spans - rejected), status, was_failing);
            }
            result => self.report(result, status, was_failing),
        }
        // The next batch may be sent now.
        let flush = if self.is_draining { Flush::All } else { Flush::Due };
        self.send(&plugin, flush, now);
        if !self.is_draining {
            self.set_tick(&plugin, now);
        }
        if self.is_draining && self.reporter.in_flight() == 0 {
            self.leave_remaining();
            hostcalls::done();
        }
        self.update_metrics();
    }

    /// Returns whether the root is configured and not replaced.
    pub(crate) const fn is_active(&self) -> bool {
        self.plugin.is_some() && !self.is_draining
    }

    /// Sends the whole buffer, because the configuration was replaced. What cannot be sent is left to the new root. Returns false if callouts are in flight: Envoy
    /// then waits for [`hostcalls::done`].
    pub(crate) fn on_done(&mut self) -> bool {
        self.adopt();
        self.is_draining = true;
        self.heirs = self.handover.take().map(Handover::end).unwrap_or_default();
        self.reporter.end_backoff();
        if let Some(plugin) = self.plugin.clone() {
            self.send(&plugin, Flush::All, hostcalls::now_monotonic_nanos());
        }
        let is_done = self.reporter.in_flight() == 0;
        if is_done {
            self.leave_remaining();
        }
        self.update_metrics();
        is_done
    }

    /// Drops all spans, because the VM ends: Envoy exits, or no listener has the filter any more. Envoy runs no callout
    /// after that, and may make no other callback.
    pub(crate) fn on_vm_end(&mut self) {
        self.adopt();
        self.is_draining = true;
        self.handover = None;
        self.leave_remaining();
        self.update_metrics();
    }

    /// Leaves the spans that were buffered after [`Self::on_done`] to another root: this is the last callback.
    pub(crate) fn on_delete(&mut self) {
        self.leave_remaining();
        self.update_metrics();
    }

    /// Passes the metrics on to Envoy. A draining root adds nothing to the gauges, because no callback follows if
    /// the VM ends before its callouts do.
    fn update_metrics(&mut self) {
        let (in_flight, held) = if self.is_draining {
            (0, 0)
        } else {
            let buffered = self.plugin.as_ref().map_or(0, |plugin| plugin.buffered_spans());
            (self.reporter.in_flight(), self.reporter.spans() + buffered)
        };
        self.callouts_in_flight.set(in_flight);
        self.spans_held.set(held);
        metrics::flush();
    }

    /// Sets the next tick to the next flush, the end of the back-off or the next update of the metrics, whichever
    /// comes first.
    fn set_tick(&self, plugin: &Plugin, now: u64) {
        let next_send = self.reporter.next_send(plugin.has_full_batch());
        let next = next_send.map_or(self.flush_at, |at| at.min(self.flush_at));
        // A tick that comes too early has nothing to send.
        let wait = Duration::from_nanos(next.saturating_sub(now)) + Duration::from_millis(1);
        let longest = if self.reporter.is_failing() { OUTAGE_TICK } else { MAX_TICK };
        hostcalls::set_tick_period(wait.min(longest));
    }

    fn send(&mut self, plugin: &Plugin, flush: Flush, now: u64) {
        let (Some(exporter), Ok(mut buffer)) = (&plugin.config.exporter, plugin.buffer.try_borrow_mut())
        else {
            return;
        };
        let was_failing = self.reporter.is_failing();
        let call = |spans: &[u8]| call_exporter(plugin, exporter, spans);
        let result = self.reporter.flush(flush, now, random(), &mut buffer, plugin.batch_limits, call);
        drop(buffer);
        if let Some(result) = result {
            self.report(result, None, was_failing);
        }
    }

    /// Counts the spans of a result. Logs dropped spans, and the start and the end of an outage.
    fn report(&mut self, result: SendResult, status: Option<u16>, was_failing: bool) {
        match result {
            SendResult::Delivered(spans) => {
                metrics::add(Metric::SpansSent, spans as i64);
                if was_failing {
                    hostcalls::log(LogLevel::Info, "logtracer: delivery to the exporter resumed");
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
                    hostcalls::log(LogLevel::Warn, &message);
                }
            }
            SendResult::Split(spans) => metrics::add(Metric::SpansRetried, spans as i64),
            SendResult::TooLarge(spans) => {
                metrics::add(Metric::DroppedTooLarge, spans as i64);
                self.log_dropped(spans, "too large for the exporter");
            }
            SendResult::RequestRejected(spans) => {
                metrics::add(Metric::DroppedRefused, spans as i64);
                let status = status.unwrap_or_default();
                self.log_dropped(spans, &format!("rejected by the exporter (status {status})"));
            }
            SendResult::RetriesExhausted(spans) => {
                metrics::add(Metric::DroppedRetriesExhausted, spans as i64);
                self.log_dropped(spans, &format!("not delivered in {MAX_ATTEMPTS} attempts"));
            }
        }
    }

    fn log_dropped(&mut self, spans: usize, reason: &str) {
        if let Some(spans) = self.dropped_log.add(spans, hostcalls::now_monotonic_nanos()) {
            hostcalls::log(LogLevel::Warn, &format!("logtracer: dropped {spans} spans: {reason}"));
        }
    }

    /// Leaves every span that is not delivered to another root, or drops and counts it.
    fn leave_remaining(&mut self) {
        let buffered = self.plugin.as_ref().and_then(|plugin| plugin.take_buffered());
        let remaining = self.reporter.take_all().chain(buffered);
        let dropped = self.heirs.leave(remaining);
        if dropped > 0 {
            metrics::add(Metric::DroppedShutdown, dropped as i64);
            // Not limited in rate, because nothing follows.
            hostcalls::log(LogLevel::Warn, &format!("logtracer: dropped {dropped} spans: shutdown"));
        }
    }
}

/// Returns the time that is `wait` after `now`.
fn after(now: u64, wait: Duration) -> u64 {
    now.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
}

/// Returns the `Retry-After` of a callout's response if it is a number of seconds; a date is ignored.
fn retry_after() -> Option<Duration> {
    let value = hostcalls::header(MapType::HttpCallResponseHeaders, "retry-after")?;
    Some(Duration::from_secs(core::str::from_utf8(&value).ok()?.trim().parse().ok()?))
}

/// Makes a callout with these spans. The request of the callout is never traced (`b3: 0`; see also
/// [`Exporter::is_export`]).
fn call_exporter(plugin: &Plugin, exporter: &Exporter, spans: &[u8]) -> Option<u32> {
    let mut body = Vec::new();
    let scope = InstrumentationScope { name: "logtracer", version: env!("CARGO_PKG_VERSION") };
    let resource = |resource: &mut otlp::Attributes<'_>| {
        resource.text("service.name", &plugin.service_name);
        resource.text("gcp.project_id", plugin.config.project_id.as_deref().unwrap_or_default());
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
    hostcalls::dispatch_http_call(&exporter.cluster, &headers, &body, exporter.timeout)
}

fn random() -> u64 {
    hostcalls::random().map_or(0, u64::from_le_bytes)
}
