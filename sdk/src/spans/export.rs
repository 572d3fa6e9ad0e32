//! [`SpanExport`]: the options of the export.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use super::connect::Connector;
use super::credentials::{Headers, Secret};
use super::details::Key;
use super::endpoint::{EndpointUrl, PathRule, Scheme};
use super::queue::{self, Queue};
use super::resource::with_telemetry_sdk;
use super::sender::{Sender, SenderThread, Timing};
#[cfg(feature = "_spans-rustls")]
use super::tls::{Tls, TlsFiles};
use super::transport::Transport;
use super::{AttributeValue, Sampler, SpanExportError, SpanExporter, environment};
use crate::targets;

/// The time between two log lines about dropped spans.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Sends the spans of this process to logtracer's exporter, or to any receiver of OTLP over HTTP.
///
/// A thread sends a batch every second, or when 512 spans wait.
/// If the buffer is full, the oldest spans are dropped and counted.
///
/// Spans that cannot be sent are retried for a minute, then they are dropped: see [`DropReason`](super::DropReason).
/// Each loss is counted ([`SpanExporter::dropped`]), returned by [`SpanExporter::flush`], and logged: an event of
/// `tracing` with the level `WARN` and the target `logtracer::spans`, at most once a minute.
///
/// ```
/// use logtracer_sdk::current_trace;
/// use logtracer_sdk::spans::{SpanExport, span};
///
/// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318")
///     .sampling_rate(0.0)
///     .resource_attribute("deployment.environment.name", "staging")
///     .max_buffer_bytes(8 << 20)
///     .install()?;
/// let _span = span("nightly").enter();
/// assert_eq!(current_trace().map(|trace| trace.sampling.is_sampled()), Some(false));
/// # drop(exporter);
/// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `install`"]
pub struct SpanExport {
    pub(super) endpoint: EndpointUrl,
    /// The attributes of the resource, among them the name of the service.
    pub(super) resource: Vec<(Key, AttributeValue)>,
    pub(super) sampler: Sampler,
    pub(super) headers: Vec<(String, Secret)>,
    pub(super) token_file: Option<PathBuf>,
    #[cfg(feature = "_spans-rustls")]
    pub(super) tls: TlsFiles,
    /// `None` for no limit but the retry time.
    pub(super) timeout: Option<Duration>,
    pub(super) max_retry_time: Duration,
    pub(super) max_buffer_bytes: usize,
    /// Values of environment variables that are ignored, logged when the export starts.
    pub(super) warnings: Vec<String>,
    pub(super) state: ExportState,
}

/// Whether spans are exported at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExportState {
    Enabled,
    /// The environment disables the export.
    Disabled,
}

impl SpanExport {
    /// Sends spans of this service to `http://host:port`. The default path is `/v1/traces`.
    ///
    /// An `https` URL needs the feature `spans-tls`.
    pub fn new(service: impl Into<String>, endpoint: impl Into<String>) -> Self {
        let timing = Timing::default();
        Self {
            endpoint: EndpointUrl::new(endpoint, PathRule::Default),
            resource: Vec::new(),
            sampler: Sampler::default(),
            headers: Vec::new(),
            token_file: None,
            #[cfg(feature = "_spans-rustls")]
            tls: TlsFiles::default(),
            timeout: Some(Duration::from_secs(10)),
            max_retry_time: timing.max_retry_time,
            max_buffer_bytes: 1 << 20,
            warnings: Vec::new(),
            state: ExportState::Enabled,
        }
        .service(service)
    }

