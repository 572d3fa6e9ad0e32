//! [`Root`]: one plugin configuration in one worker; makes the streams, and takes their spans to the exporter.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use logtracer_core::otlp::{self, InstrumentationScope};
use logtracer_core::sampling::RateLimiter;
use logtracer_core::span::SpanKind;

use crate::batch::{Batch, Bounds};
use crate::config::{Config, Exporter};
use crate::host::{self, Expression, LogLevel, Map};
use crate::losses::Losses;
use crate::metrics::{self, Metric, Share};
use crate::node;
use crate::properties::Properties;
use crate::reporter::{Answer, Answered, Fate, Flush, MAX_ATTEMPTS, Reporter};

/// What a root and its streams share.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) config: Config,
    pub(crate) service_name: String,
    /// Spans that wait for the next flush.
    batch: RefCell<Batch>,
    /// The bound on new sampled traces.
    pub(crate) limiter: Option<RefCell<RateLimiter>>,
    /// Asks the host for all properties of a request at once; `None` where it cannot.
    pub(crate) properties: Option<Expression>,
    /// Known with the first request.
    kind: Cell<Option<SpanKind>>,
}

/// The longest time between two ticks: how far the statistics lag behind.
const LONGEST_TICK: Duration = Duration::from_secs(5);

/// One plugin configuration in one worker.
#[derive(Debug)]
pub(crate) struct Root {
    plugin: Option<Rc<Plugin>>,
    reporter: Reporter,
    losses: Losses,
    /// When all that is buffered goes out next.
    flush_at: u64,
    held: Share,
    in_flight: Share,
    is_draining: bool,
}

impl Default for Root {
    fn default() -> Self {
        Self {
            plugin: None,
            reporter: Reporter::default(),
            losses: Losses::default(),
            flush_at: 0,
            held: Share::of(Metric::SpansHeld),
            in_flight: Share::of(Metric::CalloutsInFlight),
            is_draining: false,
        }
    }
}

impl Plugin {
    fn new(config: Config) -> Self {
        let service_name =
            config.service_name.clone().or_else(node::service_name).unwrap_or_else(|| "envoy".into());
        let bounds = config.exporter.as_ref().map_or(Bounds { bytes: 0, spans_together: 0 }, |exporter| {
            Bounds { bytes: exporter.max_buffer_bytes, spans_together: exporter.max_batch_spans }
        });
        let limiter = config.sampling.max_per_second.map(|rate| RefCell::new(RateLimiter::new(rate)));
        Self {
            config,
            service_name,
            batch: RefCell::new(Batch::new(bounds)),
            limiter,
            properties: Properties::together(),
            kind: Cell::new(None),
        }
    }

    /// The kind of this plugin's spans.
    pub(crate) fn kind(&self) -> SpanKind {
        if let Some(kind) = self.config.span_kind.or(self.kind.get()) {
            return kind;
        }
        let kind = node::kind_of_listener();
        self.kind.set(Some(kind));
        kind
    }

    /// Buffers a span; where that makes enough to send, it is sent without waiting for the interval to pass.
    pub(crate) fn record(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let Ok(mut batch) = self.batch.try_borrow_mut() else { return };
        let was_due = batch.is_due();
        let dropped = batch.push(write);
        metrics::count(Metric::SpansBuffered);
        metrics::add(Metric::DroppedBufferFull, dropped.oldest as i64);
        metrics::add(Metric::DroppedTooLarge, dropped.too_large as i64);
        if batch.is_due() && !was_due {
            // A callout of a stream would end with it; the root makes it, at its next tick, which is now.
            host::set_tick_period(Duration::from_millis(1));
        }
    }

    fn is_due(&self) -> bool {
        self.config.exporter.is_some() && self.batch.try_borrow().is_ok_and(|batch| batch.is_due())
    }

    fn spans(&self) -> usize {
        self.batch.try_borrow().map_or(0, |batch| batch.len())
    }
}

impl Root {
    /// What the streams below this root share; `None` before it is configured.
    pub(crate) fn plugin(&self) -> Option<Rc<Plugin>> {
        self.plugin.clone()
    }

