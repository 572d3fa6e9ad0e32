//! The thread that sends batches, with a small runtime of its own: it works in programs without tokio, too.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use logtracer_core::otlp::{self, InstrumentationScope};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::queue::Queue;

/// How long spans wait for others to go with them.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Waits after the first failure, then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// With these the pauses come to 51.1 s; the queue takes what ends in the meantime.
const MAX_ATTEMPTS: u32 = 10;
/// Hurried attempts do not count, and must come to an end as well.
const MAX_TIME: Duration = Duration::from_secs(60);
/// The longest pause while someone waits for the spans to be sent.
const HURRIED_PAUSE: Duration = Duration::from_millis(100);
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Where spans are sent.
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
        if !queue.is_hurried() {
            let _ = timeout(FLUSH_INTERVAL, queue.wake.notified()).await;
        }
        while let Some((spans, count)) = queue.take_batch() {
            let mut body = Vec::new();
            let scope =
                InstrumentationScope { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
            otlp::write_request(&mut body, |resource| resource.text("service.name", service), scope, &spans);
            let dropped = deliver(queue, target, body.into(), count as u64, MAX_TIME).await;
            queue.count_dropped(dropped);
            queue.batch_is_done();
        }
        queue.batch_is_done();
        if queue.is_closed() {
            return;
        }
        if queue.is_hurried() {
            // Someone waits for others who flush at the same time: not in a tight loop.
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Sends a batch until it is taken, refused for good, or given up; returns how many spans of it are lost.
async fn deliver(queue: &Queue, target: &Target, body: Bytes, count: u64, max_time: Duration) -> u64 {
    let mut pause = FIRST_PAUSE;
    let mut attempts = 1;
    let start = Instant::now();
    loop {
        match timeout(REQUEST_TIMEOUT, post(target, body.clone())).await {
            Ok(Ok(Answer::Taken { rejected })) => return rejected.min(count),
            Ok(Ok(Answer::Refused)) => return count,
            Ok(Ok(Answer::Later) | Err(_)) | Err(_) => {}
        }
        if attempts >= MAX_ATTEMPTS || start.elapsed() >= max_time || queue.is_closed() {
            return count;
        }
        // An attempt more because someone waits is none less for those who do not.
        if rest(queue, pause).await {
            attempts += 1;
            pause *= 2;
        }
    }
}

/// Waits before the next attempt: as long as that, or shortly where someone waits for the spans by then; true when it
/// was as long as that.
async fn rest(queue: &Queue, pause: Duration) -> bool {
    let hurried = async {
        while !queue.is_hurried() {
            queue.wake.notified().await;
        }
        sleep(HURRIED_PAUSE).await;
    };
    timeout(pause, hurried).await.is_err()
}

enum Answer {
    Taken { rejected: u64 },
    Refused,
    Later,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn post(target: &Target, body: Bytes) -> Result<Answer, Failure> {
    let stream = TcpStream::connect((target.address.0.as_str(), target.address.1)).await?;
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(&target.path)
        .header(header::HOST, &target.authority)
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        // A sidecar in between does not trace what takes its own spans away.
        .header("b3", "0")
        .body(Full::new(body))?;
    let exchange = async {
        let response = client.send_request(request).await?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await?.to_bytes();
        Ok::<_, Failure>((status, answer))
    };
    tokio::pin!(exchange);
    let (status, answer) = tokio::select! {
        answered = &mut exchange => answered?,
        // The answer may be complete when the connection is.
        _ = connection => exchange.await?,
    };
    Ok(match status {
        status if status.is_success() => Answer::Taken { rejected: otlp::rejected_spans(&answer) },
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Answer::Later,
        status if status.is_server_error() => Answer::Later,
        _ => Answer::Refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::queue;

    /// Whoever waits without an end for an exporter that is gone gets an answer all the same.
    #[test]
    fn a_flush_without_patience_comes_to_an_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let queue: &Queue = Box::leak(Box::new(queue::tests::queue_of(1000)));
        queue.push([1].into());
        let waiting = std::thread::spawn(|| queue.flush(Duration::MAX));
        while !queue.is_hurried() {
            std::thread::yield_now();
        }
        let target =
            Target { address: ("127.0.0.1".into(), 1), authority: "127.0.0.1:1".into(), path: "/".into() };
        let (spans, count) = queue.take_batch().unwrap();
        let delivering = deliver(queue, &target, spans.into(), count as u64, Duration::from_millis(300));
        let lost = runtime.block_on(async { timeout(Duration::from_secs(60), delivering).await });
        assert_eq!(lost.unwrap(), 1);
        queue.batch_is_done();
        assert!(waiting.join().unwrap());
    }
}