    /// Reads the options from the environment variables of OpenTelemetry.
    ///
    /// | variable | option |
    /// |---|---|
    /// | `OTEL_EXPORTER_OTLP_ENDPOINT` | the URL to which `/v1/traces` is appended; the default is `http://localhost:4318` |
    /// | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | the URL, used unchanged |
    /// | `OTEL_EXPORTER_OTLP_HEADERS` | [`header`](Self::header): `name=value,name=value`, percent-encoded |
    /// | `OTEL_EXPORTER_OTLP_TIMEOUT` | [`timeout`](Self::timeout) in milliseconds; 0 means no limit but the retry time |
    /// | `OTEL_EXPORTER_OTLP_CERTIFICATE`, `…_CLIENT_CERTIFICATE`, `…_CLIENT_KEY` | PEM files (feature `spans-tls` or `spans-tls-aws-lc`) |
    /// | `OTEL_EXPORTER_OTLP_PROTOCOL` | `http/protobuf`; `grpc` is an error |
    /// | `OTEL_EXPORTER_OTLP_COMPRESSION` | `none`; spans are not compressed |
    /// | `OTEL_SERVICE_NAME` | [`service`](Self::service) |
    /// | `OTEL_RESOURCE_ATTRIBUTES` | [`resource_attribute`](Self::resource_attribute): `name=value,name=value`, percent-encoded |
    /// | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | [`sampler`](Self::sampler) |
    /// | `OTEL_TRACES_EXPORTER=none`, `OTEL_SDK_DISABLED=true` | spans are not exported |
    ///
    /// A variable `OTEL_EXPORTER_OTLP_TRACES_…` has precedence over `OTEL_EXPORTER_OTLP_…`, and an empty variable is
    /// not set.
    /// Options that the code sets afterwards have precedence over the environment.
    ///
    /// As [the specification] demands, other invalid values are ignored: a sampler, a number, a protocol, a compression,
    /// an exporter or resource attributes, and a client certificate without its key. [`install`](Self::install) logs a
    /// warning for each.
    ///
    /// [the specification]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    ///
    /// ```
    /// use logtracer_sdk::spans::SpanExport;
    ///
    /// let export = SpanExport::from_env()?; // nothing is set here
    /// assert!(format!("{export:?}").contains("http://localhost:4318"));
    /// let export = export.service("shop").endpoint("http://127.0.0.1:4318");
    /// assert!(!format!("{export:?}").contains("localhost"));
    /// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the protocol is `grpc`, or if an endpoint or the headers are invalid. The error names the variable.
    pub fn from_env() -> Result<Self, SpanExportError> {
        environment::read(&crate::system::variable)
    }

