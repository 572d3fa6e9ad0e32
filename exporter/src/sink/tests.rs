//! What servers can do to a call, for each sink with a network.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::google::{self, Access};
use super::*;
use crate::clock::unix_nanos;
use crate::deliver::{Accepted, Chunk, DeliveryError, Denied, Origin, Sink, Slice};
use crate::otlp::Signal;

const SPANS: u32 = 3;

fn chunk() -> Chunk {
    let now = unix_nanos();
    let span = |n: u8| Span {
        trace_id: vec![1; 16],
        span_id: vec![n; 8],
        name: "work".to_owned(),
        start_time_unix_nano: now,
        end_time_unix_nano: now,
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { spans: (1..=3).map(span).collect(), ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    Chunk::new(Signal::Traces, Slice::new(Origin::Batch(1), SPANS, body.into()))
}

/// Delivers to this address with the sink of this name.
async fn deliver(sink: &str, scheme: &str, address: &str) -> Result<Accepted, DeliveryError> {
    let url = |scheme: &str| Url::parse(&format!("{scheme}://{address}")).unwrap();
    let access = Access { project: Some("shop-1".parse().unwrap()), auth: google::Auth::None };
    let grpc = if scheme == "http" { "grpc" } else { "grpcs" };
    let call = async {
        match sink {
            "otlp/http" => Otlp::new(&url(scheme)).unwrap().deliver(&chunk()).await,
            "otlp/grpc" => Otlp::new(&url(grpc)).unwrap().deliver(&chunk()).await,
            "zipkin" => Zipkin::new(&url(scheme)).unwrap().deliver(&chunk()).await,
            "cloud-trace" => CloudTrace::open(&url(scheme), &access).await.unwrap().deliver(&chunk()).await,
            _ => Telemetry::open(&url(scheme), &access).await.unwrap().deliver(&chunk()).await,
        }
    };
    tokio::time::timeout(Duration::from_secs(20), call).await.expect("the call ends")
}

const HTTP: [&str; 4] = ["otlp/http", "zipkin", "cloud-trace", "telemetry"];

/// Serves each connection with this function. Returns the address.
async fn serve<F: Future<Output = std::io::Result<()>> + Send>(
    connection: impl Fn(TcpStream) -> F + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // One call needs one connection.
            let _ = connection(stream).await;
        }
    });
    format!("localhost:{}", address.port())
}

/// Reads a request of HTTP/1.1 with its body.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        stream.read_buf(&mut bytes).await?;
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        if bytes.len() >= head.len() + 4 + length {
            return Ok(());
        }
    }
}

