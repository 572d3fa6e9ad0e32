//! [`SpanExport`]: where spans go, and the handle that waits for them.

use std::fmt;
use std::time::Duration;

use http::Uri;
use logtracer_core::sampling::Ratio;

use super::queue::{self, Queue};
use super::sender::{self, Target};

/// How long dropping the [`SpanExporter`] waits.
const PATIENCE_AT_EXIT: Duration = Duration::from_secs(2);

/// Sends the spans of this process to logtracer's exporter (or to whatever takes OTLP over HTTP).
///
/// A thread of its own sends a batch every second, or when 512 spans wait.
/// What does not fit in the buffer is dropped, the oldest first, and counted.
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::spans::{SpanExport, span};
/// use logtracer_sdk::{TraceContext, current_trace};
///
/// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
/// let request = TraceContext::new_root();
/// request.run(|| {
///     let _span = span("prices").enter();
///     assert_eq!(current_trace().and_then(|trace| trace.parent_span_id), Some(request.span_id));
/// });
/// # std::mem::forget(exporter); // nobody listens there
/// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `install`"]
pub struct SpanExport {
    service: String,
    endpoint: String,
    share: f64,
    max_buffer_bytes: usize,
}

impl SpanExport {
    /// Spans of this service, to `http://host:port`; without a path that is `/v1/traces`.
    ///
    /// ```
    /// use logtracer_sdk::spans::SpanExport;
    ///
    /// let wrong = SpanExport::new("shop", "https://127.0.0.1:4318").install();
    /// assert_eq!(wrong.unwrap_err().to_string(), "expected an endpoint like http://127.0.0.1:4318");
    /// ```
    pub fn new(service: impl Into<String>, endpoint: impl Into<String>) -> Self {
        Self { service: service.into(), endpoint: endpoint.into(), share: 1.0, max_buffer_bytes: 1 << 20 }
    }

    /// The share of traces to record, from 0 to 1, where the caller has not decided; all by default.
    ///
    /// ```
    /// use logtracer_sdk::current_trace;
    /// use logtracer_sdk::spans::{SpanExport, span};
    ///
    /// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").sampling_rate(0.0).install()?;
    /// let _span = span("nightly").enter();
    /// assert_eq!(current_trace().map(|trace| trace.sampling.is_sampled()), Some(false));
    ///
    /// let wrong = SpanExport::new("shop", "http://127.0.0.1:4318").sampling_rate(1.5).install();
    /// assert_eq!(wrong.unwrap_err().to_string(), "expected a sampling rate from 0 to 1");
    /// # drop(exporter);
    /// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
    /// ```
    pub fn sampling_rate(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// What may wait in memory, in bytes of OTLP; 1 MiB by default.
    ///
    /// ```
    /// use logtracer_sdk::spans::{SpanExport, span};
    ///
    /// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").max_buffer_bytes(10).install()?;
    /// drop(span("longer than that").enter());
    /// assert_eq!(exporter.dropped_spans(), 1);
    /// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
    /// ```
    pub fn max_buffer_bytes(mut self, bytes: usize) -> Self {
        self.max_buffer_bytes = bytes;
        self
    }

    /// Starts the thread that sends, once in a process.
    ///
    /// ```
    /// use logtracer_sdk::spans::{SpanExport, SpanExportError};
    ///
    /// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
    /// let again = SpanExport::new("shop", "http://127.0.0.1:4318").install();
    /// assert!(matches!(again, Err(SpanExportError::AlreadyInstalled)));
    /// # drop(exporter);
    /// # Ok::<(), SpanExportError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the endpoint or the rate is none, when there is an export already, and when there is no thread to be
    /// had. That the exporter cannot be reached is no error: spans wait for it.
    pub fn install(self) -> Result<SpanExporter, SpanExportError> {
        let target = target(&self.endpoint).ok_or(SpanExportError::Endpoint)?;
        let ratio = Ratio::new(self.share).ok_or(SpanExportError::Rate)?;
        let queue = queue::install(ratio, self.max_buffer_bytes).ok_or(SpanExportError::AlreadyInstalled)?;
        sender::start(queue, target, self.service).map_err(SpanExportError::Thread)?;
        Ok(SpanExporter { queue })
    }
}

fn target(endpoint: &str) -> Option<Target> {
    let uri: Uri = endpoint.parse().ok()?;
    if uri.scheme_str() != Some("http") {
        return None;
    }
    let path = match uri.path() {
        "" | "/" => "/v1/traces",
        path => path,
    };
    let authority = uri.authority()?;
    Some(Target {
        address: (uri.host()?.trim_matches(['[', ']']).to_owned(), authority.port_u16().unwrap_or(80)),
        authority: authority.to_string(),
        path: path.to_owned(),
    })
}

/// Spans that are being sent; when it is dropped it sends what is left, for two seconds at most.
///
/// `main` keeps it to its end.
///
/// ```
/// use logtracer_sdk::spans::{SpanExport, SpanExporter};
///
/// fn main() -> Result<(), logtracer_sdk::spans::SpanExportError> {
///     let exporter: SpanExporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
///     // … the service …
///     assert_eq!(exporter.dropped_spans(), 0);
///     Ok(()) // what is left is sent here
/// }
/// ```
#[derive(Debug)]
#[must_use = "the spans that are left are sent when this is dropped"]
pub struct SpanExporter {
    queue: &'static Queue,
}

impl SpanExporter {
    /// Waits until all spans that have ended are sent, at most this long; false when some were not.
    ///
    /// A batch that the exporter does not take is given up and counted after a minute, so that waiting comes to an
    /// end whatever the patience is.
    /// It blocks; from async code call it in `spawn_blocking`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use logtracer_sdk::spans::SpanExport;
    ///
    /// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
    /// assert!(exporter.flush(Duration::from_secs(5))); // there was nothing to send
    /// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
    /// ```
    pub fn flush(&self, patience: Duration) -> bool {
        self.queue.flush(patience)
    }