    /// Sets the URL to send spans to, as in [`new`](Self::new).
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = EndpointUrl::new(endpoint, PathRule::Default);
        self
    }

    /// Sets the name of the service: the attribute `service.name` of the resource.
    pub fn service(self, name: impl Into<String>) -> Self {
        self.resource_attribute("service.name", name.into())
    }

    /// Sets an attribute of the resource, which describes this process: its version, environment or instance.
    ///
    /// <https://opentelemetry.io/docs/specs/semconv/resource/>
    pub fn resource_attribute(
        mut self,
        key: impl Into<Cow<'static, str>>,
        value: impl Into<AttributeValue>,
    ) -> Self {
        let (key, value) = (key.into(), value.into());
        match self.resource.iter_mut().find(|(other, _)| *other == key) {
            Some((_, old)) => *old = value,
            None => self.resource.push((key, value)),
        }
        self
    }

    /// Sets the sampler; the default is [`Sampler::ParentBasedAlwaysOn`].
    pub fn sampler(mut self, sampler: Sampler) -> Self {
        self.sampler = sampler;
        self
    }

    /// Sets the rate of traces to record, from 0 to 1, if the caller has not decided; the default is 1.
    ///
    /// This is [`Sampler::ParentBasedTraceIdRatio`].
    pub fn sampling_rate(self, rate: f64) -> Self {
        self.sampler(Sampler::ParentBasedTraceIdRatio(rate))
    }

    /// Adds a header to each request, such as an API key. A later value replaces an earlier one.
    ///
    /// No log line and no `Debug` shows the value.
    ///
    /// ```
    /// use logtracer_sdk::spans::SpanExport;
    ///
    /// let export = SpanExport::new("shop", "http://127.0.0.1:4318").header("x-api-key", "open sesame");
    /// assert!(!format!("{export:?}").contains("sesame"));
    /// ```
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), Secret(value.into())));
        self
    }

    /// Sends the token in the first line of this file, as `authorization: Bearer …`.
    ///
    /// It is the file of the exporter's `--token-file`. It is read again for each request, so that the token can be
    /// rotated.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// Trusts the certificate authorities in this PEM file for an `https` endpoint, instead of those of the system.
    #[cfg(feature = "_spans-rustls")]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "spans-tls", feature = "spans-tls-aws-lc"))))]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.authorities = Some(path.into());
        self
    }

    /// Sends the certificate in this PEM file to an `https` endpoint that demands one, and proves it with the key.
    #[cfg(feature = "_spans-rustls")]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "spans-tls", feature = "spans-tls-aws-lc"))))]
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.client = Some((certificate.into(), key.into()));
        self
    }

    /// Sets how long one attempt to send a batch may take; the default is 10 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how long a batch is retried before its spans are dropped; the default is a minute.
    ///
    /// New spans wait in the buffer meanwhile.
    pub fn max_retry_time(mut self, time: Duration) -> Self {
        self.max_retry_time = time;
        self
    }

    /// Sets the maximum size of the buffer, in bytes of OTLP; the default is 1 MiB.
    pub fn max_buffer_bytes(mut self, bytes: usize) -> Self {
        self.max_buffer_bytes = bytes;
        self
    }

    /// Starts the thread that sends, once in a process.
    ///
    /// ```
    /// use logtracer_sdk::spans::{SpanExport, SpanExportError, span};
    ///
    /// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").max_buffer_bytes(10).install()?;
    /// drop(span("longer than that").enter());
    /// assert_eq!(exporter.dropped_spans(), 1);
    ///
    /// let again = SpanExport::new("shop", "http://127.0.0.1:4318").install();
    /// assert!(matches!(again, Err(SpanExportError::AlreadyInstalled)));
    /// # Ok::<(), SpanExportError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If an option is invalid, if a file cannot be read, if the process has an export already, or if the system
    /// cannot start a thread. An unreachable exporter is not an error: the spans wait.
    pub fn install(self) -> Result<SpanExporter, SpanExportError> {
        for warning in &self.warnings {
            tracing::warn!(target: targets::SPANS, "{warning}");
        }
        if self.state == ExportState::Disabled {
            return Ok(SpanExporter { queue: None });
        }
        let transport = self.transport()?;
        let sampling = self.sampler.to_rule().ok_or(SpanExportError::Rate)?;
        let timing = Timing { max_retry_time: self.max_retry_time, ..Timing::default() };
        // The thread comes first: without it, there must be no queue, which nothing can remove.
        let thread = SenderThread::start().map_err(SpanExportError::Thread)?;
        let queue = Queue::new(sampling, self.max_buffer_bytes, LOG_INTERVAL);
        let queue = queue::install(queue).ok_or(SpanExportError::AlreadyInstalled)?;
        thread.run(Sender::new(queue, transport, with_telemetry_sdk(self.resource), timing));
        Ok(SpanExporter { queue: Some(queue) })
    }

    pub(super) fn transport(&self) -> Result<Transport, SpanExportError> {
        let endpoint = self.endpoint.parse().ok_or(SpanExportError::Endpoint)?;
        #[cfg(feature = "_spans-rustls")]
        let tls = match endpoint.scheme {
            Scheme::Http => None,
            Scheme::Https => Some(Tls::new(&self.tls)?),
        };
        #[cfg(not(feature = "_spans-rustls"))]
        if endpoint.scheme == Scheme::Https {
            return Err(SpanExportError::TlsFeature);
        }
        Ok(Transport {
            endpoint,
            connector: Connector::default(),
            headers: Headers::new(&self.headers, self.token_file.clone())?,
            // Without a retry time, there is one attempt, and it would have no time at all.
            timeout: self.timeout.or(Some(self.max_retry_time).filter(|time| !time.is_zero())),
            #[cfg(feature = "_spans-rustls")]
            tls,
        })
    }
}
