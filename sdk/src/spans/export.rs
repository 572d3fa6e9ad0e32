//! [`SpanExport`]: the options of the export, and the handle that waits for it.

use std::fmt;
use std::time::Duration;

use http::Uri;
use logtracer_core::sampling::Ratio;

use super::queue::{self, Queue};
use super::sender::{self, Target};

/// How long dropping the [`SpanExporter`] waits.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends the spans of this process to logtracer's exporter, or to any receiver of OTLP over HTTP.
///
/// A thread sends a batch every second, or when 512 spans wait.
/// If the buffer is full, the oldest spans are dropped and counted.
///
/// ```
/// use logtracer_sdk::current_trace;
/// use logtracer_sdk::spans::{SpanExport, span};
///
/// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318")
///     .sampling_rate(0.0)
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
    service: String,
    endpoint: String,
    sampling_rate: f64,
    max_buffer_bytes: usize,
}

impl SpanExport {
    /// Sends spans of this service to `http://host:port`. The default path is `/v1/traces`.
    pub fn new(service: impl Into<String>, endpoint: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            endpoint: endpoint.into(),
            sampling_rate: 1.0,
            max_buffer_bytes: 1 << 20,
        }
    }

    /// Sets the rate of traces to record, from 0 to 1, if the caller has not decided; the default is 1.
    pub fn sampling_rate(mut self, rate: f64) -> Self {
        self.sampling_rate = rate;
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
    /// If the endpoint or the rate is invalid, if the process has an export already, or if the system cannot start
    /// a thread. An unreachable exporter is not an error: the spans wait.
    pub fn install(self) -> Result<SpanExporter, SpanExportError> {
        let target = read_target(&self.endpoint).ok_or(SpanExportError::Endpoint)?;
        let ratio = Ratio::new(self.sampling_rate).ok_or(SpanExportError::Rate)?;
        let queue = queue::install(ratio, self.max_buffer_bytes).ok_or(SpanExportError::AlreadyInstalled)?;
        sender::start(queue, target, self.service).map_err(SpanExportError::Thread)?;
        Ok(SpanExporter { queue })
    }
}

fn read_target(endpoint: &str) -> Option<Target> {
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

/// A handle of the running export. Dropping it sends the remaining spans, and waits at most two seconds.
///
/// Keep it until the end of `main`.
///
/// ```
/// use logtracer_sdk::spans::{SpanExport, SpanExporter};
///
/// fn main() -> Result<(), logtracer_sdk::spans::SpanExportError> {
///     let exporter: SpanExporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
///     // … the service …
///     assert_eq!(exporter.dropped_spans(), 0);
///     Ok(()) // the remaining spans are sent here
/// }
/// ```
#[derive(Debug)]
#[must_use = "dropping this ends the export"]
pub struct SpanExporter {
    queue: &'static Queue,
}

impl SpanExporter {
    /// Waits until all ended spans are sent, at most for `timeout`; returns false if some are not.
    ///
    /// A batch that the exporter does not accept is dropped and counted after a minute, so this returns even with a
    /// longer timeout.
    /// It blocks: in async code call it in `spawn_blocking`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use logtracer_sdk::spans::SpanExport;
    ///
    /// let exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
    /// assert!(exporter.flush(Duration::from_secs(5))); // nothing waits
    /// # Ok::<(), logtracer_sdk::spans::SpanExportError>(())
    /// ```
    pub fn flush(&self, timeout: Duration) -> bool {
        self.queue.flush(timeout)
    }

    /// Returns the number of dropped spans: the buffer was full, the exporter rejected them, or it was unavailable
    /// for a minute.
    pub fn dropped_spans(&self) -> u64 {
        self.queue.dropped()
    }
}

impl Drop for SpanExporter {
    fn drop(&mut self) {
        self.queue.flush(DROP_TIMEOUT);
        self.queue.close();
    }
}

/// An error when installing the export.
///
/// ```
/// use logtracer_sdk::spans::{SpanExport, SpanExportError};
///
/// let export = |endpoint| SpanExport::new("shop", endpoint);
/// let error = export("https://127.0.0.1:4318").install().unwrap_err();
/// assert!(matches!(error, SpanExportError::Endpoint));
/// assert_eq!(error.to_string(), "expected an endpoint like http://127.0.0.1:4318");
/// let error = export("http://127.0.0.1:4318").sampling_rate(1.5).install().unwrap_err();
/// assert_eq!(error.to_string(), "expected a sampling rate from 0 to 1");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SpanExportError {
    /// The endpoint is not an `http` URL. The exporter runs beside the service, and the sidecar adds TLS.
    Endpoint,
    /// The sampling rate is not from 0 to 1.
    Rate,
    /// The process has an export already.
    AlreadyInstalled,
    /// The system cannot start the thread.
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
        let read =
            |endpoint| read_target(endpoint).map(|it| (it.address.0, it.address.1, it.authority, it.path));
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