    /// Takes the configuration; false refuses it, and Envoy with it.
    pub(crate) fn on_configure(&mut self) -> bool {
        let config = match Config::parse(&host::plugin_configuration()) {
            Ok(config) => config,
            Err(error) => {
                host::log(LogLevel::Error, &format!("logtracer: configuration refused: {error}"));
                return false;
            }
        };
        metrics::define();
        let plugin = Plugin::new(config);
        // Rule 76: workers and proxies that get a configuration at one time do not flush at one time.
        let first = flush_interval(&plugin).mul_f64(0.5 + (random() % 512) as f64 / 1024.0);
        let now = host::now_monotonic_nanos();
        self.flush_at = later(now, first);
        self.set_tick(&plugin, now);
        self.plugin = Some(Rc::new(plugin));
        true
    }

    /// The flush interval or a pause has passed, a batch is full, or it is time to tell the statistics.
    pub(crate) fn on_tick(&mut self) {
        if let Some(plugin) = self.plugin.clone() {
            let now = host::now_monotonic_nanos();
            let what = if now >= self.flush_at { Flush::All } else { Flush::Due };
            if what == Flush::All {
                self.flush_at = later(now, flush_interval(&plugin));
            }
            self.send(&plugin, what, now);
            self.set_tick(&plugin, now);
        }
        self.tell_metrics();
    }

    /// The exporter has answered a callout, or (without headers) the connection broke.
    pub(crate) fn on_http_call_response(&mut self, token: u32, has_headers: bool, body_size: usize) {
        let status = has_headers.then(|| host::header(Map::CalloutResponse, ":status")).flatten();
        let status: Option<u16> = status.and_then(|digits| core::str::from_utf8(&digits).ok()?.parse().ok());
        let retry_after = status.filter(|status| *status >= 400).and_then(|_| retry_after());
        let was_failing = self.reporter.is_failing();
        let now = host::now_monotonic_nanos();
        let answer = Answer { status, retry_after };
        let Some(Answered { fate, took }) = self.reporter.answered(token, answer, now, random()) else {
            return;
        };
        metrics::count(Metric::Callouts);
        metrics::add(Metric::CalloutMilliseconds, took.as_millis() as i64);
        match fate {
            // The exporter may have taken the request, but not every span in it.
            Fate::Sent(spans) if body_size > 0 => {
                let rejected = otlp::rejected_spans(&host::callout_body()).min(spans as u64) as usize;
                metrics::add(Metric::DroppedRejected, rejected as i64);
                self.tell(Fate::Sent(spans - rejected), status, was_failing);
            }
            fate => self.tell(fate, status, was_failing),
        }
        // More may be waiting behind this.
        if let Some(plugin) = self.plugin.clone() {
            let what = if self.is_draining { Flush::All } else { Flush::Due };
            self.send(&plugin, what, now);
            if !self.is_draining {
                self.set_tick(&plugin, now);
            }
        }
        if self.is_draining && self.reporter.in_flight() == 0 {
            self.forget_the_rest();
            host::done();
        }
        self.tell_metrics();
    }

    /// The configuration was replaced, or the worker ends: what is buffered goes out, while Envoy waits for
    /// [`host::done`] if this is false.
    pub(crate) fn on_done(&mut self) -> bool {
        self.is_draining = true;
        self.reporter.end_pause();
        if let Some(plugin) = self.plugin.clone() {
            self.send(&plugin, Flush::All, host::now_monotonic_nanos());
        }
        let finished = self.reporter.in_flight() == 0;
        if finished {
            self.forget_the_rest();
        }
        self.tell_metrics();
        finished
    }

    /// Nothing follows: what came since [`Self::on_done`] is lost.
    pub(crate) fn on_delete(&mut self) {
        self.forget_the_rest();
        self.tell_metrics();
    }

    /// Hands on the statistics. A root that ends has no share in the gauges any more, for nobody calls it where its
    /// VM ends before its callouts do.
    fn tell_metrics(&mut self) {
        let (in_flight, held) = if self.is_draining {
            (0, 0)
        } else {
            let buffered = self.plugin.as_ref().map_or(0, |plugin| plugin.spans());
            (self.reporter.in_flight(), self.reporter.spans() + buffered)
        };
        self.in_flight.set(in_flight);
        self.held.set(held);
        metrics::flush();
    }

