//! The thread that sends batches. It has its own runtime, so that it works in programs without tokio.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use logtracer_core::Backoff;
use logtracer_core::otlp::{self, InstrumentationScope};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::queue::Queue;
use crate::system;

/// How long a span waits for others to be sent with it.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// The longest `Retry-After` that is respected.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// How often a pause looks whether the queue has become nearly full.
const FULL_CHECK: Duration = Duration::from_millis(500);
/// The longest back-off during a flush.
const FLUSH_BACKOFF: Duration = Duration::from_millis(100);
/// A batch is dropped after this time. The queue buffers new spans meanwhile.
const MAX_RETRY_TIME: Duration = Duration::from_secs(60);
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The address that spans are sent to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: (String, u16),
    pub(super) authority: String,
    pub(super) path: String,
}

pub(super) fn start(queue: &'static Queue, target: Target, service: String) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("logtracer-spans".into())
        .spawn(move || runtime.block_on(run(queue, &target, &service)))
        .map(|_| ())
}

async fn run(queue: &Queue, target: &Target, service: &str) {
    loop {
        if !queue.is_flushing() {
            let _ = timeout(FLUSH_INTERVAL, queue.wake.notified()).await;
        }
        while let Some(batch) = queue.take_batch() {
            let mut body = Vec::new();
            let scope =
                InstrumentationScope { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
            otlp::write_request(
                &mut body,
                |resource| resource.text("service.name", service),
                scope,
                &batch.bytes,
            );
            let dropped = deliver(queue, target, body.into(), batch.spans(), MAX_RETRY_TIME).await;
            queue.add_dropped(dropped);
            queue.finish_batch();
        }
        queue.finish_batch();
        if queue.is_closed() {
            return;
        }
        if queue.is_flushing() {
            // Another flush has not returned yet; do not spin until it does.
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Sends a batch, and retries until it is delivered or rejected, or until `max_time`; returns the number of dropped
/// spans.
async fn deliver(queue: &Queue, target: &Target, body: Bytes, spans: usize, max_time: Duration) -> usize {
    let mut backoff = Backoff::new(FIRST_BACKOFF, LONGEST_BACKOFF);
    let mut pause = backoff.next(system::random());
    let start = Instant::now();
    loop {
        let retry_after = match timeout(REQUEST_TIMEOUT, post(target, body.clone())).await {
            Ok(Ok(Response::Accepted { rejected_spans })) => {
                return usize::try_from(rejected_spans).unwrap_or(spans).min(spans);
            }
            Ok(Ok(Response::Rejected)) => return spans,
            Ok(Ok(Response::Unavailable { retry_after })) => retry_after,
            Ok(Err(_)) | Err(_) => None,
        };
        let left = max_time.saturating_sub(start.elapsed());
        if left.is_zero() || queue.is_closed() {
            return spans;
        }
        let pause_now = match retry_after {
            // Only a flush or the end of `max_time` is earlier.
            Some(requested) => Pause::requested(requested),
            None => Pause { length: pause, full_at: Some(queue.retry_mark()) },
        };
        // An early attempt does not make the next pause longer.
        if wait(queue, pause_now, left).await == Waited::WholePause {
            pause = backoff.next(system::random());
        }
    }
}

/// A pause between two attempts.
#[derive(Debug, Clone, Copy)]
struct Pause {
    length: Duration,
    /// The number of bytes in the queue that ends the pause early, so that no span is dropped during it.
    full_at: Option<usize>,
}

impl Pause {
    /// Returns the pause for a `Retry-After`, spread over a moment so that not all clients come back at once.
    fn requested(retry_after: Duration) -> Self {
        let spread = FIRST_BACKOFF.mul_f64((system::random() % 1024) as f64 / 1024.);
        Self { length: retry_after.min(MAX_RETRY_AFTER) + spread, full_at: None }
    }
}

#[derive(PartialEq)]
enum Waited {
    WholePause,
    /// A flush has begun, or the queue is nearly full.
    LessThanPause,
}

/// Waits for a pause, at most for `left`, or for a shorter time if a flush begins meanwhile.
async fn wait(queue: &Queue, pause: Pause, left: Duration) -> Waited {
    let until_flush = async {
        while !queue.is_flushing() {
            queue.wake.notified().await;
        }
        sleep(FLUSH_BACKOFF).await;
    };
    let until_full = async {
        let Some(full) = pause.full_at else { return std::future::pending().await };
        // At least this long also if it is nearly full already.
        sleep(FULL_CHECK).await;
        while queue.bytes() < full {
            sleep(FULL_CHECK).await;
        }
    };
    tokio::select! {
        () = sleep(pause.length.min(left)) => Waited::WholePause,
        () = until_flush => Waited::LessThanPause,
        () = until_full => Waited::LessThanPause,
    }
}

enum Response {
    Accepted { rejected_spans: u64 },
    Rejected,
    Unavailable { retry_after: Option<Duration> },
}

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn post(target: &Target, body: Bytes) -> Result<Response, Error> {
    let stream = TcpStream::connect((target.address.0.as_str(), target.address.1)).await?;
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(&target.path)
        .header(header::HOST, &target.authority)
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        // A sidecar must not trace the requests that carry spans.
        .header("b3", "0")
        .body(Full::new(body))?;
    let exchange = async {
        let response = client.send_request(request).await?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await?.to_bytes();
        Ok::<_, Error>((status, retry_after, body))
    };
    tokio::pin!(exchange);
    let (status, retry_after, body) = tokio::select! {
        response = &mut exchange => response?,
        // The connection may end when the response is complete.
        _ = connection => exchange.await?,
    };
    Ok(match status {
        status if status.is_success() => Response::Accepted { rejected_spans: otlp::rejected_spans(&body) },
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Response::Unavailable { retry_after },
        status if status.is_server_error() => Response::Unavailable { retry_after },
        _ => Response::Rejected,
    })
}

/// Returns the `Retry-After` if it is a number of seconds; a date is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::queue;

    /// If the exporter is unreachable, the batch is dropped.
    #[test]
    fn a_flush_without_timeout_ends() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let queue: &Queue = Box::leak(Box::new(queue::tests::queue_with(1000, &[&[1]])));
        let flush = std::thread::spawn(|| queue.flush(Duration::MAX));
        while !queue.is_flushing() {
            std::thread::yield_now();
        }
        let target =
            Target { address: ("127.0.0.1".into(), 1), authority: "127.0.0.1:1".into(), path: "/".into() };
        let batch = queue.take_batch().unwrap();
        let spans = batch.spans();
        let delivery = deliver(queue, &target, batch.bytes.into(), spans, Duration::from_millis(300));
        let dropped = runtime.block_on(async { timeout(Duration::from_secs(60), delivery).await });
        assert_eq!(dropped.unwrap(), 1);
        queue.finish_batch();
        assert!(flush.join().unwrap());
    }
}
