//! [`Root`]: one configuration in one worker. It sends the spans of its streams to the clusters of the exporter.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use logtracer_core::span_buffer::SpanBuffer;

use crate::config::Config;
use crate::destination::{Destination, random};
use crate::host::{ExportResponse, Host, LogLevel, NodeHost, RootHost};
use crate::live::ConfigId;
use crate::metrics::{self, Metric, SharedGauge};
use crate::node::Node;
use crate::plugin::Plugin;
use crate::reporter::Flush;
use crate::shared::lock;

/// The longest time between two ticks, and so between two updates of the metrics.
const MAX_TICK: Duration = Duration::from_secs(5);
/// The same in an outage: a tick finds that another root has delivered a batch, or that the buffer has become full.
const OUTAGE_TICK: Duration = Duration::from_millis(500);

/// One configuration in one worker.
#[derive(Debug)]
pub struct Root {
    plugin: Arc<Plugin>,
    /// One for each cluster of the exporter, in the order of [`Plugin::buffers`].
    destinations: Vec<Destination>,
    /// When all buffers are sent next.
    flush_at: u64,
    spans_held: SharedGauge,
    callouts_in_flight: SharedGauge,
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
                Some(Self::new(host, config, ConfigId::of(json), node))
            }
            Err(error) => {
                host.log(LogLevel::Error, &format!("logtracer: configuration rejected: {error}"));
                None
            }
        }
    }

    /// Starts to send spans in intervals.
    pub fn new(host: &impl RootHost, config: Config, id: ConfigId, node: Node) -> Self {
        let plugin = Plugin::new(config, id, node);
        // Rule 76: workers and proxies that are configured at the same time flush at different times.
        let first = plugin.flush_interval().mul_f64(0.5 + (random(host) % 512) as f64 / 1024.0);
        let now = host.monotonic_nanos();
        let root = Self {
            destinations: Destination::all(&plugin),
            flush_at: after(now, first),
            spans_held: SharedGauge::new(Metric::SpansHeld),
            callouts_in_flight: SharedGauge::new(Metric::CalloutsInFlight),
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
        self.send(host, flush, now);
        self.set_tick(host, now);
        self.update_metrics(host);
    }

    /// Sends all buffers now, also during a back-off, because the proxy exits soon.
    pub fn flush(&mut self, host: &impl RootHost) {
        for destination in &mut self.destinations {
            if destination.reporter.in_flight() == 0 {
                destination.reporter.end_backoff();
            }
        }
        self.send(host, Flush::All, host.monotonic_nanos());
        self.update_metrics(host);
    }

    /// Returns the number of spans that are buffered, in flight or waiting for another attempt.
    pub fn held_spans(&self) -> usize {
        let buffered: usize = self.plugin.buffers.iter().map(|buffer| lock(buffer).spans()).sum();
        let sent: usize = self.destinations.iter().map(|destination| destination.reporter.spans()).sum();
        buffered + sent
    }

    /// Handles the response to a callout; `None` if there is none, because the callout failed. Returns true if
    /// [`Self::on_done`] waits for no other callout.
    pub fn on_response(
        &mut self,
        host: &impl RootHost,
        token: u32,
        response: Option<&ExportResponse>,
    ) -> bool {
        let now = host.monotonic_nanos();
        let flush = if self.is_draining { Flush::All } else { Flush::Due };
        let own = self
            .each()
            .position(|(destination, _, buffer)| destination.on_response(host, buffer, token, response, now));
        let Some(own) = own else { return false };
        let is_draining = self.is_draining;
        for (index, (destination, plugin, buffer)) in self.each().enumerate() {
            // The next batch may be sent now. A draining root also sends the late spans of clusters that wait for no
            // response, but not to one that has failed: two that are unavailable would keep the root alive.
            if index == own || (is_draining && destination.reporter.is_idle()) {
                destination.send(host, plugin, buffer, flush, now);
            }
        }
        let is_done = self.is_draining && self.in_flight() == 0;
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

    /// Sends all buffers, because the configuration was replaced. What cannot be sent is left to the new root.
    /// Returns false if callouts are in flight: the last call of [`Self::on_response`] then returns true.
    pub fn on_done(&mut self, host: &impl RootHost) -> bool {
        self.is_draining = true;
        for (destination, _, buffer) in self.each() {
            destination.adopt(buffer);
            destination.drain();
        }
        self.send(host, Flush::All, host.monotonic_nanos());
        let is_done = self.in_flight() == 0;
        if is_done {
            self.leave_remaining(host);
        }
        self.update_metrics(host);
        is_done
    }

    /// Drops all spans, because the filter ends: Envoy exits, or no listener has the filter any more. Envoy runs no
    /// callout after that, and may make no other callback.
    pub fn on_end(&mut self, host: &impl RootHost) {
        self.is_draining = true;
        for (destination, _, buffer) in self.each() {
            destination.adopt(buffer);
            destination.end();
        }
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
        let (in_flight, held) = if self.is_draining { (0, 0) } else { (self.in_flight(), self.held_spans()) };
        self.callouts_in_flight.set(in_flight);
        self.spans_held.set(held);
        metrics::flush(host);
    }

    /// Sets the next tick to the next flush, the end of the back-off or the next update of the metrics, whichever
    /// comes first.
    fn set_tick(&self, host: &impl RootHost, now: u64) {
        let (mut next, mut longest) = (self.flush_at, MAX_TICK);
        for (destination, buffer) in self.destinations.iter().zip(&self.plugin.buffers) {
            let has_full_batch = self.plugin.batch_limits.has_full_batch(&lock(buffer));
            next = next.min(destination.reporter.next_send(has_full_batch).unwrap_or(next));
            if destination.reporter.is_failing() {
                longest = OUTAGE_TICK;
            }
        }
        // A tick that comes too early has nothing to send.
        let wait = Duration::from_nanos(next.saturating_sub(now)) + Duration::from_millis(1);
        host.set_tick(wait.min(longest));
    }

    /// Returns the number of callouts without a response.
    fn in_flight(&self) -> usize {
        self.destinations.iter().map(|destination| destination.reporter.in_flight()).sum()
    }

    /// Iterates over the destinations with the state that streams share, and their buffers.
    fn each(&mut self) -> impl Iterator<Item = (&mut Destination, &Plugin, &Mutex<SpanBuffer>)> {
        let plugin = &*self.plugin;
        self.destinations
            .iter_mut()
            .zip(&plugin.buffers)
            .map(move |(destination, buffer)| (destination, plugin, buffer))
    }

    /// Sends what is due, also what replaced roots left.
    fn send(&mut self, host: &impl RootHost, flush: Flush, now: u64) {
        for (destination, plugin, buffer) in self.each() {
            destination.adopt(buffer);
            destination.send(host, plugin, buffer, flush, now);
        }
    }

    /// Leaves every span that is not delivered to another root, or drops and counts it.
    fn leave_remaining(&mut self, host: &impl Host) {
        let dropped: usize =
            self.each().map(|(destination, _, buffer)| destination.leave_remaining(buffer)).sum();
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