    /// Sets the next tick: for the next flush, the end of a pause, or the statistics, whichever comes first.
    fn set_tick(&self, plugin: &Plugin, now: u64) {
        let next = self.reporter.next_try(plugin.is_due()).map_or(self.flush_at, |at| at.min(self.flush_at));
        // A tick that comes early would find nothing to do.
        let rest = Duration::from_nanos(next.saturating_sub(now)) + Duration::from_millis(1);
        host::set_tick_period(rest.min(LONGEST_TICK));
    }

    fn send(&mut self, plugin: &Plugin, what: Flush, now: u64) {
        let (Some(exporter), Ok(mut batch)) = (&plugin.config.exporter, plugin.batch.try_borrow_mut()) else {
            return;
        };
        let was_failing = self.reporter.is_failing();
        let fate =
            self.reporter.flush(what, now, random(), &mut batch, |spans| dispatch(plugin, exporter, spans));
        drop(batch);
        if let Some(fate) = fate {
            self.tell(fate, None, was_failing);
        }
    }

    fn tell(&mut self, fate: Fate, status: Option<u16>, was_failing: bool) {
        match fate {
            Fate::Sent(spans) => {
                metrics::add(Metric::SpansSent, spans as i64);
                if was_failing {
                    host::log(LogLevel::Info, "logtracer: the exporter answers again");
                }
            }
            Fate::Retry(spans) => {
                metrics::add(Metric::SpansRetried, spans as i64);
                if !was_failing {
                    let reason = status.map_or_else(
                        || "no connection, or no such cluster".to_owned(),
                        |status| format!("status {status}"),
                    );
                    let message =
                        format!("logtracer: the exporter does not take spans ({reason}); trying again");
                    host::log(LogLevel::Warn, &message);
                }
            }
            Fate::Halved(spans) => metrics::add(Metric::SpansRetried, spans as i64),
            Fate::TooLarge(spans) => {
                metrics::add(Metric::DroppedTooLarge, spans as i64);
                self.lost(spans, "they are too large for the exporter");
            }
            Fate::Refused(spans) => {
                metrics::add(Metric::DroppedRefused, spans as i64);
                let status = status.unwrap_or_default();
                self.lost(spans, &format!("the exporter refuses them with status {status}"));
            }
            Fate::Exhausted(spans) => {
                metrics::add(Metric::DroppedRetriesExhausted, spans as i64);
                self.lost(spans, &format!("the exporter did not take them in {MAX_ATTEMPTS} tries"));
            }
        }
    }

    fn lost(&mut self, spans: usize, why: &str) {
        if let Some(spans) = self.losses.count(spans, host::now_monotonic_nanos()) {
            host::log(LogLevel::Warn, &format!("logtracer: {spans} spans are lost: {why}"));
        }
    }

    /// Counts what can no longer be sent.
    fn forget_the_rest(&mut self) {
        let mut spans = self.reporter.give_up();
        if let Some(mut batch) = self.plugin.as_ref().and_then(|plugin| plugin.batch.try_borrow_mut().ok()) {
            while let Some(taken) = batch.take() {
                spans += taken.spans();
            }
        }
        metrics::add(Metric::DroppedShutdown, spans as i64);
    }
}

fn flush_interval(plugin: &Plugin) -> Duration {
    const WITHOUT_EXPORTER: Duration = Duration::from_secs(1);
    plugin.config.exporter.as_ref().map_or(WITHOUT_EXPORTER, |exporter| exporter.flush_interval)
}

/// The time this long after another.
fn later(now: u64, wait: Duration) -> u64 {
    now.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
}

/// How many seconds the exporter asks to wait; a date is not read.
fn retry_after() -> Option<Duration> {
    let value = host::header(Map::CalloutResponse, "retry-after")?;
    Some(Duration::from_secs(core::str::from_utf8(&value).ok()?.trim().parse().ok()?))
}

/// Makes the callout; its own request is never traced (`b3: 0`, and see [`Exporter::is_export`]).
fn dispatch(plugin: &Plugin, exporter: &Exporter, spans: &[u8]) -> Option<u32> {
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
    host::call(&exporter.cluster, &headers, &body, exporter.timeout)
}

fn random() -> u64 {
    host::random().map_or(0, u64::from_le_bytes)
}
