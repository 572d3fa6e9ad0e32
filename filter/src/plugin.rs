//! [`Plugin`]: the state that a root shares with its streams.
//!
//! Since Envoy 1.40, the streams of one root can come from several listeners. What a listener determines is therefore
//! read for each stream ([`Properties`](crate::Properties)). The streams can run in another thread than the root.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use logtracer_core::sampling::RateLimiter;
use logtracer_core::span::SpanKind;
use logtracer_core::span_buffer::{Dropped, SpanBuffer};
use logtracer_core::{TraceId, shard_of};

use crate::batch_limits::BatchLimits;
use crate::config::{Config, Exporter};
use crate::host::{Host, LogHost, LogLevel};
use crate::live::{self, ConfigId};
use crate::metrics::{self, Metric};
use crate::node::Node;
use crate::shared::lock;

/// The configuration of a root, and the state that it shares with its streams.
#[derive(Debug)]
pub struct Plugin {
    pub(crate) config: Config,
    pub(crate) service_name: String,
    pub(crate) project_id: Option<String>,
    /// The name of the plugin in messages.
    pub(crate) name: Arc<str>,
    /// Attributes of the resource besides its service and its project.
    pub(crate) resource: Vec<(String, String)>,
    /// Spans that wait for the next flush, by the cluster that gets them.
    pub(crate) buffers: Vec<Mutex<SpanBuffer>>,
    pub(crate) batch_limits: BatchLimits,
    /// Limits the rate of new sampled traces.
    pub(crate) limiter: Option<Mutex<RateLimiter>>,
    is_gateway: bool,
    has_reported_duplicate: AtomicBool,
}

impl Plugin {
    pub(crate) fn new(config: Config, id: ConfigId, node: Node) -> Self {
        let service_name =
            config.service_name.clone().or(node.service_name).unwrap_or_else(|| "envoy".into());
        let name: Arc<str> = node.plugin_name.unwrap_or_else(|| service_name.clone()).into();
        live::register(&name, id);
        let new_buffer = |exporter: &Exporter| Mutex::new(SpanBuffer::new(exporter.buffer_bytes()));
        let buffers = config
            .exporter
            .iter()
            .flat_map(|exporter| exporter.clusters.iter().map(|_| new_buffer(exporter)))
            .collect();
        let batch_limits = config.exporter.as_ref().map(BatchLimits::new).unwrap_or_default();
        let limiter = config.sampling.max_per_second.map(|rate| Mutex::new(RateLimiter::new(rate)));
        Self {
            project_id: config.project_id.clone().or(node.project_id),
            name,
            resource: node.attributes,
            config,
            service_name,
            buffers,
            batch_limits,
            limiter,
            is_gateway: node.is_gateway,
            has_reported_duplicate: AtomicBool::new(false),
        }
    }

    /// Counts a request that another instance of the filter handles, and logs the first one.
    pub(crate) fn report_duplicate(&self, host: &impl Host, owner: &str) {
        metrics::count(Metric::Duplicates);
        if !self.has_reported_duplicate.swap(true, Ordering::Relaxed) {
            let name = &*self.name;
            // Equal names are those of one service, with different configurations.
            let (first, second) = if owner == name { ("the first", "the second") } else { (owner, name) };
            let message = format!(
                "logtracer: {owner} and {name} are both in this proxy: {first} comes first and handles the requests, \
                 {second} ignores them"
            );
            host.log(LogLevel::Warn, &message);
        }
    }

    /// Returns the kind of a request's span: `Client` if its listener is outbound, otherwise `Server`.
    ///
    /// The kind belongs to the request: since Envoy 1.40, one root serves all listeners with the same plugin
    /// configuration. The listeners of Istio's gateways are outbound, too, but a gateway is a server for its callers.
    pub(crate) fn span_kind(&self, is_outbound: bool) -> SpanKind {
        let of_listener = || {
            let is_client = is_outbound && !self.is_gateway;
            if is_client { SpanKind::Client } else { SpanKind::Server }
        };
        self.config.span_kind.unwrap_or_else(of_listener)
    }

    /// Buffers a span for the cluster of its trace. If the buffer then holds a full batch, the root sends it before the
    /// flush interval has passed.
    pub(crate) fn buffer_span(
        &self,
        host: &impl LogHost,
        trace_id: TraceId,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let Some(buffer) = self.buffers.get(shard_of(trace_id, self.buffers.len())) else { return };
        let mut buffer = lock(buffer);
        let was_full = self.batch_limits.has_full_batch(&buffer);
        let dropped = buffer.push(write);
        metrics::count(Metric::SpansBuffered);
        Self::count_dropped(dropped);
        let is_full = self.batch_limits.has_full_batch(&buffer);
        drop(buffer);
        if !was_full && is_full {
            // A callout made here would end with the stream.
            host.wake_root();
        }
    }

    pub(crate) fn count_dropped(dropped: Dropped) {
        metrics::add(Metric::DroppedBufferFull, dropped.oldest as i64);
        metrics::add(Metric::DroppedTooLarge, dropped.too_large as i64);
    }

    /// Returns the time between two flushes. Without an exporter only the metrics are flushed.
    pub(crate) fn flush_interval(&self) -> Duration {
        const WITHOUT_EXPORTER: Duration = Duration::from_secs(1);
        self.config.exporter.as_ref().map_or(WITHOUT_EXPORTER, |exporter| exporter.flush_interval)
    }
}