async fn drip(stream: &mut TcpStream, byte: &[u8]) -> std::io::Result<()> {
    loop {
        stream.write_all(byte).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn is_a_timeout(result: Result<Accepted, DeliveryError>, what: &str) {
    assert!(matches!(result, Err(DeliveryError::Unavailable { .. })), "{what}: {result:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_an_end_is_a_timeout_on_every_transport() {
    const HEAD: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 1000\r\n\r\n";
    // The preface of HTTP/2: empty settings.
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    let silent = serve(async |_stream| std::future::pending().await).await;
    let headers = serve(async |mut stream: TcpStream| {
        read_request(&mut stream).await?;
        stream.write_all(HEAD).await?;
        std::future::pending().await
    })
    .await;
    let bytes = serve(async |mut stream: TcpStream| {
        read_request(&mut stream).await?;
        stream.write_all(HEAD).await?;
        drip(&mut stream, b"\n").await
    })
    .await;
    let head_bytes = serve(async |mut stream: TcpStream| {
        read_request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await?;
        drip(&mut stream, b"y").await
    })
    .await;
    for sink in HTTP {
        for (what, address) in
            [("silent", &silent), ("headers", &headers), ("bytes", &bytes), ("head", &head_bytes)]
        {
            is_a_timeout(deliver(sink, "http", address).await, &format!("{sink} {what}"));
        }
        is_a_timeout(deliver(sink, "https", &silent).await, &format!("{sink} TLS"));
    }
    let settings = serve(async |mut stream: TcpStream| {
        stream.write_all(SETTINGS).await?;
        std::future::pending().await
    })
    .await;
    let headers = grpc_server(GRPC, async |_: Frames| std::future::pending().await).await;
    let bytes = grpc_server(GRPC, async |frames: Frames| {
        while frames.send(Frame::data(Bytes::from_static(b"\0"))).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    for (what, address) in
        [("silent", &silent), ("settings", &settings), ("headers", &headers), ("bytes", &bytes)]
    {
        is_a_timeout(deliver("otlp/grpc", "http", address).await, what);
    }
    is_a_timeout(deliver("otlp/grpc", "https", &silent).await, "TLS");
}

const GRPC: (u16, &[(&str, &str)]) = (200, &[("content-type", "application/grpc")]);

type Frames = mpsc::Sender<Frame<Bytes>>;

/// A body of the frames that a function sends.
struct Body(mpsc::Receiver<Frame<Bytes>>);

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

/// Starts a server that responds with this status and these headers, and then with what the function sends.
async fn grpc_server<F: Future<Output = ()> + Send>(
    (status, headers): (u16, &'static [(&'static str, &'static str)]),
    send: impl Fn(Frames) -> F + Clone + Send + Sync + 'static,
) -> String {
    let respond = move |_: axum::body::Bytes| {
        let (frames, body) = mpsc::channel(1);
        let send = send.clone();
        tokio::spawn(async move { send(frames).await });
        let mut response = axum::response::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        std::future::ready(response.body(axum::body::Body::new(Body(body))).unwrap())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(respond)).into_future());
    format!("localhost:{}", address.port())
}

fn partial_success(message_len: usize) -> Vec<u8> {
    let error_message = "x".repeat(message_len);
    let partial_success = Some(ExportTracePartialSuccess { rejected_spans: 2, error_message });
    ExportTraceServiceResponse { partial_success }.encode_to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Returns a short text for a result.
fn summary(result: &Result<Accepted, DeliveryError>) -> String {
    match result {
        Ok(accepted) => format!("accepted, {} rejected", accepted.rejected.as_ref().map_or(0, |it| it.items)),
        Err(DeliveryError::Unavailable { retry_after, .. }) => format!("later {retry_after:?}"),
        Err(DeliveryError::AccessDenied { denied: Denied::Call, .. }) => "not the sink".to_owned(),
        Err(DeliveryError::AccessDenied { .. }) => "denied".to_owned(),
        Err(DeliveryError::Rejected { reason }) => format!("rejected, {} bytes", reason.len()),
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_over_http_is_read_whatever_its_form() {
    let protobuf = "content-type: application/x-protobuf\r\n";
    let gzipped = format!("{protobuf}content-encoding: gzip\r\n");
    let google = br#"{"error":{"message":"quota","details":[{"retryDelay":"7s"}]}}"#;
    let status = |name: &str, headers: &str, body: Vec<u8>| {
        let head = format!("HTTP/1.1 {name}\r\n{headers}content-length: {}\r\n\r\n", body.len());
        [head.into_bytes(), body].concat()
    };
    let early =
        [&b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n"[..], &status("200 OK", "", vec![])].concat();
    for (what, response, expected) in [
        (
            "compressed partial success",
            status("200 OK", &gzipped, gzip(&partial_success(9))),
            "accepted, 2 rejected",
        ),
        (
            "upper case",
            status("200 OK", &gzipped.to_ascii_uppercase(), gzip(&partial_success(9))),
            "accepted, 2 rejected",
        ),
        (
            "parameters",
            status("200 OK", "content-type: Application/X-Protobuf ; charset=utf-8\r\n", partial_success(9)),
            "accepted, 2 rejected",
        ),
        (
            "long partial success",
            status("200 OK", protobuf, partial_success(20 << 20)),
            "accepted, 2 rejected",
        ),
        (
            "compressed long partial success",
            status("200 OK", &gzipped, gzip(&partial_success(100 << 20))),
            "accepted, 2 rejected",
        ),
        (
            "unknown compression",
            status("200 OK", &gzipped.replace("gzip", "br"), b"\x8b\x02".to_vec()),
            "accepted, 0 rejected",
        ),
        (
            "compressed error",
            status("503 Busy", "content-encoding: gzip\r\n", gzip(google)),
            "later Some(7s)",
        ),
        ("long error", status("400 Bad", "", vec![b'x'; 20 << 20]), "rejected, 522 bytes"),
        ("redirect", status("307 Elsewhere", "location: /login\r\n", vec![]), "not the sink"),
        (
            "page",
            status("200 OK", "content-type: TEXT/HTML; charset=utf-8\r\n", b"<html>".to_vec()),
            "not the sink",
        ),
        ("early hints", early, "accepted, 0 rejected"),
    ] {
        let address = serve(move |mut stream: TcpStream| {
            let response = response.clone();
            async move {
                read_request(&mut stream).await?;
                stream.write_all(&response).await?;
                stream.shutdown().await
            }
        })
        .await;
        for sink in HTTP {
            let result = deliver(sink, "http", &address).await;
            let is_otlp = ["otlp/http", "telemetry"].contains(&sink);
            // The others have no partial success.
            let expected =
                if is_otlp { expected.to_owned() } else { expected.replace("2 rejected", "0 rejected") };
            assert_eq!(summary(&result), expected, "{sink}: {what}: {result:.200?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_over_grpc_is_read_as_one_over_http() {
    const OK: &[(&str, &str)] = &[("grpc-status", "0")];
    const GZIP: (u16, &[(&str, &str)]) =
        (200, &[("content-type", "application/grpc+proto"), ("grpc-encoding", "gzip")]);
    const HTML: (u16, &[(&str, &str)]) = (200, &[("content-type", "text/html; charset=utf-8")]);
    let frame = |flag: u8, message: Vec<u8>| {
        [&[flag][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
    };
    for (what, head, body, trailers, expected) in [
        ("partial success", GRPC, frame(0, partial_success(9)), OK, "accepted, 2 rejected"),
        ("long partial success", GRPC, frame(0, partial_success(17 << 20)), OK, "accepted, 2 rejected"),
        ("compressed", GZIP, frame(1, gzip(&partial_success(9))), OK, "accepted, 2 rejected"),
        (
            "compressed and long",
            GZIP,
            frame(1, gzip(&partial_success(100 << 20))),
            OK,
            "accepted, 2 rejected",
        ),
        ("no message", GRPC, vec![], OK, "accepted, 0 rejected"),
        ("no status", GRPC, frame(0, vec![]), &[], "not the sink"),
        ("not a message", GRPC, frame(0, b"<html>".to_vec()), OK, "not the sink"),
        ("not a frame", GRPC, b"<html>please log in".to_vec(), OK, "not the sink"),
        ("page", HTML, b"<html>".to_vec(), &[], "not the sink"),
        ("proxy", (503, &[("retry-after", "7")][..]), b"no upstream".to_vec(), &[], "later Some(7s)"),
        ("redirect", (302, &[("location", "/login")][..]), vec![], &[], "not the sink"),
        ("status", GRPC, vec![], &[("grpc-status", "3")], "rejected, 20 bytes"),
        ("only headers", (200, &[("grpc-status", "14")][..]), vec![], &[], "later None"),
    ] {
        let body = Bytes::from(body);
        let address = grpc_server(head, move |frames: Frames| {
            let body = body.clone();
            async move {
                let trailers = trailers.iter().map(|(name, value)| {
                    (name.parse().unwrap(), axum::http::HeaderValue::from_static(value))
                });
                let _ = frames.send(Frame::data(body)).await;
                let _ = frames.send(Frame::trailers(trailers.collect())).await;
            }
        })
        .await;
        let result = deliver("otlp/grpc", "http", &address).await;
        assert_eq!(summary(&result), expected, "{what}: {result:.200?}");
    }
}

/// Only log records that the receiver has no method for are unsupported, over HTTP and over gRPC. Every receiver takes spans.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_without_log_records_says_so() {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    let scope_logs = vec![ScopeLogs { log_records: vec![LogRecord::default()], ..Default::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
    let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let logs = Chunk::new(Signal::Logs, Slice::new(Origin::Batch(1), 1, body.into()));
    let kind = |result: Result<Accepted, DeliveryError>| match result {
        Err(DeliveryError::Unsupported { .. }) => "unsupported",
        Err(DeliveryError::AccessDenied { .. }) => "denied",
        Err(DeliveryError::Unavailable { .. }) => "later",
        _ => "other",
    };
    for (status, headers, of_logs, of_spans) in [
        ("404 Not Found", "", "unsupported", "denied"),
        ("405 Method Not Allowed", "", "unsupported", "denied"),
        ("501 Not Implemented", "", "unsupported", "denied"),
        ("404 Not Found", "retry-after: 5\r\n", "denied", "denied"),
        ("501 Not Implemented", "retry-after: 5\r\n", "denied", "denied"),
        ("403 Forbidden", "", "denied", "denied"),
        ("503 Busy", "", "later", "later"),
    ] {
        let address = serve(move |mut stream: TcpStream| async move {
            read_request(&mut stream).await?;
            let head =
                format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.shutdown().await
        })
        .await;
        let sink = Otlp::new(&Url::parse(&format!("http://{address}")).unwrap()).unwrap();
        assert_eq!(kind(sink.deliver(&logs).await), of_logs, "{status}");
        assert_eq!(kind(sink.deliver(&chunk()).await), of_spans, "{status}");
    }
    for (head, of_logs, of_spans) in [
        ((200, &[("content-type", "application/grpc"), ("grpc-status", "12")][..]), "unsupported", "denied"),
        ((404, &[][..]), "unsupported", "denied"),
        ((405, &[][..]), "unsupported", "denied"),
        ((501, &[][..]), "unsupported", "denied"),
        ((404, &[("retry-after", "5")][..]), "denied", "denied"),
        ((501, &[("retry-after", "5")][..]), "denied", "denied"),
        ((403, &[][..]), "denied", "denied"),
        ((503, &[][..]), "later", "later"),
        ((200, &[("content-type", "application/grpc"), ("grpc-status", "7")][..]), "denied", "denied"),
    ] {
        let address = grpc_server(head, async |_: Frames| {}).await;
        let sink = Otlp::new(&Url::parse(&format!("grpc://{address}")).unwrap()).unwrap();
        assert_eq!(kind(sink.deliver(&logs).await), of_logs, "{head:?}");
        assert_eq!(kind(sink.deliver(&chunk()).await), of_spans, "{head:?}");
    }
}
