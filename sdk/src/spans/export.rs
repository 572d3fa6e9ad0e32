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
    pub fn sampling_rate(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// What may wait in memory, in bytes of OTLP; 1 MiB by default.
    pub fn max_buffer_bytes(mut self, bytes: usize) -> Self {
        self.max_buffer_bytes = bytes;
        self
    }

    /// Starts the thread that sends, once in a process.
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
#[derive(Debug)]
#[must_use = "the spans that are left are sent when this is dropped"]
pub struct SpanExporter {
    queue: &'static Queue,
}

impl SpanExporter {
    /// Waits until all spans that have ended are sent, at most this long; false when some were not.
    ///
    /// It blocks; from async code call it in `spawn_blocking`.
    pub fn flush(&self, patience: Duration) -> bool {
        self.queue.flush(patience)
    }

    /// The spans that were dropped: no room, refused for good, or not taken by an exporter for too long.
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