    /// The spans that were dropped: no room, refused for good, or not taken by an exporter for too long.
    ///
    /// ```
    /// use logtracer_sdk::spans::SpanExport;
    ///
    /// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
    /// assert_eq!(exporter.dropped_spans(), 0);
    /// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
    /// ```
    pub fn dropped_spans(&self) -> u64 {
        self.queue.dropped()
    }
}

impl Drop for SpanExporter {
    fn drop(&mut self) {
        self.queue.flush(PATIENCE_AT_EXIT);
        self.queue.close();
    }
}

/// Why spans cannot be sent.
///
/// ```
/// use logtracer_sdk::spans::{SpanExport, SpanExportError};
///
/// let wrong = SpanExport::new("shop", "127.0.0.1:4318").install();
/// assert!(matches!(wrong, Err(SpanExportError::Endpoint)));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SpanExportError {
    /// The endpoint is no `http` URL; the exporter stands beside the service, and TLS is the sidecar's.
    Endpoint,
    /// The sampling rate is not from 0 to 1.
    Rate,
    /// The process has an export already.
    AlreadyInstalled,
    /// There is no thread to be had.
    Thread(std::io::Error),
}

impl fmt::Display for SpanExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint => f.write_str("expected an endpoint like http://127.0.0.1:4318"),
            Self::Rate => f.write_str("expected a sampling rate from 0 to 1"),
            Self::AlreadyInstalled => f.write_str("the spans of this process are exported already"),
            Self::Thread(source) => write!(f, "cannot start the thread that sends spans: {source}"),
        }
    }
}

impl std::error::Error for SpanExportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Thread(source) => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let read = |endpoint| target(endpoint).map(|it| (it.address.0, it.address.1, it.authority, it.path));
        let expected = |host: &str, port, authority: &str, path: &str| {
            Some((host.into(), port, authority.into(), path.into()))
        };
        assert_eq!(
            read("http://127.0.0.1:4318"),
            expected("127.0.0.1", 4318, "127.0.0.1:4318", "/v1/traces")
        );
        assert_eq!(read("http://[::1]:4318/"), expected("::1", 4318, "[::1]:4318", "/v1/traces"));
        assert_eq!(read("http://exporter/otlp"), expected("exporter", 80, "exporter", "/otlp"));
        for wrong in ["", "exporter:4318", "https://exporter", "grpc://exporter"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
